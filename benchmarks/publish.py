"""The results as tables, and the block of docs/performance.md that holds them."""

import subprocess
from pathlib import Path
from typing import Any

from benchmarks.registry import CONTENDERS
from benchmarks.results import FILE, read
from stack.site import ROOT

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "pictures" / "performance.svg"
BEGIN, END = "<!-- bench:begin (python -m benchmarks --publish writes this) -->", "<!-- bench:end -->"
CHART_PYTHON = ROOT / ".venv" / "airflow" / "bin" / "python"
"""matplotlib is in the Airflow side's environment already."""


class NothingMeasured(RuntimeError):
    """There are no results to publish, or the page has lost its marks."""


def publish(results: Path = FILE, page: Path = PAGE, chart: Path = CHART) -> None:
    """Rewrite the block between the marks, and the chart.

    Raises:
        NothingMeasured: no results, or the page has no marks.
        CalledProcessError: the chart could not be drawn.
    """
    result = read(results)
    if "orders_per_second" not in result:
        raise NothingMeasured("there are no results of the speed part yet: make bench")
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise NothingMeasured(f"{page} has lost its marks {BEGIN!r} and {END!r}")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{head}{BEGIN}\n{tables(result)}\n{END}{tail}")
    subprocess.run([str(CHART_PYTHON), "-m", "benchmarks.chart", str(results), str(chart)], cwd=ROOT, check=True)


def tables(result: dict[str, Any]) -> str:
    """Return all results as Markdown, part by part, those that were measured."""
    blocks = [_speed(result), _ratios(result), _latency(result), _single(result), _scaling(result), _profile(result)]
    when = f"Measured {result.get('measured_at', 'never')} on {result.get('machine', '?')}."
    return "\n\n".join([when, *(block for block in blocks if block)])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _speed(result: dict[str, Any]) -> str:
    one, two = result.get("orders_per_second", {}), result.get("orders_per_second_2", {})
    if not one:
        return ""
    rows = [
        [
            f"`{name}`",
            contender.guarantee,
            _number(one.get(name)),
            _number(two.get(name)),
            _number(result["cpu_us_per_order"].get(name)),
            _number(result["peak_mb"].get(name)),
            _number(result["orders_by_contender"].get(name)),
        ]
        for name, contender in CONTENDERS.items()
        if name in one
    ]
    head = [
        "contender",
        "guarantee",
        "orders/s, 1 process",
        "2 processes",
        "CPU µs per order",
        "peak MB",
        "orders timed",
    ]
    return _table(head, rows)


def _ratios(result: dict[str, Any]) -> str:
    ratios = result.get("ratios", {})
    titles = {
        "to_quix_exactly_once": "to Quix Streams, exactly-once",
        "to_confluent_loop": "to the bare confluent-kafka loop",
    }
    rows = [
        [title, _number(ratios.get(name), 2), _number(ratios.get(f"{name}_2"), 2)] for name, title in titles.items()
    ]
    return _table(["Countersign, exactly-once", "1 process", "2 processes"], rows) if ratios else ""


def _latency(result: dict[str, Any]) -> str:
    rows = [
        [
            f"{int(rate):,}",
            _number(found["p50"], 1),
            _number(found["p99"], 1),
            _number(found["max"], 1),
            _number(found["achieved"]) + ("" if found["held"] else " (not held)"),
        ]
        for rate, found in result.get("latency_ms", {}).items()
    ]
    head = ["orders/s asked for", "decision latency p50, ms", "p99, ms", "longest, ms", "orders/s decided"]
    return _table(head, rows) if rows else ""


def _single(result: dict[str, Any]) -> str:
    titles = {
        "takeover_seconds": ("worker killed under 1,000 orders/s → its partitions decide again, s", 1),
        "takeover_worst_latency_seconds": ("longest wait of any order meanwhile, s", 1),
        "recovery_seconds_per_million_entities": ("restoring 1 million customers, s", 1),
        "bytes_per_entity": ("memory per customer remembered, bytes", 0),
        "kernel_microseconds_per_hop": ("kernel alone: decode, fold, encode, µs per record and hop", 1),
    }
    rows = [[title, _number(result[name], digits)] for name, (title, digits) in titles.items() if name in result]
    return _table(["one worker, exactly-once", "measured"], rows) if rows else ""


def _scaling(result: dict[str, Any]) -> str:
    found = []
    for name, head in (("workers", "workers"), ("entities", "customers already remembered")):
        if rates := result.get(name):
            rows = [[f"{int(count):,}", _number(rates[count])] for count in sorted(rates, key=int)]
            found.append(_table([head, "orders/s"], rows))
    return "\n\n".join(found)


def _profile(result: dict[str, Any]) -> str:
    profile = result.get("profile")
    if not profile:
        return ""
    whole = profile["whole"]
    rows = [[name, _number(spent, 2), f"{spent / whole:.0%}"] for name, spent in profile["phases"].items()]
    rows.append(["**all**", _number(whole, 2), ""])
    threads = profile["cpu_by_thread"]
    return (
        _table(["phase of one worker under load", "µs per record and hop", "share"], rows)
        + f"\n\nProcessor time by thread: Python {threads['python']:.2f}, librdkafka {threads['librdkafka']:.2f} µs."
    )
