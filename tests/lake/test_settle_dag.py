"""settle_fraud run by Airflow itself against real broker, store and sandbox; each task in a process that can be killed.

Airflow's own supervisor forks the task processes, notices that one was killed, and tries the task again.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from lake import labels
from lake.catalog import open_catalog
from lake.landing import kafka
from lake.masking import Masker
from lake.settings import from_environment
from lake.settle.ledger import Ledger
from order_fraud.events import ChargebackOpened, Feedback, FraudCleared, FraudConfirmed, decode, encode
from order_fraud.settlement import STEPS, Entry, plan
from order_fraud.topics import CUSTOMER_EVENTS, RECONCILIATION_FINDINGS
from tests.lake.conftest import ROOT, running_stack
from tests.lake.meddler import Meddler, Rule, meddling
from tests.lake.test_landing_dags import Airflow
from tests.lake.test_scorecard_dags import PERSON

START = datetime(2015, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

RUN = """
import json, sys
from datetime import timedelta
from airflow.dag_processing.dagbag import DagBag
dag_id, folder, form = sys.argv[1:]
dag = DagBag(f"{folder}/{dag_id}.py").dags[dag_id]
for task in dag.tasks:  # nobody wants to wait for a retry in a test
    task.retry_delay, task.max_retry_delay = timedelta(seconds=0.1), timedelta(seconds=0.2)
run = dag.test(run_conf=json.loads(form))
tasks = {
    one.task_id: {
        "state": str(one.state), "try": one.try_number,
        "returned": one.xcom_pull(task_ids=one.task_id, map_indexes=one.map_index),
    }
    for one in run.get_task_instances()
}
print("FOUND" + json.dumps({"state": str(run.state), "tasks": tasks}))
"""

FORKED = """
from types import SimpleNamespace
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.executors.workloads.base import BundleInfo
from airflow.sdk.execution_time import supervisor

def in_a_process_of_its_own(ti, task, client=None):
    process = supervisor.ActivitySubprocess.start(
        what=ti, dag_rel_path=f"{task.dag.dag_id}.py", bundle_info=BundleInfo(name="dags-folder"),
        client=supervisor.InProcessTestSupervisor._api_client(task.dag), subprocess_logs_to_stdout=True,
    )
    code = process.wait()
    print(f"ENDED {ti.task_id} {code}", flush=True)
    return SimpleNamespace(msg=None, ti=SimpleNamespace(state=process.final_state, task=task))

supervisor.run_task_in_process = in_a_process_of_its_own
"""


class World:
    """All systems, and how the tasks get at them: through proxies that meddle."""

    def __init__(self, stack: dict[str, str], airflow: Airflow, calls: Meddler, store: Meddler) -> None:
        self.stack, self.airflow, self.calls, self.store = stack, airflow, calls, store
        self.admin = {"Authorization": f"Bearer {stack['SANDBOX_ADMIN_TOKEN']}"}
        self.url = stack["COUNTERSIGN_SANDBOX"]
        self.kafka = stack["COUNTERSIGN_KAFKA"]
        self.catalog = open_catalog(
            replace(from_environment(stack), catalog=airflow.env["COUNTERSIGN_CATALOG"]),
        )
        self.environment = {
            f"AIRFLOW_CONN_{name}": json.dumps(json.loads(stack[f"AIRFLOW_CONN_{name}"]) | {"port": calls.port})
            for name in ("SHOP", "PAYMENTS", "CRM", "NOTICES")
        } | {"COUNTERSIGN_S3_ENDPOINT": store.url}

    # --- before a run

    def sold(self, number: int, customer: str, **charge: Any) -> dict[str, Any]:
        """An order, its charge and its customer."""
        order_id, moment = f"{number}-1", int(START.timestamp()) + number
        common = {"order_id": order_id, "customer_id": customer, "created": moment, "amount": 1000 + number}
        shop = {"updated": moment, "currency": "USD", "email": f"c{customer}@example.test", "ip": None}
        return {
            "orders": [common | shop],
            "charges": [common | {"charge_id": f"ch_{number}", "currency": "USD"} | charge],
            "contacts": [
                {
                    "customer_id": customer,
                    "created": moment,
                    "updated": moment,
                    "first_name": None,
                    "last_name": "Doe",
                    "email": f"c{customer}@example.test",
                }
            ],
        }

    def feed(self, *loads: dict[str, Any]) -> None:
        for load in loads:
            httpx.post(f"{self.url}/sandbox/records", headers=self.admin, json=load).raise_for_status()

    def say(self, kind: type[Any], number: int, customer: str, at: datetime) -> None:
        """Word about an order comes in, and lands."""
        word = {FraudConfirmed: "fraud-confirmed", FraudCleared: "fraud-cleared", ChargebackOpened: "chargeback"}[kind]
        order_id = f"{number}-1"
        data = Feedback(order_id=order_id, customer_id=customer, by="ann")
        event = kind(id=f"{word}/{order_id}", source="/review", subject=order_id, time=at, data=data)
        producer = Producer({"bootstrap.servers": self.kafka})
        producer.produce(CUSTOMER_EVENTS.name, key=customer, value=encode(event))
        assert producer.flush(30) == 0

    def land(self) -> None:
        kafka.land_topic(self.catalog, CUSTOMER_EVENTS, self.kafka, Masker("a masking key for tests"), "landing")
        labels.record(self.catalog, "landing")

    # --- a run

    def settle(
        self, *, forked: bool = False, answer: str = "", changed: dict[str, str] | None = None, **form: Any
    ) -> tuple[dict[str, Any], str]:
        """Run the DAG; return what came of it, and its log.

        Args:
            forked: each task in a process of its own, which may be killed.
            answer: of the person who is asked first.
            changed: environment of the tasks.
            form: fields of the form.
        """
        before = (FORKED if forked else "") + (PERSON if answer else "")
        arguments = ["settle_fraud", str(ROOT / "dags"), json.dumps(form), *([answer] if answer else [])]
        environment = self.environment | (changed or {})
        out, log = self.airflow._call(sys.executable, "-c", before + RUN, *arguments, **environment)
        (run,) = (json.loads(line[5:]) for line in out.splitlines() if line.startswith("FOUND"))
        return run, log

    # --- after it

    def ledger(self, number: int) -> list[Entry]:
        return Ledger(self.catalog, "test").read([f"{number}-1"])[f"{number}-1"]

    def words(self, number: int) -> list[tuple[str, str | None, str | None]]:
        return [(entry.word, entry.step, entry.key) for entry in self.ledger(number)]

    def state(self, number: int) -> str:
        return plan(f"{number}-1", self.ledger(number)).state

    def refunds(self, number: int) -> list[dict[str, Any]]:
        key = {"Authorization": f"Bearer {self.stack['SANDBOX_PAYMENTS_KEY']}"}
        return httpx.get(f"{self.url}/v1/refunds", params={"charge": f"ch_{number}"}, headers=key).json()["data"]

    def in_shop(self, number: int) -> dict[str, Any] | None:
        query = (
            f'{{ orders(first: 1, query: "source_identifier:{number}-1") {{ nodes {{ cancelReason cancelledAt }} }} }}'
        )
        answer = httpx.post(
            f"{self.url}/admin/api/2026-07/graphql.json",
            headers={"X-Shopify-Access-Token": self.stack["SANDBOX_SHOP_TOKEN"]},
            json={"query": query},
        ).json()
        return next(iter(answer["data"]["orders"]["nodes"]), None)

    def flag(self, customer: str) -> str | None:
        form = {
            "grant_type": "client_credentials",
            "client_id": "countersign",
            "client_secret": self.stack["SANDBOX_CRM_SECRET"],
        }
        token = httpx.post(f"{self.url}/services/oauth2/token", data=form).json()["access_token"]
        path = f"/services/data/v66.0/sobjects/Contact/Customer_Id__c/{customer}"
        return httpx.get(self.url + path, headers={"Authorization": f"Bearer {token}"}).json()["Fraud_Status__c"]

    def notices(self) -> Counter[str]:
        taken = httpx.get(f"{self.url}/sandbox/notices", headers=self.admin).json()
        return Counter(notice["subject"] for notice in taken)

    def stops(self) -> Counter[tuple[str, str]]:
        """What the delivery service is asked, by type and order."""
        consumer = Consumer(
            {"bootstrap.servers": self.kafka, "group.id": "test", "enable.partition.eof": True,
             "isolation.level": "read_committed"}
        )  # fmt: skip
        name, found, reading = (
            RECONCILIATION_FINDINGS.name,
            Counter[tuple[str, str]](),
            RECONCILIATION_FINDINGS.partitions,
        )
        consumer.assign([TopicPartition(name, partition, 0) for partition in range(reading)])
        while reading:
            message = consumer.poll(30)
            assert message is not None, f"no answer from {name}"
            if message.error() is None:
                event = decode(message.value())
                found[type(event).__name__, event.subject] += 1
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                reading -= 1
        consumer.close()
        return found

    def kill_at_next_commit_after(self, *sent: tuple[str, str]) -> Rule:
        """Kill the task that writes to the ledger next after these events have appeared on the topic."""

        def matches(method: str, path: str, body: bytes) -> bool:
            writes = method == "PUT" and "/settlement/steps/data/" in path
            return writes and set(sent) <= self.stops().keys()

        self.store.rules.append(Rule(matches, "kill-before"))
        return self.store.rules[-1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        environment = stack.enter_context(running_stack(tmp_path_factory.mktemp("stack")))
        calls = stack.enter_context(meddling(environment["COUNTERSIGN_SANDBOX"]))
        store = stack.enter_context(meddling(environment["COUNTERSIGN_S3_ENDPOINT"]))
        yield World(environment, Airflow(environment, tmp_path_factory.mktemp("airflow")), calls, store)


def whole(number: int) -> list[tuple[str, str | None, str | None]]:
    """The ledger of an order that was settled, without any trace of a kill."""
    return sorted((word, step, f"settle/{number}-1/{step}") for step in STEPS for word in ("begun", "done"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_after_the_call_at_every_step_the_end_is_the_same_and_no_money_goes_back_twice(world: World) -> None:
    world.feed(
        world.sold(1, "a"),
        world.sold(2, "a", captured=True),
        world.sold(3, "b", captured=True, disputed=True),
        world.sold(4, "c", captured=True),
    )
    for number, customer in ((1, "a"), (2, "a"), (4, "c")):
        world.say(FraudConfirmed, number, customer, START + 20 * 24 * HOUR)
    world.say(ChargebackOpened, 3, "b", START + 21 * 24 * HOUR)
    world.land()
    kills = [
        world.kill_at_next_commit_after(*(("DeliveryStopRequested", f"{number}-1") for number in (1, 2, 3, 4))),
        world.calls.rule("PATCH", "/sobjects/Contact/", "kill-after"),
        world.calls.rule("GET", "/v1/charges/search", "kill-before"),
        world.calls.rule("POST", "/cancel", "kill-after"),
        world.calls.rule("POST", "charge=ch_2", "kill-after"),
        world.calls.rule("POST", "orderCancel(", "kill-after"),
        world.calls.rule("POST", "/webhooks/orders", "kill-after"),
    ]
    run, log = world.settle(forked=True, batch=10)
    assert run["state"] == "success", log[-6000:]
    assert [kill.struck for kill in kills] == [1] * len(kills)
    assert log.count(" -9\n") == len(kills)
    tries = {task: found["try"] for task, found in run["tasks"].items()}
    assert {task: tries[task] for task in tries if tries[task] > 1} == {
        "stop_deliveries": 2,
        "settle.flag_customers": 2,
        "settle.return_money": 4,
        "settle.cancel_orders": 2,
        "settle.tell_customers": 2,
    }
    for number in (1, 2, 3, 4):
        assert sorted(world.words(number)) == whole(number)
        assert world.in_shop(number)["cancelReason"] == "FRAUD"
    assert [len(world.refunds(number)) for number in (1, 2, 3, 4)] == [1, 1, 0, 1]
    assert [world.refunds(number)[0]["amount"] for number in (1, 2, 4)] == [1001, 1002, 1004]
    assert [world.flag(customer) for customer in "abc"] == ["confirmed"] * 3
    assert world.notices() == {f"{number}-1": 1 for number in (1, 2, 3, 4)}
    assert world.stops() == {("DeliveryStopRequested", f"{number}-1"): 1 for number in (1, 2, 3, 4)}
    said = run["tasks"]["sum_up"]["returned"]
    assert said == {"orders": 4, "states": {"settled": 4}, "for_people": {}, "too_late": [], "left": 0}


@pytest.mark.timeout(600)
def test_refusals_before_the_money_undo_what_was_done_and_later_ones_wait_for_a_person(world: World) -> None:
    """Kinds of trouble in one run, a person mends two of them and names the orders in the form."""
    locked = world.sold(11, "d", captured=True)
    locked["contacts"][0]["locked"] = True
    unsold = world.sold(12, "e", captured=True) | {"orders": []}
    world.feed(locked, unsold, world.sold(13, "f", captured=True), world.sold(14, "g", captured=True))
    for number, customer in ((11, "d"), (12, "e"), (13, "f"), (14, "g")):
        world.say(FraudConfirmed, number, customer, START + 30 * 24 * HOUR)
    world.land()
    world.calls.rule("POST", "charge=ch_13", (500, {"Idempotent-Replayed": "true"}))
    throttled = world.calls.rule("POST", "charge=ch_14", (429, {"Retry-After": "0"}), times=2)
    down = world.calls.rule("POST", "/webhooks/orders", (503, {}), times=2)
    run, log = world.settle(batch=2)
    assert run["state"] == "success", log[-6000:]
    assert (throttled.struck, down.struck) == (2, 2)
    assert {number: world.state(number) for number in (11, 12, 13, 14)} == {
        11: "undone",
        12: "needs-a-person",
        13: "settled",
        14: "settled",
    }
    said = run["tasks"]["sum_up"]["returned"]
    assert said["states"] == {"undone": 1, "needs-a-person": 1, "settled": 2}
    assert (
        said["for_people"]["11-1"]["why"]
        == "flag-customer: the CRM refuses: HTTP 400 ENTITY_IS_LOCKED: the entity is locked for editing"
    )
    assert said["for_people"]["12-1"]["why"] == "cancel-order: the shop has no order 12-1"
    assert world.stops()["DeliveryStopWithdrawn", "11-1"] == 1
    assert (world.refunds(11), world.in_shop(11)["cancelledAt"], world.flag("d")) == ([], None, None)
    assert (len(world.refunds(12)), world.flag("e"), world.notices()["12-1"]) == (1, "confirmed", 1)
    keys = [key for word, step, key in world.words(13) if step == "return-money"]
    assert keys == ["settle/13-1/return-money"] * 2 + ["settle/13-1/return-money/2"] * 2
    assert len(world.refunds(13)) == len(world.refunds(14)) == 1

    locked["contacts"][0]["locked"] = False
    world.feed(locked, world.sold(12, "e", captured=True))
    again, log = world.settle(orders="12-1, 11-1")
    assert again["state"] == "success", log[-6000:]
    assert world.state(11) == world.state(12) == "settled"
    assert len(world.refunds(11)) == len(world.refunds(12)) == 1
    assert world.stops()["DeliveryStopRequested", "11-1"] == 2
    assert (world.notices()["11-1"], world.notices()["12-1"]) == (1, 1)


@pytest.mark.timeout(600)
def test_a_person_may_say_no_a_bad_secret_is_nobodys_fraud_and_a_cleared_order_is_undone(world: World) -> None:
    world.feed(world.sold(21, "h", captured=True))
    world.say(FraudConfirmed, 21, "h", START + 40 * 24 * HOUR)
    world.land()
    rejected, log = world.settle(answer="Reject", ask_first=True)
    asked = json.loads(next(line[5:] for line in log.splitlines() if line.startswith("ASKED")))
    assert asked["subject"] == "Settle 1 order as fraud?"
    assert "| 21-1 | h | 2015-04-10 00:00 | a person confirmed the fraud (ann) |" in asked["body"]
    assert rejected["tasks"]["begin"]["state"] == "skipped"
    assert (world.state(21), world.refunds(21)) == ("new", [])

    payments = json.loads(world.environment["AIRFLOW_CONN_PAYMENTS"]) | {"password": "sk_test_wrong_one"}
    failed, log = world.settle(changed={"AIRFLOW_CONN_PAYMENTS": json.dumps(payments)})
    assert failed["state"] == "failed"
    assert (failed["tasks"]["settle.return_money"]["state"], failed["tasks"]["settle.return_money"]["try"]) == (
        "failed",
        1,
    )
    assert "the secret is not accepted or may not do this. Put a valid one into the connection payments" in log
    assert "1 of 1 orders are not settled yet, first 21-1" in log
    assert (world.state(21), world.flag("h")) == ("under-way", "confirmed")

    # The money may be on its way by now, as far as anybody knows: it is too late to clear the order.
    world.say(FraudCleared, 21, "h", START + 41 * 24 * HOUR)
    world.land()
    late, log = world.settle()
    assert late["tasks"]["sum_up"]["returned"]["too_late"] == ["21-1"]
    assert (world.state(21), len(world.refunds(21))) == ("settled", 1)
