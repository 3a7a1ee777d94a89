"""A broker that trusts nobody: who has the rights of his row does his work, everybody else is told so in one line."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicCollection
from confluent_kafka.admin import AclOperation

from kafka_access import Access, NoAnswer, access, client, enter
from order_fraud import topics
from order_fraud.rights import ROLES, rights
from stack.site import ROOT
from streams.acls import apply
from streams.acls import main as acls
from streams.admin import create
from tests.streams.secured import ADMIN, STRANGER, Secured, process, wait_for
from tests.streams.witness import read

AIRFLOW = ROOT / ".venv" / "airflow" / "bin" / "python"
SIGNER = ROOT / "tests" / "streams" / "unsecured_signer"
HERE = ROOT / "tests" / "streams"
ORDERS = 40
BATCH_ROLES = ("landing", "reconcile", "settle", "policies")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The broker with the topics of the registry and the rights of each role."""
    secured = Secured(tmp_path_factory.mktemp("secured"))
    secured.start()
    try:
        enter(as_user(secured, ADMIN), timeout_s=60)
        create(as_user(secured, ADMIN))
        wanted = {f"User:countersign-{role}": rights(services) for role, services in ROLES.items()}
        added = apply(enter(as_user(secured, ADMIN)), wanted)
        assert added == (sum(len(right.operations) for its in wanted.values() for right in its), 0)
        wait_for(
            lambda: apply(enter(as_user(secured, ADMIN)), wanted) == (0, 0)
        )  # the broker hears of it a moment later
        yield secured
    finally:
        secured.stop()


def as_user(broker: Secured, user: str) -> Access:
    """Return how a user gets in."""
    return access(broker.environment(user))


def run(module: str, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the stream side."""
    return process(sys.executable, "-m", module, *arguments, environment=environment)


class Worker:
    """One stream worker as a process."""

    def __init__(self, folder: Path, environment: dict[str, str], name: str) -> None:
        self._log = folder / f"{name}.log"
        self._ready = folder / f"{name}.ready"
        told = {"COUNTERSIGN_READY_FILE": str(self._ready), "COUNTERSIGN_INSTANCE": name}
        python_path = environment.get("PYTHONPATH", f"{ROOT}:{ROOT / 'plugins'}")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streams", "worker"],
                cwd=ROOT,
                env={"PATH": "/usr/bin:/bin", **environment, **told, "PYTHONPATH": python_path},
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        """Wait until it has its partitions."""

        def ready() -> bool:
            assert self._process.poll() is None, self.said()[-3000:]
            return self._ready.exists()

        wait_for(ready, 60)

    def ended(self, seconds: float = 60) -> int:
        """Wait for its end; return the exit code."""
        return self._process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self._process.terminate()
        return self.ended()

    def kill(self) -> None:
        """Leave no process behind."""
        self._process.kill()
        self._process.wait()

    @property
    def runs(self) -> bool:
        """Whether it does."""
        return self._process.poll() is None

    def said(self) -> str:
        """Its log."""
        return self._log.read_text(errors="replace")


@pytest.fixture
def worker(broker: Secured, tmp_path: Path) -> Iterator[Worker]:
    """A worker under its own name on Kafka."""
    started = Worker(tmp_path, broker.environment("countersign-worker"), "worker-1")
    try:
        started.wait_until_ready()
        yield started
    finally:
        started.kill()


def orders(folder: Path, number: int) -> Path:
    """Write a book of orders that no other number's has."""
    path = folder / f"orders-{number}.csv"
    columns = "user_id,signup_time,purchase_time,purchase_value,device_id,source,browser,sex,age,ip_address,class"
    customers = range(1000 * number, 1000 * number + ORDERS)
    rows = (f"{one},2026-01-01 10:00:00,2026-01-02 11:00:00,30,D{one},Ads,Opera,F,30,10.1.2.3,0" for one in customers)
    path.write_text("\n".join((columns, *rows)) + "\n")
    return path


def verdicts(broker: Secured) -> list[Message]:
    """Return all verdicts."""
    return read(as_user(broker, ADMIN), topics.FRAUD_VERDICTS)


def test_each_role_does_its_work_and_a_broker_that_restarts_stops_nobody(
    broker: Secured, worker: Worker, tmp_path: Path
) -> None:
    shop = broker.environment("countersign-shop")
    book = ["--orders", str(orders(tmp_path, 1))]
    assert run("producers.shop", *book, environment=shop).returncode == 0
    wait_for(lambda: len(verdicts(broker)) == ORDERS)
    reviewer = broker.environment("countersign-feedback")
    feedback = run("producers.feedback", *book, "--confirm", "1000-1", environment=reviewer)
    assert feedback.returncode == 0, feedback.stderr
    replay = run("producers.replay", environment=broker.environment("countersign-replay"))
    assert (replay.returncode, "0 records sent" in replay.stdout) == (0, True), replay.stdout + replay.stderr
    restream = run("producers.restream", "--generate", "1", environment=shop)
    assert restream.returncode == 0, restream.stderr
    tasks = [(role, broker.connection(f"countersign-{role}")) for role in BATCH_ROLES]
    tasks.append(("landing", broker.connection("countersign-landing", "wrong")))
    tasks.append(("reconcile", broker.connection("countersign-landing")))
    *done, refused, without = batch(*tasks)
    assert [one["task"] for one in done if "gave" in one] == list(BATCH_ROLES), done
    assert sum(done[0]["gave"]["customer.events"].values()) >= ORDERS
    assert refused["failed"] == without["failed"] == "KafkaRefuses"
    assert f"Kafka at {broker.scram} does not let User:countersign-landing in" in refused["words"]
    assert "does not let User:countersign-landing use topic reconciliation.findings" in without["words"]
    assert "\n" not in refused["words"] + without["words"]
    broker.stop()
    broker.start()
    enter(as_user(broker, ADMIN), timeout_s=60)
    assert worker.runs
    assert "does not let" not in worker.said()


def batch(*tasks: tuple[str, str], **environment: str) -> list[dict]:
    """Run tasks of the DAGs in Airflow's environment, each with the connection given."""
    if not AIRFLOW.exists():
        pytest.skip(f"{AIRFLOW.relative_to(ROOT)} is missing: run `make setup`")
    done = process(str(AIRFLOW), str(HERE / "batch_tasks.py"), json.dumps(tasks), environment=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("role", [*ROLES, "stranger"])
def test_the_broker_lets_each_role_do_what_stands_in_its_row_and_nothing_else(broker: Secured, role: str) -> None:
    admin = enter(as_user(broker, f"countersign-{role}"))
    expected = {right.name: right for right in rights(ROLES.get(role, ())) if right.kind == "topic"}
    for topic in topics.TOPICS:
        answer = admin.describe_topics(TopicCollection([topic.name]), include_authorized_operations=True)[topic.name]
        row = expected.get(topic.name)
        if row is None:
            with pytest.raises(KafkaException) as refused:
                answer.result()
            assert refused.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
        else:
            may = {operation.name.lower() for operation in answer.result().authorized_operations}
            assert may - {"describe"} == set(row.operations) - {"describe"}, topic.name


def test_every_topic_has_the_writers_of_the_registry_and_no_others() -> None:
    for topic in topics.TOPICS:
        declared = {*topic.writers.values(), *topic.raw_writers}
        allowed = {
            service
            for service in topics.SERVICES
            for right in rights([service])
            if right.kind == "topic" and right.name == topic.name and "write" in right.operations
        }
        extra = {topics.REPLAY} if topic is topics.CUSTOMER_EVENTS else set()
        assert allowed == declared | extra


def test_nobody_writes_in_anothers_name_or_takes_over_his_transactions(broker: Secured) -> None:
    shop = as_user(broker, "countersign-shop")
    failed: list[KafkaError] = []
    producer = Producer(client(shop) | {"log_level": 0})
    producer.produce(topics.FRAUD_VERDICTS.name, b"forged", on_delivery=lambda error, _: failed.append(error))
    producer.flush(10)
    assert [error.code() for error in failed] == [KafkaError.TOPIC_AUTHORIZATION_FAILED]
    for other in ("countersign/worker-1", "policy-publisher"):
        thief = Producer(client(shop) | {"log_level": 0, "transactional.id": other})
        with pytest.raises(KafkaException) as refused:
            thief.init_transactions(10)
        assert refused.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("streams", ["worker"]),
        ("producers.shop", ["--generate", "1"]),
        ("producers.replay", []),
    ],
)
def test_a_wrong_password_is_one_line_with_principal_and_broker(
    broker: Secured, module: str, arguments: list[str]
) -> None:
    done = run(module, *arguments, environment=broker.environment("countersign-shop", "wrong"))
    assert done.returncode == 6
    (line,) = done.stderr.splitlines()
    assert f"Kafka at {broker.scram} does not let User:countersign-shop in" in line
    assert "check COUNTERSIGN_KAFKA_USER and COUNTERSIGN_KAFKA_PASSWORD" in line


@pytest.mark.parametrize(
    ("module", "arguments", "what"),
    [
        ("streams", ["worker"], "read topic customer.events"),
        ("producers.shop", ["--generate", "1"], "use topic customer.events"),
        ("producers.replay", [], "use topic dead-letters"),
    ],
)
def test_a_missing_right_is_one_line_with_principal_and_topic(
    broker: Secured, module: str, arguments: list[str], what: str
) -> None:
    user = "countersign-shop" if module == "streams" else STRANGER
    done = run(module, *arguments, environment=broker.environment(user))
    assert done.returncode == 6, done.stderr
    (line,) = done.stderr.splitlines()
    assert f"Kafka at {broker.scram} does not let User:{user} {what}" in line


def test_a_certificate_of_ones_own_is_a_name_too(broker: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in broker.environment(ADMIN).items():
        monkeypatch.setenv(name, value)
    assert acls(["apply", "--role", "shop", "--principal", "shop=User:CN=till"]) == 0
    certificate, key = broker.certificate("till")
    environment = {
        "COUNTERSIGN_KAFKA": broker.tls,
        "COUNTERSIGN_KAFKA_SECURITY": "tls",
        "COUNTERSIGN_KAFKA_CA": str(broker.ca),
        "COUNTERSIGN_KAFKA_CERTIFICATE": str(certificate),
        "COUNTERSIGN_KAFKA_KEY": str(key),
    }
    assert run("producers.shop", "--generate", "1", environment=environment).returncode == 0
    without = {name: value for name, value in environment.items() if not name.endswith(("_CERTIFICATE", "_KEY"))}
    with pytest.raises(NoAnswer, match="certificate"):
        enter(access(without), timeout_s=1)


def test_tokens_let_all_in_and_are_renewed_while_nobody_polls_and_a_lost_right_ends_the_worker(
    broker: Secured, tmp_path: Path
) -> None:
    """Those of MSK IAM, but that the broker can check them; they live for eight seconds instead of fifteen minutes."""
    notes = tmp_path / "notes"
    token = {
        "PYTHONPATH": f"{SIGNER}:{ROOT}:{ROOT / 'plugins'}",
        "COUNTERSIGN_KAFKA": broker.token,
        "COUNTERSIGN_KAFKA_SECURITY": "iam",
        "COUNTERSIGN_KAFKA_REGION": "eu-central-1",
        "COUNTERSIGN_KAFKA_CA": str(broker.ca),
        "AWS_ACCESS_KEY_ID": "countersign-shop",
        "TOKEN_LIFE_S": "8",
        "TOKEN_NOTES": str(notes),
    }
    role = "arn:aws:iam::123456789012:role/countersign-worker"
    worker = Worker(tmp_path, {**token, "COUNTERSIGN_KAFKA_ROLE": role}, "worker-2")
    try:
        with subprocess.Popen([sys.executable, HERE / "idle_clients.py", "10"], env={**token, "PATH": ""}) as idle:
            sent = run("producers.shop", "--orders", str(orders(tmp_path, 3)), environment=token)
            assert sent.returncode == 0, sent.stderr
            extra = {"security": "iam", "ca": str(broker.ca), "region": "eu-central-1"}
            connection = json.dumps({"conn_type": "kafka", "host": broker.token, "extra": extra})
            identity = {**token, "AWS_ACCESS_KEY_ID": "countersign-landing"}
            (done,) = batch(("landing", connection), **identity)
            assert sum(done["gave"]["customer.events"].values()) > ORDERS
            wait_for(lambda: {message.key() for message in verdicts(broker)} >= {b"3000", b"3039"}, 60)
        assert idle.returncode == 0
        _take_away_the_right_to_write_verdicts(broker)
        assert run("producers.shop", "--orders", str(orders(tmp_path, 4)), environment=token).returncode == 0
        assert worker.ended() == 1
        assert f"does not let the AWS role {role} write to topic fraud.verdicts" in worker.said()
    finally:
        worker.kill()
    each = [line.split() for line in notes.read_text().splitlines()]
    assert Counter(subject for _, subject, *_ in each)["countersign-worker"] > 12  # more than there are clients
    assert {subject for _, subject, *_ in each} == {"countersign-shop", "countersign-worker", "countersign-landing"}
    other = run("producers.policy", "list", environment=token)
    assert other.returncode == 6
    assert "does not let the AWS identity of this process use topic fraud.policies" in other.stderr


def _take_away_the_right_to_write_verdicts(broker: Secured) -> None:
    less = [
        replace(right, operations=("read",)) if right.name == topics.FRAUD_VERDICTS.name else right
        for right in rights(ROLES["worker"])
    ]
    assert apply(enter(as_user(broker, ADMIN)), {"User:countersign-worker": less}) == (0, 1)


def test_the_operations_have_kafkas_names() -> None:
    for role in ROLES.values():
        for right in rights(role):
            assert all(AclOperation[operation.upper()] for operation in right.operations)
