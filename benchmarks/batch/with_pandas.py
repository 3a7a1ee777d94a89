"""pandas: the same joins, and the velocity signals of customer, device and ip; ``… IN OUT`` (.venv/batch).

It reads flat columns (the JSON of the events is opened for it) and writes findings and signals as Parquet, as we write
our outcome. It re-folds nothing: whether a verdict was right it cannot say.
"""

import json
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from time import monotonic

import numpy as np
import pandas as pd

WINDOWS_S = {"1h": 3_600.0, "1d": 86_400.0, "7d": 604_800.0, "30d": 2_592_000.0}
ENTITIES = {"customer": "customer_id", "device": "device_id", "ip": "ip"}
MAX_DISTINCT = 16


def findings(table: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return (kind, order_id) of every difference between the systems."""
    shop, charges, verdicts, deliveries = (table[name] for name in ("shop", "charges", "verdicts", "deliveries"))
    streamed = table["events"].dropna(subset="order_id").drop_duplicates("order_id")
    judged = verdicts.groupby("order_id").agg(clear=("clear", "max"), times=("clear", "size"))
    released = deliveries[deliveries["type"] == "DeliveryReleased"].groupby("order_id").size().rename("times")
    taking = charges[charges["status"].isin(["succeeded", "pending"])]
    paid = taking.groupby("order_id").agg(
        charged=("amount", "sum"), currencies=("currency", "nunique"), currency=("currency", "first")
    )
    both = shop.merge(paid, left_on="order_id", right_index=True, suffixes=("", "_charged"))
    unequal = (
        (both["charged"] != both["amount"]) | (both["currencies"] > 1) | (both["currency"] != both["currency_charged"])
    )
    known = pd.concat([shop["order_id"], streamed["order_id"]])
    cleared = released.to_frame().join(judged["clear"])
    is_clear = cleared["clear"].eq(True)
    found = {
        "order-not-streamed": shop.loc[~shop["order_id"].isin(streamed["order_id"]), "order_id"],
        "order-not-sold": streamed.loc[~streamed["order_id"].isin(shop["order_id"]), "order_id"],
        "verdict-missing": streamed.loc[~streamed["order_id"].isin(judged.index), "order_id"],
        "verdict-repeated": judged.index[judged["times"] > 1],
        "released-without-clearance": cleared.index[~is_clear],
        "released-twice": cleared.index[is_clear & (cleared["times"] > 1)],
        "amount-differs": both.loc[unequal, "order_id"],
        "payment-missing": shop.loc[~shop["order_id"].isin(paid.index), "order_id"],
        "payment-orphan": paid.index[~paid.index.isin(known)],
    }
    return pd.concat([pd.DataFrame({"kind": kind, "order_id": list(ids)}) for kind, ids in found.items()])


def signals(events: pd.DataFrame) -> pd.DataFrame:
    """Return the velocity signals of each order, one column a signal, in the order of ``events``."""
    made = {"order_id": events["order_id"]}
    for entity, key in ENTITIES.items():
        made |= _of_entity(events, entity, key)
    return pd.DataFrame(made).dropna(subset="order_id")


def _of_entity(events: pd.DataFrame, entity: str, key: str) -> dict[str, np.ndarray]:
    """Decaying counters, round by round: the k-th event of every entity at once."""
    size = len(events)
    has = events[key].notna().to_numpy()
    code = np.where(has, pd.factorize(events[key])[0], -1)
    round_ = events.groupby(key).cumcount().to_numpy()
    time = events["time"].to_numpy("datetime64[ms]").astype(np.int64) / 1000
    is_order = events["order_id"].notna().to_numpy()
    amount = events["amount"].fillna(0).to_numpy(float)
    entities = code.max() + 1
    counts = {
        name: np.full(size, np.nan)
        for kind in ("orders", "spent")
        for name in (f"{entity}.{kind}_{w}" for w in WINDOWS_S)
    }
    state = {name: np.zeros(entities) for name in counts}
    last = np.zeros(entities)
    order = np.argsort(np.where(has, round_, np.iinfo(np.int64).max), kind="stable")
    bounds = np.searchsorted(np.where(has, round_, np.iinfo(np.int64).max)[order], np.arange(round_[has].max() + 2))
    for start, end in pairwise(bounds):
        at = order[start:end]
        who, now = code[at], time[at]
        age = np.where(last[who] > 0, now - last[who], 0.0)
        for window, seconds in WINDOWS_S.items():
            keep = np.exp(-age / seconds)
            for kind, weight in (("orders", 1.0), ("spent", amount[at])):
                name = f"{entity}.{kind}_{window}"
                state[name][who] = state[name][who] * keep + np.where(is_order[at], weight, 0.0)
                counts[name][at] = state[name][who]
        last[who] = now
    if entity != "customer":
        first = ~events.duplicated([key, "customer_id"]).to_numpy() & has
        distinct = pd.Series(first.astype(float)).groupby(code).cumsum().to_numpy()
        counts[f"{entity}.customers"] = np.where(has, np.minimum(distinct, MAX_DISTINCT), np.nan)
    return counts


def difference(made: pd.DataFrame, sample: pd.DataFrame) -> float:
    """Return the largest difference of a signal from Countersign's, over the sampled orders."""
    names = [name for name in made if name != "order_id"]
    mine = made[made["order_id"].isin(sample["order_id"])].melt("order_id", names, "signal", "mine").dropna()
    theirs = sample[sample["signal"].isin(names)]
    both = theirs.merge(mine, on=["order_id", "signal"], how="outer")
    if both.empty or both[["mine", "value"]].isna().any(axis=None):
        return float("inf")
    return float((both["mine"] - both["value"]).abs().max())


def main(folder: Path, out: Path) -> None:
    """Reconcile, and say how long it took."""
    started = monotonic()
    names = ("events", "verdicts", "deliveries", "shop", "charges")
    table = {name: pd.read_parquet(folder / f"{name}.parquet") for name in names}
    found = findings(table)
    made = signals(table["events"])
    with tempfile.TemporaryDirectory() as name:
        found.to_parquet(Path(name) / "findings.parquet")
        made.to_parquet(Path(name) / "signals.parquet")
    seconds = monotonic() - started
    sample = pd.read_parquet(folder / "sample.parquet")
    told = {
        "seconds": seconds,
        "findings": {kind: int(count) for kind, count in found["kind"].value_counts().items()},
        "largest_difference": difference(made, sample),
    }
    out.write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
