"""A short chaos run on every test run: the promise is kept while workers and the broker are killed under load."""

import json
from pathlib import Path

import pytest

from tests.stack.chaos import __main__ as chaos

FAULTS, SEED = 30, 4


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_thirty_faults_under_load_lose_and_repeat_nothing(tmp_path: Path) -> None:
    out = tmp_path / "chaos.json"
    code = chaos.main(["--faults", str(FAULTS), "--seed", str(SEED), "--out", str(out), "--keep"])
    figures = json.loads(out.read_text())
    assert code == chaos.CLEAN, figures["wrong"] or figures["stalled"]
    assert sum(figures["faults"].values()) == FAULTS
    assert figures["faults"].keys() >= {"worker-kill", "worker-pause", "broker-kill", "poison", "duplicates"}
    assert len(figures["verdicts_by_scorecard"]) > 2, "scorecards changed, and each judged something"
    assert figures["orders"] > 10_000
    assert figures["dead_letters_found"] == figures["dead_letters_expected"] > 100


@pytest.mark.parametrize("wrong", [["--faults", "0"], ["--workers", "9"], ["--rate", "0"], ["--worker", "STATE"]])
def test_wrong_usage_is_told_before_anything_starts(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: object = chaos.main(wrong)
    except SystemExit as end:
        code = end.code
    assert code == chaos.USAGE
    said = capsys.readouterr().err
    assert "must be" in said or "NAME=VALUE" in said
