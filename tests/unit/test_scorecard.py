"""From signals to a judgement: bins, points, threshold, and reasons with the number in them."""

from math import inf, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_fraud import signals
from order_fraud.scorecard import Bin, Judgement, Line, Scorecard, judge
from order_fraud.scorecard_v1 import SCORECARD

CARD = Scorecard(
    version="t",
    threshold=50,
    lines=(
        Line(
            signal="a",
            bins=(
                Bin(code="low", high=0.0, points=-10, text="{value} is low"),
                Bin(code="mid", low=0.0, high=10.0, points=20, text="{value} is middling"),
            ),
        ),
        Line(signal="b", bins=(Bin(code="any", points=30, text="b is {value}"),)),
    ),
)


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        (-0.01, ["low"]),
        (0.0, ["mid"]),
        (nextafter(10.0, 0.0), ["mid"]),
        (10.0, []),
        (1e12, []),
    ],
)
def test_a_bin_holds_its_low_end_and_not_its_high_end(value: float, codes: list[str]) -> None:
    assert [reason.code for reason in judge({"a": value}, CARD).reasons] == codes


@pytest.mark.parametrize(
    ("signals_", "possible_fraud", "score"),
    [({}, False, 0), ({"a": 5.0}, False, 20), ({"a": 5.0, "b": 1.0}, True, 50), ({"a": -1.0, "b": 1.0}, False, 20)],
)
def test_the_threshold_is_reached_not_passed(signals_: dict[str, float], possible_fraud: bool, score: int) -> None:
    judgement = judge(signals_, CARD)
    assert (judgement.possible_fraud, judgement.score) == (possible_fraud, score)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5.0, "5 is middling"),
        (3.14159, "3.14 is middling"),
        (2.5, "2.50 is middling"),
        (1.999, "2 is middling"),
        (-1234.5, "-1,234.50 is low"),
        (-0.001, "0 is low"),
        (-100.0, "-100 is low"),
    ],
)
def test_a_reason_has_the_number_in_plain_writing(value: float, words: str) -> None:
    assert judge({"a": value}, CARD).reasons[0].text == words


SIGNALS = st.dictionaries(
    st.sampled_from(sorted(signals.NAMES)), st.floats(-1e9, 1e15, allow_nan=False), max_size=len(signals.NAMES)
)


@given(SIGNALS)
def test_score_is_the_sum_of_the_reasons_and_decides_alone(found: dict[str, float]) -> None:
    judgement = judge(found, SCORECARD)
    assert judgement.score == sum(reason.points for reason in judgement.reasons)
    assert judgement.possible_fraud == (judgement.score >= SCORECARD.threshold)
    assert len({reason.code for reason in judgement.reasons}) == len(judgement.reasons)
    assert judge(dict(reversed(found.items())), SCORECARD) == judgement
    assert isinstance(judgement, Judgement)


def test_version_1_asks_only_for_signals_that_exist_and_its_bins_do_not_overlap() -> None:
    codes = [bin_.code for line in SCORECARD.lines for bin_ in line.bins]
    assert len(codes) == len(set(codes))
    assert {line.signal for line in SCORECARD.lines} <= signals.NAMES
    for line in SCORECARD.lines:
        edges = sorted((bin_.low, bin_.high) for bin_ in line.bins)
        assert all(low < high for low, high in edges)
        assert all(before[1] <= after[0] for before, after in zip(edges, edges[1:], strict=False))  # noqa: RUF007
        for bin_ in line.bins:
            assert bin_.low > -inf or bin_.high < inf
            assert "{value}" in bin_.text
