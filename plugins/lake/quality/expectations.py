"""Runs an object's checks with Great Expectations and says which rows fail which check.

Importing Great Expectations takes seconds: only tasks import this module, and only those that check.
"""

from collections.abc import Sequence
from typing import Any

import great_expectations as gx
import great_expectations.expectations as expectations
import pyarrow as pa

from lake.landing.flows import BadFlow, Check
from lake.redaction import redacted


def failing(rows: pa.Table, checks: Sequence[Check], flow: str) -> dict[int, list[Check]]:
    """Return the checks that fail, by the number of the row in ``rows``; rows that pass all are not in it.

    Args:
        rows: what the source delivered, in the columns of its table; missing values are null.
        checks: in the order in which they are reported.
        flow: the name for error messages.

    Raises:
        BadFlow: a check names no expectation, misses or misnames an argument, or judges tables instead of rows.
    """
    if rows.num_rows == 0 or not checks:
        return {}
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("landing").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": rows.to_pandas()})
    suite = gx.ExpectationSuite(
        name=flow, expectations=[_expectation(check, place, flow) for place, check in enumerate(checks)]
    )
    # The suite may reorder or group what it holds; the place travels in the metadata.
    outcome = batch.validate(suite, result_format={"result_format": "COMPLETE"})
    failed: dict[int, list[Check]] = {}
    for result in sorted(outcome.results, key=_place):
        check = checks[_place(result)]
        for number in _rows_of(result, check, flow):
            failed.setdefault(number, []).append(check)
    return failed


def _expectation(check: Check, place: int, flow: str) -> Any:
    kind = getattr(expectations, check.expect, None)
    if kind is None:
        raise BadFlow(f"{flow}: Great Expectations has no {check.expect} - at `$.checks[{place}].expect`")
    try:
        return kind(**check.with_, meta={"place": place})
    except (TypeError, ValueError) as error:
        raise BadFlow(f"{flow}: {check.expect}: {error} - at `$.checks[{place}].with`") from error


def _place(result: Any) -> int:
    return int(result.expectation_config.meta["place"])


def _rows_of(result: Any, check: Check, flow: str) -> list[int]:
    raised = result.exception_info or {}
    if raised.get("raised_exception") or any(
        isinstance(info, dict) and info.get("raised_exception") for info in raised.values()
    ):
        raise BadFlow(redacted(f"{flow}: {check.expect} cannot be evaluated: {raised}")[:600])
    numbers = result.result.get("unexpected_index_list")
    if numbers is None:
        raise BadFlow(f"{flow}: {check.expect} judges a whole table; only expectations about rows can set rows aside")
    return [int(number) for number in numbers]
