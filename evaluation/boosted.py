"""The baselines: gradient-boosted trees (scikit-learn, its own defaults) on the raw columns, and on our signals.

Early stopping is on for any number of orders, so that the trees are held back where there is nothing to find. Raw
columns are those of the public set, sex and age among them: no verdict may depend on these, but the published figures
do. The columns ``user_id`` and ``device_id`` are names and no numbers; what can be made of them is what signals are.
The seconds between sign-up and purchase are added, which is more than the raw columns say to a tree.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address

import numpy as np
from joblib import parallel_config
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from evaluation.stream import Judged
from lake.learn.card import Capacity, unit
from lake.learn.samples import Bools, Floats
from order_fraud.signals import NAMES
from producers.book import Row

_SIGNALS = tuple(sorted(NAMES))
CATEGORIES = 3
"""So many columns of `raw`, the first ones, are categories."""


def raw(judged: Sequence[Judged]) -> Floats:
    """Return a row of raw columns per order."""
    return np.array([_raw(one.sale.row) for one in judged], dtype=np.float64).reshape(len(judged), -1 if judged else 0)


def signals(judged: Sequence[Judged]) -> Floats:
    """Return a row of all stamped signals per order, NaN where it lacks one."""
    return np.array([[one.verdict.signals.get(name, np.nan) for name in _SIGNALS] for one in judged])


class Trees:
    """Trees that have learned from the orders.

    Args:
        columns: a row per order; a column that is empty in all of them is left out.
        fraud: what the orders were.
        categories: so many columns, the first ones, are categories.
    """

    def __init__(self, columns: Floats, fraud: Bools, categories: int = 0) -> None:
        self._kept = np.flatnonzero(~np.isnan(columns).all(axis=0))
        self._share = float(fraud.mean())
        self._trees = HistGradientBoostingClassifier(
            early_stopping=True, random_state=0, categorical_features=self._kept < categories
        )
        # Processes of their own would cost more than they bring; and on a machine that is busy, several threads spend
        # more time waiting for each other than working.
        with parallel_config(backend="threading"), threadpool_limits(1):
            self._trees.fit(columns[:, self._kept], fraud)
        self._unit = unit(self._suspicion(columns), fraud, Capacity().review)

    def points(self, columns: Floats) -> Floats:
        """Return scores in a scorecard's points: the line above which 1 % of the honest orders lay is at as many.

        So the scores of trees fitted at different times can be put in one row, as those of scorecards can.
        """
        return self._unit * self._suspicion(columns)

    def _suspicion(self, columns: Floats) -> Floats:
        """Return log odds above those of the share of fraud that was learned from."""
        with threadpool_limits(1):
            chance = np.clip(self._trees.predict_proba(columns[:, self._kept])[:, 1], 1e-9, 1 - 1e-9)
        return np.asarray(np.log(chance / (1 - chance)) - np.log(self._share / (1 - self._share)))


def _raw(row: Row) -> list[float]:
    return [
        _category(row.source),
        _category(row.browser),
        _category(row.sex),
        row.amount / 100,
        float(row.age) if row.age.isdigit() else np.nan,
        float(int(IPv4Address(row.ip))) if row.ip else np.nan,
        row.signup_time.timestamp(),
        row.purchase_time.timestamp(),
        (row.purchase_time - row.signup_time).total_seconds(),
        float(row.purchase_time.hour),
        float(row.purchase_time.weekday()),
    ]


_seen: dict[str, float] = {}


def _category(word: str | None) -> float:
    """Return the number of a word, the same within this process; trees take 255 different ones at most."""
    return np.nan if not word else _seen.setdefault(word, float(len(_seen) % 255))


def as_array(fraud: Sequence[Judged]) -> NDArray[np.bool_]:
    """Return what the orders were."""
    return np.array([one.fraud for one in fraud], dtype=np.bool_)
