"""The two ways of measuring, each one pass of the orders through the relay.

**Prequential**: orders are judged in the order of their time, each before its label is known. Word of an order arrives
``delay`` later, as an event of the relay. Every ``refit`` all models that learn do so anew from the labels that have
arrived by then, and judge the orders until the next time. Until there are labels enough, the hand-set scorecard speaks
for all of them.

**Time split** (Amazon's Fraud Dataset Benchmark): the first 80 % of the orders by time are learned from, all labels
known; the last 20 % are judged. Of these no word ever comes, neither to a model nor to a history.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation import boosted
from evaluation.stream import Judged, Relay, Run
from lake.learn.card import Capacity, scorecard
from lake.learn.fit import TooFewLabels, fit
from lake.learn.prior import BY_HAND
from lake.learn.samples import Bools, Floats, Samples, samples
from order_fraud.judge import Judge, Panel
from order_fraud.scorecard import Scorecard
from producers.book import Book, Sale
from scorecards import HAND_SET as CARD_BY_HAND

HAND_SET, LEARNED, RAW, SIGNALS = "hand_set", "learned", "boosted_raw", "boosted_signals"
MODELS = (HAND_SET, LEARNED, RAW, SIGNALS)
SPLIT = 0.8
ALL_KNOWN = datetime.max.replace(tzinfo=UTC)
_BY_HAND = Judge(CARD_BY_HAND)

Progress = Callable[[int], None]
"""Called with how many orders more were judged."""


@dataclass(slots=True)
class Scored:
    """Orders, and the score that each model gave them; more means more like fraud.

    Attributes:
        judged: in the order of their time.
        scores: by model, one per order.
        card: the learned scorecard as it was at the end, None if it never came to one.
    """

    judged: list[Judged]
    scores: dict[str, Floats]
    card: Scorecard | None


class Learners:
    """Everything that learns, and what it has learned last.

    Args:
        relay: takes the learned scorecard as a shadow, so that its scores are those of real verdicts.

    Attributes:
        card: the learned scorecard, None until there were labels enough.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.card: Scorecard | None = None
        self._raw: boosted.Trees | None = None
        self._signals: boosted.Trees | None = None
        self._orders: list[Orders] = []
        self._scores: dict[str, list[Floats]] = {name: [] for name in MODELS}

    def score(self, judged: Sequence[Judged]) -> None:
        """Take in the orders that were judged since what was learned last, and let all models score them."""
        if not judged:
            return
        new = Orders.of(judged)
        self._orders.append(new)
        by_hand = np.array([float(one.verdict.score) for one in judged])
        learned = raw = signals = by_hand
        if self._raw is not None and self._signals is not None:
            learned = np.array([float(one.verdict.shadows[0].score) for one in judged])
            raw, signals = self._raw.points(new.raw), self._signals.points(new.signals)
        for name, scores in zip(MODELS, (by_hand, learned, raw, signals), strict=True):
            self._scores[name].append(scores)

    def learn(self, moment: datetime, version: str) -> None:
        """Learn anew from the orders whose label is known at a moment, or leave all as it is if there are too few."""
        known = Orders.known(self._orders, moment)
        orders = Samples(known.samples, known.fraud)
        try:
            model = fit(orders, BY_HAND)
        except TooFewLabels:
            return
        self.card = scorecard(model, orders, version, "make evaluate", "learned from labels", None, Capacity())
        self._relay.panel = Panel(_BY_HAND, (Judge(self.card),))
        self._raw = boosted.Trees(known.raw, known.fraud, boosted.CATEGORIES)
        self._signals = boosted.Trees(known.signals, known.fraud)

    def scores(self, first: int = 0) -> dict[str, Floats]:
        """Return the scores of all orders from a certain one on, one array per model."""
        return {name: np.concatenate(parts)[first:] for name, parts in self._scores.items()}


class Orders(NamedTuple):
    """Orders as the models read them, a row each."""

    known_at: NDArray[np.int64]
    fraud: Bools
    samples: Floats
    raw: Floats
    signals: Floats

    @classmethod
    def of(cls, judged: Sequence[Judged]) -> "Orders":
        """Return judged orders as the models read them."""
        fraud = boosted.as_array(judged)
        return cls(
            np.array([one.known_at.timestamp() for one in judged], dtype=np.int64),
            fraud,
            samples((one.verdict.signals for one in judged), fraud).signals,
            boosted.raw(judged),
            boosted.signals(judged),
        )

    @classmethod
    def known(cls, parts: Sequence["Orders"], moment: datetime) -> "Orders":
        """Return the orders whose label has arrived by a moment."""
        if not parts:
            return cls.of([])
        every = cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        return cls(*(column[every.known_at <= moment.timestamp()] for column in every))


def prequential(book: Book, delay: timedelta, refit: timedelta, progress: Progress) -> Scored:
    """Judge all orders, each before its label is known."""
    relay = Relay(Panel(_BY_HAND))
    learners = Learners(relay)
    scored = 0

    def pause(moment: datetime, judged: list[Judged]) -> None:
        nonlocal scored
        learners.score(judged[scored:])
        scored = len(judged)
        learners.learn(moment, f"learned-{moment:%Y-%m-%d}")

    judged = []
    for one in Run(book, relay, delay, every=refit, pause=pause).judge():
        judged.append(one)
        progress(1)
    learners.score(judged[scored:])
    return Scored(judged, learners.scores(), learners.card)


def time_split(book: Book, delay: timedelta, progress: Progress) -> Scored:
    """Learn from the first 80 % of the orders and judge the rest."""
    relay = Relay(Panel(_BY_HAND))
    learners = Learners(relay)
    split = int(len(book.sales) * SPLIT)
    told = {sale.order_id for sale in book.sales[:split]}

    def is_told(sale: Sale) -> bool:
        return sale.order_id in told

    judged: list[Judged] = []
    for one in Run(book, relay, delay, tell=is_told).judge():
        judged.append(one)
        progress(1)
        if len(judged) == split:
            learners.score(judged)
            learners.learn(ALL_KNOWN, "learned-split")
    learners.score(judged[split:])
    return Scored(judged[split:], learners.scores(split), learners.card)
