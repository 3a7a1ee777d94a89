"""Write docs/events.md, asyncapi.yaml, signals.md, tables of msk.md, and schemas of scorecards and flows from the code.

Run it in .venv/streams after a change to plugins/order_fraud, plugins/kafka_access/settings.py or
plugins/lake/landing/flow.py; the tests fail until the files say what the code says.
"""

import argparse
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS.parent / "plugins")]

from docs.contracts.asyncapi import asyncapi_page  # noqa: E402 - the path comes first
from docs.contracts.examples import examples  # noqa: E402
from docs.contracts.msk import msk_page  # noqa: E402
from docs.contracts.pages import events_page, flow_schema, scorecard_schema, signals_page  # noqa: E402


def pages() -> dict[Path, str]:
    """Return what each generated file must say."""
    made = examples()
    return {
        DOCS / "events.md": events_page(made),
        DOCS / "asyncapi.yaml": asyncapi_page(made),
        DOCS / "signals.md": signals_page(),
        DOCS / "scorecard.schema.json": scorecard_schema(),
        DOCS / "flow.schema.json": flow_schema(),
        DOCS / "msk.md": msk_page((DOCS / "msk.md").read_text()),
    }


def main() -> int:
    """Write the files, or with --check only say which are out of date; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file is out of date")
    check = parser.parse_args().check
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not check:
            path.write_text(pages()[path])
        print(f"docs/{path.name}: {'out of date: run python docs/generate.py' if check else 'written'}")
    if not stale:
        print("the pages say what the code says")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
