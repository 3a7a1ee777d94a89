"""Scorecards change while orders flow: none is lost, decided twice, or judged by what nobody activated."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]

from lake import policies
from order_fraud import events, topics
from order_fraud.events import Activation
from order_fraud.policies import activation, publication, record
from scorecards import SCORECARD
from stack import Ports, Stack
from stack.site import ROOT
from streams.__main__ import EXIT_NOT_READY
from tests.streams.conftest import Workers
from tests.streams.policy_orders import Ledger, Names, Shop, scorecard, send_orders
from tests.streams.witness import differences, published, send, verdicts, wait_for

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BUNDLED = SCORECARD.version
CHANGES: tuple[Names, ...] = (
    ("v1",),
    ("v2", "v1"),
    ("v3", "v2", "v1", BUNDLED),
    (BUNDLED, "v4"),
    ("v4",),
    ("v1", "v3"),
    ("v2",),
    ("v4", "v1"),
)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A broker of its own: what is activated here must judge nobody else's orders."""
    with Stack(tmp_path / "stack", ports=Ports.free(), parts=("kafka", "topics")) as running:
        yield running


@pytest.fixture
def bootstrap(stack: Stack) -> str:
    """The broker's address."""
    return stack.env["COUNTERSIGN_KAFKA"]


class Crew:
    """Workers of one group, each with metrics on a port of its own."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.folder = folder
        self.ports = {index: Ports.free().workers for index in (1, 2)}
        self._of = {
            index: Workers(SimpleNamespace(environ={**stack.environ, "COUNTERSIGN_METRICS_PORT": str(port)}), folder)  # type: ignore[arg-type]
            for index, port in self.ports.items()
        }

    def start(self, index: int) -> None:
        self._of[index].start(index)

    def kill(self, index: int) -> None:
        self._of[index].kill(index)

    def stop(self, index: int) -> int:
        return self._of[index].stop(index)

    def ended(self, index: int) -> int:
        """Return the exit code of a worker that ends by itself."""
        return self._of[index].ended(index)

    def kill_all(self) -> None:
        for one in self._of.values():
            one.kill_all()

    def metrics(self, index: int) -> str:
        return httpx.get(f"http://127.0.0.1:{self.ports[index]}/metrics", trust_env=False).text

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("worker-*.log")))


@pytest.fixture
def crew(stack: Stack, tmp_path: Path) -> Iterator[Crew]:
    """Two workers to be started."""
    found = Crew(stack, tmp_path)
    yield found
    found.kill_all()


def activate(bootstrap: str, active: str, *shadows: str) -> None:
    chosen = Activation(active=active, shadows=shadows, owner="test", reason="it is time")
    assert policies.activate(bootstrap, lambda known: chosen, datetime.now(UTC)).new


def judged(bootstrap: str) -> Counter[Names]:
    """Count verdicts by all versions that they name."""
    found = (event.data for event in verdicts(bootstrap))
    return Counter((one.scorecard_version, *(other.scorecard_version for other in one.shadows)) for one in found)


def malformed() -> list[tuple[bytes, bytes | None]]:
    """Return records that nobody may judge by: keys and values."""
    other = scorecard("v1", 77)
    fine = events.encode(publication(scorecard("empty", 1), NOW))
    empty = fine.replace(b'"low":2,"high":4,', b'"low":4,"high":2,')
    assert empty != fine
    chosen = Activation(active="never-published", owner="test", reason="a mistake")
    twice = Activation(active="v1", shadows=("v1",), owner="test", reason="a mistake")
    return [
        (b"policy/garbage", b'{"type":"PolicyPublished","data":{"version":'),
        (b"policy/empty", empty),
        record(publication(other, NOW)),
        (b"policy/v9", record(publication(scorecard("v8", 8), NOW))[1]),
        (b"policy/v2", None),
        record(activation(chosen, NOW)),
        record(activation(twice, NOW)),
        (b"active", b"\xff"),
    ]


@pytest.mark.timeout(600)
def test_scorecards_change_under_load_and_every_verdict_is_that_of_the_versions_it_names(
    bootstrap: str, crew: Crew
) -> None:
    crew.start(1)
    crew.start(2)
    ledger = Ledger(bootstrap)
    with Shop(bootstrap, ledger) as shop:
        ledger.wait_for((BUNDLED,))
        for number in (1, 2, 3, 4):
            assert policies.publish(bootstrap, scorecard(f"v{number}", number), datetime.now(UTC))
        for place, names in enumerate(CHANGES):
            activate(bootstrap, *names)
            if place == 1:
                send(bootstrap, malformed(), topics.FRAUD_POLICIES)  # type: ignore[arg-type]
            if place == 3:
                crew.kill(2)
                crew.start(2)
            ledger.wait_for(names)
    orders = Counter(f"policy-{number}" for number in range(shop.sold))
    wait_for(lambda: ledger.read() >= len(orders), 240)
    ledger.close()

    assert Counter(event.subject for event in verdicts(bootstrap)) == orders
    assert set(judged(bootstrap)) == ledger.judged.keys() == {(BUNDLED,), *CHANGES}
    assert differences(bootstrap) == []
    outcomes = {(event.data.scorecard_version, event.data.outcome) for event in verdicts(bootstrap)}
    assert outcomes >= {(f"v{number}", outcome) for number in (1, 2, 3, 4) for outcome in ("clear", "review", "block")}
    said = crew.metrics(1)
    assert 'countersign_scorecard{role="active",version="v4"} 1.0' in said
    assert 'countersign_scorecard{role="shadow",version="v1"} 1.0' in said
    assert 'countersign_scorecard{role="active",version="v2"}' not in said
    for reason, times in {"malformed": 5, "version-exists": 1, "misplaced": 1, "unknown-version": 1}.items():
        assert f'countersign_policies_refused_total{{reason="{reason}"}} {float(times)}' in said
    assert "scorecard v2 judges, on trial: v1 as before" in crew.logs()
    assert crew.stop(1) == crew.stop(2) == 0


@pytest.mark.timeout(240)
def test_a_worker_that_starts_judges_by_what_is_active_at_once(bootstrap: str, crew: Crew) -> None:
    send_orders(bootstrap, 0, 300)
    policies.publish(bootstrap, scorecard("v1", 1), datetime.now(UTC))
    policies.publish(bootstrap, scorecard("v2", 2), datetime.now(UTC))
    activate(bootstrap, "v1")
    activate(bootstrap, "v2", "v1")
    crew.start(1)
    wait_for(lambda: len(verdicts(bootstrap)) >= 300)
    assert judged(bootstrap) == {("v2", "v1"): 300}
    assert differences(bootstrap) == []
    shadows = [one for event in verdicts(bootstrap) for one in event.data.shadows]
    disagreed = sum(one.outcome != event.data.outcome for event in verdicts(bootstrap) for one in event.data.shadows)
    said = crew.metrics(1)
    assert f'countersign_shadow_judgements_total{{shadow="v1",version="v2"}} {float(len(shadows))}' in said
    told = [line for line in said.splitlines() if line.startswith("countersign_shadow_disagreements_total")]
    assert 0 < sum(float(line.rsplit(" ", 1)[1]) for line in told) == disagreed
    assert crew.stop(1) == 0


@pytest.mark.timeout(240)
def test_a_worker_starts_only_if_it_can_know_who_judges(stack: Stack, bootstrap: str, crew: Crew) -> None:
    """It would judge by the bundled scorecard, while those that have run all along judge by what is gone by now."""
    chosen = Activation(active="gone", owner="test", reason="its version was deleted")
    send(bootstrap, [record(activation(chosen, NOW))], topics.FRAUD_POLICIES)
    refused = worker(stack)
    assert refused.returncode == EXIT_NOT_READY, refused.stderr
    assert "which scorecard judges cannot be known: the record at offset 0 of fraud.policies" in refused.stderr
    assert "python -m producers.policy activate" in refused.stderr

    other = scorecard(BUNDLED, 5)
    send(bootstrap, [record(publication(other, NOW))], topics.FRAUD_POLICIES)
    policies.publish(bootstrap, scorecard("v1", 1), datetime.now(UTC))
    activate(bootstrap, "v1")
    assert BUNDLED not in published(bootstrap).published
    crew.start(1)  # the wrong bundled version does no harm as long as it judges nothing
    assert crew.stop(1) == 0
    assert published(bootstrap).panel.active.version == "v1"

    send(
        bootstrap,
        [record(activation(Activation(active=BUNDLED, owner="test", reason="back"), NOW))],
        topics.FRAUD_POLICIES,
    )
    refused = worker(stack)
    assert refused.returncode == EXIT_NOT_READY, refused.stderr
    assert f"version {BUNDLED!r} that comes with this release is not the one at offset 1" in refused.stderr
    policies.publish(bootstrap, SCORECARD, datetime.now(UTC))
    crew.start(1)
    assert published(bootstrap).panel.active.scorecard == SCORECARD
    assert crew.stop(1) == 0


def worker(stack: Stack) -> subprocess.CompletedProcess[str]:
    """Run a worker that is expected not to start."""
    command = [sys.executable, "-m", "streams", "worker"]
    return subprocess.run(command, cwd=ROOT, env=stack.environ, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.timeout(300)
def test_a_worker_that_can_no_longer_hear_of_changes_ends_before_its_next_transaction(
    bootstrap: str, crew: Crew
) -> None:
    policies.publish(bootstrap, scorecard("v1", 1), datetime.now(UTC))
    activate(bootstrap, "v1")
    crew.start(1)
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.delete_topics([topics.FRAUD_POLICIES.name])[topics.FRAUD_POLICIES.name].result(30)
    wait_for(lambda: "fraud.policies cannot be followed any more" in crew.logs(), 150)
    before = len(verdicts(bootstrap))
    send_orders(bootstrap, 0, 300)
    assert crew.ended(1) == 1
    assert len(verdicts(bootstrap)) == before, "what nobody may judge waits"
