"""The embedded stack: on loopback only, ports checked first, deaths reported, nothing left behind."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import psutil
import pytest
from confluent_kafka.admin import AdminClient

from order_fraud.topics import TOPICS
from stack import AlreadyUp, PartDied, Ports, PortTaken, Stack, StackError, supervisor
from stack.keys import Keys
from stack.part import Part, Run
from stack.processes import marked
from stack.site import Site
from stack.state import State
from stack.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    run_dir = tmp_path_factory.mktemp("stack")
    with Stack(run_dir, ports=Ports.free(), parts=("kafka", "topics", "s3")) as running:
        yield running
    assert marked(run_dir) == []


def test_kafka_has_the_topics_of_the_registry(stack: Stack) -> None:
    there = AdminClient({"bootstrap.servers": stack.env["COUNTERSIGN_KAFKA"]}).list_topics(timeout=10).topics
    assert {topic.name: topic.partitions for topic in TOPICS} == {
        name: len(there[name].partitions) for name in (topic.name for topic in TOPICS)
    }


def test_the_bucket_takes_our_key_and_no_other(stack: Stack) -> None:
    def client(secret: str) -> object:
        return boto3.client(
            "s3",
            endpoint_url=stack.env["COUNTERSIGN_S3_ENDPOINT"],
            aws_access_key_id=stack.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=secret,
            region_name="us-east-1",
        )

    bucket = stack.env["COUNTERSIGN_BUCKET"]
    ours = client(stack.env["AWS_SECRET_ACCESS_KEY"])
    ours.put_object(Bucket=bucket, Key="a/b", Body=b"hello")
    assert ours.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"hello"
    with pytest.raises(ours.exceptions.ClientError, match="SignatureDoesNotMatch"):
        client("wrong").get_object(Bucket=bucket, Key="a/b")


def test_everything_listens_on_loopback_only_and_on_known_ports(stack: Stack) -> None:
    listening = {
        (address.ip.removeprefix("::ffff:"), address.port)
        for process in marked(stack.run_dir)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and (address := connection.laddr)
    }
    ports = {number for _, number, part in stack.site.ports.items() if part in ("kafka", "s3")}
    assert listening == {("127.0.0.1", port) for port in ports}


def test_secrets_are_for_the_user_alone(stack: Stack) -> None:
    for path in (stack.run_dir / "secrets.json", stack.run_dir / "s3" / "identities.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_stack_in_the_same_place_says_that_there_is_one(stack: Stack) -> None:
    with pytest.raises(AlreadyUp, match=rf"up already in .* \(pid {os.getpid()}\)"):
        Stack(stack.run_dir, ports=Ports.free(), parts=("s3",)).__enter__()
    stack.check()  # and does the first one no harm


def test_a_taken_port_is_named_with_its_part_its_holder_and_the_remedy(tmp_path: Path) -> None:
    ports = Ports.free()
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports.s3))
        other.listen()
        with pytest.raises(PortTaken) as caught:
            Stack(tmp_path, ports=ports, parts=("kafka", "s3")).__enter__()
    assert str(caught.value).startswith(f"port {ports.s3} of s3 is taken by ")
    assert f"(pid {os.getpid()})" in str(caught.value)
    assert "COUNTERSIGN_PORT_S3=" in str(caught.value)
    assert list(tmp_path.glob("logs/*")) == []  # checked before anything was started


def test_ports_come_from_the_environment_and_nonsense_is_refused() -> None:
    assert Ports.from_environment({"COUNTERSIGN_PORT_KAFKA": "29092"}) == Ports(kafka=29092)
    with pytest.raises(StackError, match=r"COUNTERSIGN_PORT_KAFKA='high'"):
        Ports.from_environment({"COUNTERSIGN_PORT_KAFKA": "high"})
    with pytest.raises(StackError, match="COUNTERSIGN_PORT_KAFAK: there is no such port"):
        Ports.from_environment({"COUNTERSIGN_PORT_KAFAK": "1"})
    with pytest.raises(StackError, match=r"18080 is given twice: COUNTERSIGN_PORT_S3 and COUNTERSIGN_PORT_SANDBOX"):
        Ports.from_environment({"COUNTERSIGN_PORT_S3": "18080"})


def test_workers_have_ports_in_a_row_that_are_checked_one_by_one(tmp_path: Path) -> None:
    ports = Ports.free()
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports.workers + 2))
        other.listen()
        ports.check(("workers",), workers=2)
        with pytest.raises(
            PortTaken, match=rf"port {ports.workers + 2} of workers is taken .*COUNTERSIGN_PORT_WORKERS="
        ):
            ports.check(("workers",), workers=3)
    with pytest.raises(StackError, match=r"18102 is given twice: COUNTERSIGN_PORT_S3 \(s3\) and .*_WORKERS \+ 2"):
        Ports(s3=18102).check(("workers",), workers=3)
    with pytest.raises(StackError, match="3 workers need the ports up to 65536; start lower"):
        Ports(workers=65534).check(("workers",), workers=3)


def test_a_part_that_does_not_start_is_reported_with_its_log_and_takes_the_others_along(tmp_path: Path) -> None:
    (tmp_path / "kafka" / "data").mkdir(parents=True)
    (tmp_path / "kafka" / "data" / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=another\n")
    with pytest.raises(
        PartDied, match=r"kafka: ended with exit code 1(.|\n)*kafka\.log(.|\n)*Stored node id 7"
    ) as caught:
        Stack(tmp_path, ports=Ports.free(), parts=("kafka", "s3")).__enter__()
    assert "  | " in str(caught.value)
    assert marked(tmp_path) == []


def test_a_part_that_dies_later_is_reported_with_its_log(tmp_path: Path) -> None:
    with Stack(tmp_path, ports=Ports.free(), parts=("s3",)) as stack:
        stack.check()
        pid = int((tmp_path / "pids" / "s3.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(PartDied, match=r"s3: killed by SIGKILL(.|\n)*end of .*s3\.log(.|\n)*  \| "):
            _check_until_it_fails(stack)


def _check_until_it_fails(stack: Stack) -> None:
    for _ in range(50):
        stack.check()
        time.sleep(0.1)


def test_a_worker_that_is_killed_comes_back_and_status_says_so(tmp_path: Path) -> None:
    ports = Ports.free()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            _command(tmp_path, *arguments),
            env=_environ(ports),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    try:
        up = run("up", "--parts", "kafka,topics,workers", "--workers", "2")
        assert up.returncode == 0, up.stderr
        for index in range(2):
            assert f"http://127.0.0.1:{ports.workers + index}/health  ok" in up.stdout
        pid = int((tmp_path / "pids" / "worker-1.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 90
        while not (worker := State.read(tmp_path)["parts"]["worker-1"]).get("restarts") or worker["state"] != "ready":
            assert time.monotonic() < until, worker
            time.sleep(0.2)
        assert worker["pid"] == int((tmp_path / "pids" / "worker-1.pid").read_text()) != pid
        status = run("status")
        assert status.returncode == 0, status.stdout
        log = tmp_path / "logs" / "worker-1.log"
        assert re.search(rf"restarted once, last killed by SIGKILL at \d\d:\d\d:\d\d UTC, log {log}", status.stdout)
        assert status.stdout.count("restarted") == 1
        assert "worker-1: killed by SIGKILL; it is started again in 1 s" in (tmp_path / "supervisor.log").read_text()
    finally:
        assert run("down").returncode == 0
    assert marked(tmp_path) == []


def test_a_part_that_dies_again_and_again_is_given_up_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "BACK_OFF_S", (0.01, 0.02))
    monkeypatch.setattr(supervisor, "_LOOK_SECONDS", 0.01)
    site = Site(tmp_path, Ports.free(), Keys.load(tmp_path / "secrets.json"))
    for folder in (site.logs, site.pids):
        folder.mkdir()
    command = (sys.executable, "-c", "print('no luck'); raise SystemExit(3)")
    part = Part(name="unlucky", group="workers", command=command, restart=True)
    state, said = State(tmp_path), list[str]()
    state.begin([("unlucky", "")], site.ports)
    watch = Supervisor(site, {"unlucky": Run(part, site)}, state, said.append)
    watch.start()
    until = time.monotonic() + 60
    while watch.cares_for("unlucky"):
        assert time.monotonic() < until, said
        time.sleep(0.05)
    watch.stop()
    why = "unlucky is not started again: it died 6 times, each time within 60 s. Mend what its log says"
    assert watch.why_given_up("unlucky").startswith(why)
    assert said[-1].startswith(why)
    assert sum("ended with exit code 3; it is started again" in line for line in said) == 5
    told = State.read(tmp_path)["parts"]["unlucky"]
    assert (told["state"], told["restarts"], told["last_end"]) == ("died", 5, "ended with exit code 3")
    assert (site.logs / "unlucky.log").read_text() == "no luck\n" * 6  # the log of every life


@pytest.mark.slow
def test_airflow_listens_on_its_one_port_and_knows_our_password(tmp_path: Path) -> None:
    with Stack(tmp_path, ports=Ports.free(), parts=("airflow",)) as stack:
        listening = {
            (connection.laddr.ip, connection.laddr.port)
            for process in marked(stack.run_dir)
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {("127.0.0.1", stack.site.ports.airflow)}
        login = {"username": "admin", "password": stack.env["COUNTERSIGN_AIRFLOW_PASSWORD"]}
        address = stack.addresses["airflow-api"]
        with httpx.Client(base_url=address, trust_env=False, timeout=20) as client:
            token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
            version = client.get("/api/v2/version", headers={"Authorization": f"Bearer {token}"}).raise_for_status()
            assert version.json()["version"] == "3.3.1"
            assert client.post("/auth/token", json=login | {"password": "wrong"}).status_code == 401
    assert marked(tmp_path) == []


def test_data_outlives_the_stack_unless_a_fresh_one_is_wanted(tmp_path: Path) -> None:
    def keys(stack: Stack) -> list[str]:
        client = boto3.client(
            "s3",
            endpoint_url=stack.env["COUNTERSIGN_S3_ENDPOINT"],
            region_name="us-east-1",
            aws_access_key_id=stack.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=stack.env["AWS_SECRET_ACCESS_KEY"],
        )
        found = [each["Key"] for each in client.list_objects_v2(Bucket="countersign").get("Contents", [])]
        client.put_object(Bucket="countersign", Key="kept", Body=b"x")
        return found

    for fresh, expected in ((False, []), (False, ["kept"]), (True, [])):
        with Stack(tmp_path, ports=Ports.free(), parts=("s3",), fresh=fresh) as stack:
            assert keys(stack) == expected


def _command(tmp_path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "stack", "--run-dir", str(tmp_path), *arguments]


def _environ(ports: Ports) -> dict[str, str]:
    chosen = {f"COUNTERSIGN_PORT_{name.upper()}": str(number) for name, number, _ in ports.items()}
    return {**os.environ, **chosen, "PYTHONPATH": str(ROOT)}


def test_up_status_down_in_the_background(tmp_path: Path) -> None:
    environ = _environ(Ports.free())

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = _command(tmp_path, *arguments)
        return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert run("status").returncode == 3
    up = run("up", "--parts", "s3")
    assert up.returncode == 0, up.stderr
    assert "s3" in up.stdout
    again = run("up", "--parts", "s3")
    assert again.returncode == 1
    assert "up already" in again.stderr
    assert run("status").returncode == 0
    os.kill(int((tmp_path / "pids" / "s3.pid").read_text()), signal.SIGKILL)
    time.sleep(2)
    status = run("status")
    assert status.returncode == 1
    assert "s3 has died." in status.stdout
    assert "  | " in status.stdout
    assert f"export COUNTERSIGN_S3_ENDPOINT=http://127.0.0.1:{environ['COUNTERSIGN_PORT_S3']}" in run("env").stdout
    family = marked(tmp_path)
    supervisor = psutil.Process(int((tmp_path / "lock").read_text()))
    down = run("down")
    assert down.returncode == 0, down.stderr
    assert not any(process.is_running() for process in [*family, supervisor])
    assert run("status").returncode == 3


def test_down_finds_what_a_killed_supervisor_has_left(tmp_path: Path) -> None:
    environ = _environ(Ports.free())
    subprocess.run(_command(tmp_path, "up", "--parts", "s3"), env=environ, cwd=ROOT, check=True, timeout=120)
    supervisor = psutil.Process(int((tmp_path / "lock").read_text()))
    supervisor.kill()
    supervisor.wait(10)
    assert len(marked(tmp_path)) == 1
    down = subprocess.run(
        _command(tmp_path, "down"), env=environ, cwd=ROOT, check=True, timeout=120, capture_output=True, text=True
    )
    assert "1 processes that had lost their supervisor were killed" in down.stdout
    assert marked(tmp_path) == []


def test_ctrl_c_in_the_foreground_leaves_nothing_behind(tmp_path: Path) -> None:
    command = _command(tmp_path, "up", "--parts", "kafka,s3", "--foreground")

    def hear_ctrl_c() -> None:  # whoever started the tests in the background had it ignored, which is inherited
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        command, env=_environ(Ports.free()), cwd=ROOT, start_new_session=True, preexec_fn=hear_ctrl_c
    ) as process:
        deadline = time.monotonic() + 30
        while len(marked(tmp_path)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(marked(tmp_path)) == 2  # in the middle of the start
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)  # an impatient second one
        # Killed by it only if all was over already and the interpreter on its way out.
        assert process.wait(60) in (130, -signal.SIGINT)
    assert marked(tmp_path) == []
