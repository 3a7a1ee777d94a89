"""Settings of a worker: typed, explained, and what is wrong is named with its remedy."""

import subprocess
import sys
from pathlib import Path

import pytest

from kafka_access import Access
from streams.settings import Settings, entries, from_environment

ROOT = Path(__file__).resolve().parents[2]


def test_an_empty_environment_gives_the_defaults_and_so_does_an_empty_variable() -> None:
    assert from_environment({}) == Settings()
    assert from_environment({"COUNTERSIGN_GROUP": "", "COUNTERSIGN_BATCH_RECORDS": " "}) == Settings()


def test_each_setting_has_its_variable_and_its_type() -> None:
    told = from_environment(
        {
            "COUNTERSIGN_KAFKA": "a:1,b:2",
            "COUNTERSIGN_SERVICES": " fraud, ",
            "COUNTERSIGN_GUARANTEE": "at-least-once",
            "COUNTERSIGN_BATCH_RECORDS": "7",
            "COUNTERSIGN_STATE": "rocksdb",
            "COUNTERSIGN_STATE_DIR": "folder",
            "COUNTERSIGN_OVERDUE_S": "0.5",
            "COUNTERSIGN_METRICS_PORT": "0",
        }
    )
    assert told == Settings(
        kafka=Access(brokers="a:1,b:2"),
        services=frozenset({"fraud"}),
        guarantee="at-least-once",
        batch_records=7,
        state="rocksdb",
        state_dir="folder",
        overdue_s=0.5,
        metrics_port=0,
    )


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("SERVICES", "fraud,delivry", "with commas, of fraud, delivery"),
        ("SERVICES", ",", "with commas, of fraud, delivery"),
        ("GUARANTEE", "once", "must be exactly-once or at-least-once"),
        ("STATE", "disk", "must be memory or rocksdb"),
        ("BATCH_RECORDS", "0", "must be a whole number from 1; leave it out for 10000"),
        ("BATCH_RECORDS", "many", "must be a whole number from 1"),
        ("BATCH_WAIT_MS", "-1", "must be a whole number from 0 to 10000"),
        ("METRICS_PORT", "70000", "must be a whole number from 0 to 65535"),
        ("OVERDUE_S", "nan", "must be a number above 0 to "),
        ("STALLED_S", "inf", "must be a number above 0 to "),
    ],
)
def test_only_the_wrong_variable_is_named_and_what_it_may_be(name: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match="COUNTERSIGN_") as caught:
        from_environment({"COUNTERSIGN_KAFKA": "a:1", f"COUNTERSIGN_{name}": text})
    assert str(caught.value).startswith(f"COUNTERSIGN_{name}={text!r}: ")
    assert words in str(caught.value)
    assert "COUNTERSIGN_KAFKA" not in str(caught.value)


def test_rocksdb_without_a_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="COUNTERSIGN_STATE=rocksdb needs a folder: set COUNTERSIGN_STATE_DIR"):
        from_environment({"COUNTERSIGN_STATE": "rocksdb"})


def test_help_explains_every_setting_and_a_wrong_one_ends_with_code_2() -> None:
    def worker(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "streams", "worker", *arguments],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}", **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    told = worker("--help")
    assert told.returncode == 0
    words = " ".join(told.stdout.split())
    for entry in entries():
        assert f"{entry.variable} (" in words
        assert entry.meaning in words
    assert "  COUNTERSIGN_KAFKA  (" in told.stdout
    refused = worker(COUNTERSIGN_STATE="disk")
    assert refused.returncode == 2
    assert refused.stderr == "streams: COUNTERSIGN_STATE='disk': must be memory or rocksdb; leave it out for memory\n"
