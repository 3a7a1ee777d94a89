"""/health means progress: it is judged on facts alone, and a worker that hangs is still there to say so."""

import json
import socket
import threading
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.health import PortTaken, served, watched
from streams.metrics import Metrics
from streams.observer import Nobody
from streams.progress import Progress
from streams.settings import Settings

IP, DEVICE = ("relay.by-ip", 0), ("relay.by-device", 1)
LIMIT_S = 30.0


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    """A worker with two partitions that has just got ready."""
    progress = Progress(clock)
    progress.assigned({IP, DEVICE})
    progress.restoring(100, 2)
    progress.restored()
    progress.ready()
    return progress


def idle(progress: Progress, clock: Clock, seconds: int, **lag: tuple[int, int]) -> None:
    """Let time go by, with word of the positions every second as the transport gives it."""
    for _ in range(seconds):
        clock.now += 1
        progress.lag({IP: lag.get("ip", (7, 7)), DEVICE: lag.get("device", (9, 9))})


def test_a_worker_with_nothing_to_do_is_well(progress: Progress, clock: Clock) -> None:
    idle(progress, clock, 600)
    health = progress.health(LIMIT_S)
    assert health.reasons == ()
    assert health.oldest is None
    assert (health.assigned, health.ready) == (2, True)


def test_a_record_that_nobody_processes_is_named_with_its_age(progress: Progress, clock: Clock) -> None:
    idle(progress, clock, 31, ip=(7, 9))
    assert progress.health(LIMIT_S).reasons == (), "known for 30 s: not yet more than the limit"
    idle(progress, clock, 1, ip=(7, 12))
    health = progress.health(LIMIT_S)
    assert health.reasons == ("relay.by-ip/0: offset 7 has been the oldest unprocessed one for 31 s",)
    assert health.oldest is not None
    assert (health.oldest.topic, health.oldest.partition, health.oldest.offset) == ("relay.by-ip", 0, 7)
    idle(progress, clock, 1, ip=(12, 12))
    assert progress.health(LIMIT_S).reasons == ()


def test_a_backlog_that_shrinks_is_work(progress: Progress, clock: Clock) -> None:
    for position in range(100):
        idle(progress, clock, 20, ip=(position, 1_000_000))
        assert progress.health(LIMIT_S).reasons == ()


def test_an_agent_that_never_comes_back_is_found_out(progress: Progress, clock: Clock) -> None:
    progress.polled({DEVICE: 40})
    idle(progress, clock, 31, device=(60, 60))  # the consumer itself has read on
    (reason,) = progress.health(LIMIT_S).reasons
    assert reason == "relay.by-device/1: offset 40 has been the oldest unprocessed one for 31 s"
    progress.committed([DEVICE])
    assert progress.health(LIMIT_S).reasons == ()


def test_a_transaction_that_aborts_again_and_again_is_no_progress(progress: Progress, clock: Clock) -> None:
    for _ in range(8):
        progress.polled({DEVICE: 40})
        clock.now += 4
        progress.aborted([DEVICE])
        progress.lag({DEVICE: (40, 60)})
    (reason,) = progress.health(LIMIT_S).reasons
    assert "offset 40" in reason


def test_silence_is_no_health(progress: Progress, clock: Clock) -> None:
    """The loop hangs, or the broker is out of reach: nobody has to say so."""
    clock.now += 31
    (reason,) = progress.health(LIMIT_S).reasons
    assert reason.startswith("no word of how far the partitions are for 31 s")


def test_restoring_is_progress_as_long_as_records_come(progress: Progress, clock: Clock) -> None:
    for records in range(10):
        progress.restoring(records, 2)
        clock.now += 20
        health = progress.health(LIMIT_S)
        assert health.reasons == ()
        assert not health.ready
    for _ in range(10):
        progress.restoring(9, 2)
        clock.now += 20
    (reason,) = progress.health(LIMIT_S).reasons
    assert reason.startswith("histories are being restored (9 records read, 2 partitions to go)")
    assert "for 220 s" in reason


def test_a_worker_that_the_group_never_took_in_is_not_well(clock: Clock) -> None:
    progress = Progress(clock)
    assert progress.health(LIMIT_S).reasons == ()
    clock.now += 31
    (reason,) = progress.health(LIMIT_S).reasons
    assert reason.startswith("the group has given this worker no partitions for 31 s")


def test_a_broker_that_does_not_answer_the_probe_is_named_with_its_words(progress: Progress, clock: Clock) -> None:
    """The worker's own consumer goes on telling what it last knew."""
    progress.probed({IP: 7, DEVICE: 9}, {})
    for _ in range(31):
        idle(progress, clock, 1)
        progress.probed({}, {IP: "Broker transport failure", DEVICE: "Broker transport failure"})
    assert progress.health(LIMIT_S).reasons == (
        "relay.by-device/1, relay.by-ip/0: the broker has told no end for 31 s (Broker transport failure)",
    )
    progress.probed({IP: 7, DEVICE: 9}, {})
    assert progress.health(LIMIT_S).reasons == ()


def test_a_worker_that_lost_its_partitions_with_the_broker_is_not_well(progress: Progress, clock: Clock) -> None:
    progress.assigned(())
    progress.ready()
    for _ in range(32):
        progress.reached("Broker transport failure")
        clock.now += 1
        progress.lag({})  # its loop goes on
    (reason,) = progress.health(LIMIT_S).reasons
    assert reason == "no partitions, and no answer from the broker for 32 s (Broker transport failure)"
    progress.reached()
    assert progress.health(LIMIT_S).reasons == ()


def test_a_worker_to_spare_is_well_while_the_broker_answers(progress: Progress, clock: Clock) -> None:
    progress.assigned(())
    progress.ready()
    for _ in range(600):
        clock.now += 1
        progress.lag({})
        progress.reached()
    assert progress.health(LIMIT_S).reasons == ()


def test_partitions_that_come_back_end_the_complaint(progress: Progress, clock: Clock) -> None:
    progress.assigned(())
    progress.reached("Broker transport failure")
    clock.now += 31
    progress.reached("Broker transport failure")
    progress.assigned({IP})
    progress.ready()
    assert progress.health(LIMIT_S).reasons == ()


def test_records_that_the_worker_s_own_consumer_never_hears_of_count(progress: Progress, clock: Clock) -> None:
    for _ in range(32):
        progress.probed({IP: 12, DEVICE: 9}, {})
        idle(progress, clock, 1)
    assert progress.health(LIMIT_S).reasons == ("relay.by-ip/0: offset 7 has been the oldest unprocessed one for 31 s",)


def test_a_partition_that_went_to_another_worker_is_forgotten(progress: Progress, clock: Clock) -> None:
    progress.polled({DEVICE: 40})
    progress.assigned({IP})
    progress.ready()
    clock.now += 29
    progress.lag({IP: (7, 7)})
    clock.now += 29
    assert progress.health(LIMIT_S).reasons == ()


# --- the server --------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_pages(progress: Progress, clock: Clock) -> None:
    metrics = Metrics(progress)
    with served(Settings(metrics_port=free_port(), stalled_s=LIMIT_S), metrics.registry, progress) as address:
        assert address.startswith("http://127.0.0.1:")
        status, page = get(f"{address}/metrics")
        assert status == 200
        assert "countersign_ready" in {family.name for family in text_string_to_metric_families(page)}
        progress.lag({IP: (7, 9)})
        status, page = get(f"{address}/health")
        told = json.loads(page)
        assert status == 200
        assert (told["status"], told["reasons"], told["partitions_assigned"]) == ("ok", [], 2)
        assert told["oldest_unprocessed"] == {"topic": "relay.by-ip", "partition": 0, "offset": 7, "seconds": 0.0}
        clock.now += 31
        status, page = get(f"{address}/health")
        assert status == 503
        assert json.loads(page)["reasons"][0].startswith("relay.by-ip/0: offset 7")
        assert get(f"{address}/ready") == (200, '{\n  "ready": true,\n  "waiting_for": ""\n}\n')
        progress.restoring(5, 3)
        status, page = get(f"{address}/ready")
        assert (status, json.loads(page)["waiting_for"]) == (503, "histories: 3 changelog partitions to go")
        status, page = get(f"{address}/nothing")
        assert (status, json.loads(page)["error"]) == (404, "there is /metrics, /health and /ready")
    with pytest.raises(urllib.error.URLError):
        get(f"{address}/health")


def test_it_listens_on_loopback_only(progress: Progress) -> None:
    with served(Settings(metrics_port=free_port()), Metrics(progress).registry, progress) as address:
        port = int(address.rpartition(":")[2])
        with socket.socket() as other:
            other.bind(("127.0.0.2", port))  # would be refused if all interfaces were taken


def test_port_0_serves_nothing_and_watches_nothing() -> None:
    with watched(Settings(metrics_port=0)) as observer:
        assert isinstance(observer, Nobody)
        assert "health" not in {thread.name for thread in threading.enumerate()}


def test_a_taken_port_is_named_with_its_remedy(progress: Progress) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(PortTaken, match=rf"port {port} .*already in use; .* COUNTERSIGN_METRICS_PORT"),
            served(Settings(metrics_port=port), Metrics(progress).registry, progress),
        ):
            pass
