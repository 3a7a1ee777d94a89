"""Nothing that a customer or an installation would not want to read stands anywhere that it should not.

Recognisable values are planted in whatever comes in, well-formed and not, and in what other systems say when they
refuse; the DAGs run; then every byte of the lake, of the reports, of Airflow's database and of the logs is looked at.
Kafka's topics are not among them: they carry raw values by design, for as long as they keep anything.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
from confluent_kafka import Producer

from order_fraud import topics
from order_fraud.events import FraudConfirmed, NewOrder
from tests import traces
from tests.lake.conftest import ROOT, running_stack
from tests.lake.meddler import Meddler, meddling
from tests.lake.reconcile_world import ARRIVED, START, World, feedback, order, sign_up
from tests.lake.test_landing_dags import Airflow
from tests.lake.test_landing_sources import charge, contact
from tests.lake.test_landing_sources import order as sold

RUN = """
import json, os, sys
from datetime import timedelta
from airflow.dag_processing.dagbag import DagBag
folder, steps = sys.argv[1], json.loads(sys.argv[2])
for dag_id, form, changed in steps:
    os.environ.update(changed)
    dag = DagBag(f"{folder}/{dag_id}.py").dags[dag_id]
    for task in dag.tasks:
        task.retry_delay, task.max_retry_delay = timedelta(seconds=0.1), timedelta(seconds=0.2)
    run = dag.test(run_conf=form)
    print("FOUND" + json.dumps([dag_id, str(run.state)]))
"""

PLANTED = {
    "ip of an order": "203.0.113.77",
    "ip of the shop": "198.51.100.23",
    "IPv6 address": "2001:db8:77::4242",
    "card number": "4000056655665556",
    "card number in groups": "5200 8282 8282 8210",
    "card number in a bad record": "378282246310005",
    "e-mail as domain": "domain.planted@example.org",
    "e-mail of a reviewer": "reviewer.planted@example.org",
    "e-mail of the shop": "shop.planted@example.org",
    "e-mail of the CRM": "crm.planted@example.org",
    "e-mail in a row that fails a check": "failing.planted@example.org",
    "e-mail instead of an id": "id.planted@example.org",
    "e-mail in a bad record": "o'bad.planted@example.org",
    "e-mail in a refusal": "refused.planted@example.org",
}
MARK = "ordermark-1"
"""An order id: it may be anywhere, and a look that does not find it would find nothing else either."""


@dataclass
class Aftermath:
    """What is there when the DAGs have run."""

    run_dir: Path
    home: Path
    environment: dict[str, str]
    log: str
    states: list[list[str]]

    @property
    def needles(self) -> dict[str, str]:
        secrets = json.loads((self.run_dir / "secrets.json").read_text())
        del secrets["s3_access_key"]  # a name rather than a secret: presigned addresses show it
        return PLANTED | {f"secret {name}": value for name, value in secrets.items()}


def incoming(world: World) -> None:
    """Let orders with planted entities run through the stream, and one turn out to be fraud."""
    rich = order(MARK, "c1", START + timedelta(hours=1), 4_200, "d1", PLANTED["ip of an order"])
    entities = {"card": PLANTED["card number"], "email_domain": PLANTED["e-mail as domain"], "address": "a1"}
    rich = msgspec.structs.replace(rich, data=msgspec.structs.replace(rich.data, **entities))
    again = order("c1-2", "c1", START + timedelta(hours=2), 900, "d1", PLANTED["IPv6 address"])
    grouped = {"card": PLANTED["card number in groups"]}
    again = msgspec.structs.replace(again, data=msgspec.structs.replace(again.data, **grouped))
    word = feedback(FraudConfirmed, rich, START + timedelta(days=9), PLANTED["e-mail of a reviewer"])
    other = order("c2-1", "c2", START + timedelta(hours=3), 700)
    words = [word, feedback(FraudConfirmed, other, START + timedelta(days=9))]
    made = [sign_up("c1", START, "d1", PLANTED["ip of an order"]), rich, again, other, *words]
    world.stream(made).sell([one for one in made if isinstance(one, NewOrder)])


def produce(bootstrap: str, world: World) -> None:
    """Put the world's records on their topics, and some beside them that are no events."""
    producer = Producer({"bootstrap.servers": bootstrap})
    lately = datetime.now(UTC) - timedelta(hours=1) - ARRIVED  # the broker deletes what is older than its retention
    for topic, rows in world.topics.items():
        for row in rows:
            at = int((row["timestamp"] + lately).timestamp() * 1000)
            producer.produce(topic, key=row["key"], value=row["value"], partition=row["partition"], timestamp=at)
    email, card = PLANTED["e-mail in a bad record"], PLANTED["card number in a bad record"]
    bad = json.loads(world.topics[topics.CUSTOMER_EVENTS.name][1]["value"])
    quoting = [bad | {"data": bad["data"] | {"currency": email[:3]}}, bad | {"type": email}, bad | {"time": email}]
    for value in (*(json.dumps(one).encode() for one in quoting), f"{{{email} {card}".encode(), card.encode()):
        producer.produce(topics.CUSTOMER_EVENTS.name, key=card, value=value)
        producer.produce(topics.DEAD_LETTERS.name, key=card, value=value, headers={"reason": email})
    assert producer.flush(30) == 0


def feed(stack: dict[str, str]) -> None:
    """Let shop, payment provider and CRM have the same orders, and rows that no check lets pass."""
    email, ip = PLANTED["e-mail of the shop"], PLANTED["ip of the shop"]
    moment = int(START.timestamp()) + 3600
    when = {"created": moment, "updated": moment}
    failing = PLANTED["e-mail in a row that fails a check"]
    body = {
        "orders": [
            sold(1, order_id=MARK, customer_id="c1", email=email, ip=ip, amount=4_200, **when),
            sold(2, order_id="c1-2", customer_id="c1", email=email, ip=ip, amount=900, **when),
            sold(5, order_id="c2-1", customer_id="c2", email=email, ip=ip, amount=700, **when),
            sold(3, email=failing, ip=ip, amount=-5, **when),
            sold(4, order_id=PLANTED["e-mail instead of an id"], email=failing, amount=-6, **when),
        ],
        "charges": [
            charge(1, order_id=MARK, customer_id="c1", created=moment, amount=4_200, captured=True),
            charge(2, order_id="c1-2", customer_id="c1", created=moment, amount=900),
            charge(5, order_id="c2-1", customer_id="c2", created=moment, amount=700),
            charge(3, order_id=PLANTED["card number in groups"], created=moment, amount=-7),
        ],
        "contacts": [
            contact(1, customer_id="c1", email=PLANTED["e-mail of the CRM"], **when),
            contact(5, customer_id="c2", email=PLANTED["e-mail of the CRM"], **when),
            contact(2, created=moment, updated=moment - 9, email=failing, last_name=failing),
        ],
    }
    admin = {"Authorization": f"Bearer {stack['SANDBOX_ADMIN_TOKEN']}"}
    httpx.post(f"{stack['COUNTERSIGN_SANDBOX']}/sandbox/records", headers=admin, json=body).raise_for_status()


def refusals(calls: Meddler, stack: dict[str, str]) -> list[object]:
    """What the systems say when they refuse quotes the record, and the secret that came with the request."""
    email, card, ip = PLANTED["e-mail in a refusal"], PLANTED["card number in groups"], PLANTED["IPv6 address"]
    said = f"Bearer {{}} may not touch {email} from {ip} paid by {card}"
    payments = {"error": {"code": "no", "message": said.format(stack["SANDBOX_PAYMENTS_KEY"])}}
    crm = [{"errorCode": "ENTITY_IS_LOCKED", "message": said.format(email)}]
    notices = {"detail": said.format(stack["SANDBOX_NOTICES_SECRET"])}
    answers = (("GET", "/v1/charges", payments), ("PATCH", "/Contact/", crm), ("POST", "/webhooks/orders", notices))
    return [calls.rule(method, part, (422, {}, json.dumps(body).encode())) for method, part, body in answers]


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    run_dir, home = tmp_path_factory.mktemp("stack"), tmp_path_factory.mktemp("airflow")
    with ExitStack() as opened:
        stack = opened.enter_context(running_stack(run_dir))
        calls = opened.enter_context(meddling(stack["COUNTERSIGN_SANDBOX"]))
        world = World()
        incoming(world)
        produce(stack["COUNTERSIGN_KAFKA"], world)
        feed(stack)
        rules = refusals(calls, stack)
        airflow = Airflow(stack, home)
        meddled = {
            f"AIRFLOW_CONN_{name}": json.dumps(json.loads(stack[f"AIRFLOW_CONN_{name}"]) | {"port": calls.port})
            for name in ("SHOP", "PAYMENTS", "CRM", "NOTICES")
        }
        steps = [
            ("land_events", {}, meddled),
            ("land_sources", {}, {}),
            ("land_sources", {}, {}),
            ("settle_fraud", {}, {}),
            ("reconcile_orders", {"good_percent": 10}, {}),
            ("tell_order", {"order_id": MARK}, {}),
        ]
        out, log = airflow._call(sys.executable, "-c", RUN, str(ROOT / "dags"), json.dumps(steps))
        assert [rule.struck for rule in rules] == [1, 1, 1], log[-3000:]
        states = [json.loads(line[5:]) for line in out.splitlines() if line.startswith("FOUND")]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in airflow.env.items():
                patch.setenv(name, value)
            yield Aftermath(run_dir, home, airflow.env, log, states)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_planted_value_and_no_secret_stands_in_lake_reports_database_or_logs(aftermath: Aftermath) -> None:
    assert aftermath.states == [
        ["land_events", "success"],
        ["land_sources", "failed"],  # the provider refuses once, in so many words
        ["land_sources", "success"],
        ["settle_fraud", "success"],  # of two orders: the CRM refuses one, the webhook the other
        ["reconcile_orders", "success"],
        ["tell_order", "success"],
    ], aftermath.log[-4000:]
    needles = aftermath.needles
    found = traces.in_store(needles)
    found += traces.in_files(needles, [aftermath.home, aftermath.run_dir / "logs"])
    found += [(name, "the output of the tasks") for name in traces.named(needles, [aftermath.log.encode()])]
    assert found == []


def test_the_look_finds_what_may_be_there(aftermath: Aftermath) -> None:
    mark = {"mark": MARK}
    stored = {place.rpartition(".")[2] for _, place in traces.in_store(mark)}
    assert stored >= {"parquet", "avro", "html"}
    assert "airflow.db" in {Path(place).name for _, place in traces.in_files(mark, [aftermath.home])}
    assert traces.named(mark, [aftermath.log.encode()]) == ["mark"]
    assert "[e-mail]" in aftermath.log, "what was taken out leaves a word"
    segments = (aftermath.run_dir / "kafka").rglob("*.log")
    raw = {name for path in segments for name in traces.named(aftermath.needles, traces.of_file(path))}
    assert {"ip of an order", "card number", "e-mail in a bad record"} <= raw, "topics are raw by design"
    kept = traces.named(aftermath.needles, traces.of_file(aftermath.run_dir / "secrets.json"))
    assert "secret masking_key" in kept, "for the user's eyes alone"
