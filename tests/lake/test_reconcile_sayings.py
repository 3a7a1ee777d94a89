"""Opening verdicts in one pass says what opening them with polars, once for facts and once for judges, says."""

from datetime import UTC, date, datetime

import polars as pl

from lake.reconcile import facts, sayings
from lake.reconcile.panels import named

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
VALUES = (
    '{"data":{"order_id":"1","customer_id":"a","amount":5,"currency":"EUR","score":0,"reasons":[],'
    '"scorecard_version":"1","outcome":"clear"}}',
    '{"data":{"order_id":"2","customer_id":"b","amount":6,"currency":"EUR","score":90,"reasons":[{"code":"night"},'
    '{"code":"a code that is longer than what fits in twelve bytes"}],"scorecard_version":"1","outcome":"block",'
    '"shadows":[{"scorecard_version":"2"},{"scorecard_version":"3"}]}}',
    '{"data":{"order_id":"3"}}',
)


def batch() -> pl.DataFrame:
    count = len(VALUES)
    return pl.DataFrame(
        {
            "partition": pl.Series([0] * count, dtype=pl.Int32),
            "offset": range(count),
            "event_id": [f"verdict/{place}" for place in range(count)],
            "subject": [str(place) for place in range(count)],
            "timestamp": [MOMENT] * count,
            "time": [MOMENT] * count,
            "day": [date(2026, 1, 2)] * count,
            "type": ["NoFraudDetected", "PossibleFraud", "NoFraudDetected"],
            "value": VALUES,
        }
    )


def test_one_pass_says_what_two_say() -> None:
    records = batch()
    verdicts, judges = sayings.opened(records)
    expected = facts.verdicts(records.select(facts.ARCHIVE_COLUMNS))
    assert verdicts.select(expected.columns).to_dicts() == expected.to_dicts()
    assert judges["shadows"].to_list() == [[], ["2", "3"], []]
    by = named(records.select("partition", "offset", "event_id", "subject", "day", "value"))
    assert judges.select(by.columns).to_dicts() == by.to_dicts()


def test_its_lists_go_together_with_those_of_polars() -> None:
    """Lists whose text is kept in another way than polars keeps it end the process when the two are compared."""
    verdicts, judges = sayings.opened(batch())
    for lists in (verdicts["reasons"], judges["shadows"]):
        same = pl.Series(lists.name, lists.to_list(), pl.List(pl.String))
        assert lists.equals(same, null_equal=True)
        assert pl.concat([lists, same]).to_list() == lists.to_list() * 2
