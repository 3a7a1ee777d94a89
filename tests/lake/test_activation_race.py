"""Who activates a scorecard at the moment in which a task does: neither is undone, on a real broker."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from lake import policies
from lake.activate import tasks as activating
from lake.learn import tasks as learning
from order_fraud.events import Activation
from order_fraud.policy import encode
from scorecards import HAND_SET, SCORECARD
from tests.lake.conftest import running_stack

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = tuple(f"v{number}" for number in range(1, 7))
PARAMS = {"owner": "bob", "reason": "Better."}
Names = tuple[str, ...]


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own with some versions: what is activated here must judge nobody else's orders."""
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, "kafka,topics") as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        broker = environment["COUNTERSIGN_KAFKA"]
        policies.publish(broker, HAND_SET, NOW)
        for name in NAMES:
            policies.publish(broker, version(name), NOW)
        yield broker


def version(name: str) -> Any:
    return msgspec.structs.replace(SCORECARD, version=name)


def activate(bootstrap: str, active: str, *shadows: str) -> None:
    chosen = Activation(active=active, shadows=shadows, owner="ann", reason="a test")
    policies.activate(bootstrap, lambda known: chosen, datetime.now(UTC))


def judging(bootstrap: str) -> tuple[str, Names]:
    panel = policies.read(bootstrap).panel
    return panel.active.version, tuple(judge.version for judge in panel.shadows)


@pytest.fixture
def meanwhile(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let somebody activate when the task has seen all that it looks at before it writes."""

    def prepare(*names: str) -> None:
        real = policies.activate

        def late(*arguments: Any) -> Any:
            monkeypatch.setattr(policies, "activate", real)
            activate(bootstrap, *names)
            return real(*arguments)

        monkeypatch.setattr(policies, "activate", late)

    return prepare


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Run the task that puts a learned scorecard on trial."""

    def put_on_trial(name: str) -> dict[str, Any]:
        stored = SimpleNamespace(document=encode(version(name)).decode(), made_at=NOW)
        monkeypatch.setattr(learning, "_stored", lambda run_id: stored)
        monkeypatch.setattr(learning, "get_current_context", lambda: {"run_id": "r"})
        return learning.put_on_trial()

    return put_on_trial


@pytest.fixture
def approved(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], dict[str, Any]]:
    """Run the task that activates what a person approved."""

    def run(name: str, compared_with: str) -> dict[str, Any]:
        monkeypatch.setattr(activating, "get_current_context", lambda: {"params": PARAMS})
        compared = {"version": name, "active": compared_with, "effect": "37 orders change."}
        return activating.activate(compared, {"responded_by_user": {"name": "ann"}})

    return run


def test_a_trial_begins_beside_whoever_judges_by_then(
    bootstrap: str, meanwhile: Callable[..., None], learned: Callable[[str], dict[str, Any]]
) -> None:
    activate(bootstrap, "1", "v1")
    meanwhile(HAND_SET.version, "v2")
    assert learned("v3") == {
        "version": "v3", "published": False, "active": HAND_SET.version, "shadows": ["v2", "v3"], "made_room": [],
    }  # fmt: skip
    assert judging(bootstrap) == (HAND_SET.version, ("v2", "v3"))
    assert learned("v3")["shadows"] == ["v2", "v3"], "tried again, it changes nothing"


def test_the_oldest_trial_makes_room_and_it_is_told(
    bootstrap: str, learned: Callable[[str], dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    activate(bootstrap, "1", "v1", "v2", "v3", "v4")
    found = learned("v5")
    assert (found["shadows"], found["made_room"]) == (["v2", "v3", "v4", "v5"], ["v1"])
    assert "v1 is no longer on trial: 4 can be at a time, and it was the oldest" in caplog.text
    last = policies.read(bootstrap).activated
    assert last is not None
    assert last.data.reason.startswith("v5 goes on trial in place of v1: ")


def test_an_approved_scorecard_keeps_a_trial_that_began_meanwhile(
    bootstrap: str, meanwhile: Callable[..., None], approved: Callable[[str, str], dict[str, Any]]
) -> None:
    activate(bootstrap, "1", "v1")
    meanwhile("1", "v1", "v2")
    assert approved("v1", "1") == {"active": "v1", "shadows": ["v2"]}
    assert judging(bootstrap) == ("v1", ("v2",))
    assert approved("v1", "1") == {"active": "v1", "shadows": ["v2"]}, "an attempt after the one that did it"


def test_what_was_compared_with_another_one_than_judges_by_then_is_not_activated(
    bootstrap: str, meanwhile: Callable[..., None], approved: Callable[[str, str], dict[str, Any]]
) -> None:
    activate(bootstrap, "1", "v1")
    meanwhile(HAND_SET.version, "v1")
    with pytest.raises(activating.Overtaken, match="scorecard 3 judges by now, and v1 was compared with 1"):
        approved("v1", "1")
    assert judging(bootstrap) == (HAND_SET.version, ("v1",))
