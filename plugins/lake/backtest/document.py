"""The back-test for programs: everything the page shows, and every order whose outcome changes."""

import csv
import io

import msgspec

from lake.backtest.outcome import Outcome

COLUMNS = (
    *("order_id", "customer_id", "time", "amount", "currency", "label", "before", "after"),
    *("score_before", "score_after", "reasons_before", "reasons_after"),
)


def document(outcome: Outcome) -> bytes:
    """Return the report as JSON; money is in minor units of its currency."""
    content = msgspec.structs.asdict(outcome) | {
        "document": msgspec.Raw(outcome.document.encode()),
        "identical": {"refolded": outcome.proof.refolded.identical, "candidate": outcome.proof.candidate.identical},
        "outcome_changes": len(outcome.changes),
        "zombies": [piece.code for piece in outcome.zombies],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1)


def changes_csv(outcome: Outcome) -> bytes:
    """Return the orders whose outcome changes as CSV with a header (RFC 4180, UTF-8); amounts in minor units."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for change in outcome.changes:
        row = msgspec.structs.asdict(change) | {
            "time": change.time.isoformat(),
            "reasons_before": " | ".join(change.reasons_before),
            "reasons_after": " | ".join(change.reasons_after),
        }
        writer.writerow(row[name] for name in COLUMNS)
    return out.getvalue().encode()
