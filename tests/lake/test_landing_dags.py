"""The landing DAGs run by Airflow itself: connections, Variable, params, what the tasks return, when they give up."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from lake import tasks
from lake.landing import broker
from lake.landing.broker import ends
from lake.landing.flows import load_all
from order_fraud import topics
from order_fraud.events import encode
from tests.lake.conftest import ROOT
from tests.lake.kafka_topic import order
from tests.lake.test_landing_sources import charge, contact
from tests.lake.test_landing_sources import order as sold

RUN = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
dag_id, folder, *forms = sys.argv[1:]
dag = DagBag(f"{folder}/{dag_id}.py").dags[dag_id]
for form in forms:
    run = dag.test(run_conf=json.loads(form))
    tasks = {
        one.task_id: {
            "state": str(one.state), "try": one.try_number, "returned": one.xcom_pull(task_ids=one.task_id)
        }
        for one in run.get_task_instances()
    }
    print("FOUND" + json.dumps({"state": str(run.state), "tasks": tasks}))
"""


class Airflow:
    """Processes of Airflow with a home and a metadata database of their own.

    Attributes:
        patience_s: how long one may take; less than a test may, so that the command is named.
    """

    patience_s = 280

    def __init__(self, stack: dict[str, str], home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "COUNTERSIGN"))}
        self.env = {
            **kept,
            **stack,
            "COUNTERSIGN_CATALOG": f"sqlite:///{home / 'catalog.db'}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",  # for busy machines
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        }
        made = ROOT / "build" / "airflow" / "airflow.db"
        if made.exists():
            (home / "airflow.db").write_bytes(made.read_bytes())
        self._call(str(Path(sys.executable).with_name("airflow")), "db", "migrate")

    def _call(self, *command: str, without: tuple[str, ...] = (), **changed: str) -> tuple[str, str]:
        env = {name: value for name, value in (self.env | changed).items() if name not in without}
        done = subprocess.run(
            command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=self.patience_s, check=False
        )
        assert done.returncode == 0, f"{done.returncode}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout, done.stdout + done.stderr

    def run(
        self, dag_id: str, *forms: dict[str, Any], without: tuple[str, ...] = (), **changed: str
    ) -> tuple[list[dict[str, Any]], str]:
        """Run a DAG once per form, one after the other; return what came of each run, and the log of all."""
        texts = map(json.dumps, forms or ({},))
        out, log = self._call(sys.executable, "-c", RUN, dag_id, str(ROOT / "dags"), *texts, without=without, **changed)
        return [json.loads(line[5:]) for line in out.splitlines() if line.startswith("FOUND")], log

    def python(self, script: str, *arguments: str, without: tuple[str, ...] = ()) -> str:
        """Run a script and return what it prints."""
        return self._call(sys.executable, "-c", script, *arguments, without=without)[0]


@pytest.fixture(scope="module")
def airflow(stack: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(stack, tmp_path_factory.mktemp("airflow"))


def test_land_events_lands_every_topic_and_then_nothing_more(airflow: Airflow, stack: dict[str, str]) -> None:
    bootstrap = stack["COUNTERSIGN_KAFKA"]
    before = sum(sum(end.values()) for end in ends(bootstrap, [topics.CUSTOMER_EVENTS]).values())
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(20):
        producer.produce(topics.CUSTOMER_EVENTS.name, key=str(number), value=encode(order(number)))
    assert producer.flush(30) == 0
    (first, again), _ = airflow.run("land_events", {}, {})
    assert first["state"] == again["state"] == "success"
    telling = {task: first["tasks"].pop(task)["state"] for task in ("say_day", "say_words")}
    words = first["tasks"]["fraud_labels"]["returned"]["rows"]  # the topics are shared with other tests
    assert telling == {"say_day": "success", "say_words": "success" if words else "skipped"}, "a day is complete"
    returned = {task: found["returned"] for task, found in first["tasks"].items()}
    assert returned.keys() == {
        "mark_ends",
        "fraud_labels",
        *(topic.name.replace(".", "_").replace("-", "_") for topic in topics.ARCHIVED),
    }
    assert sum(returned["mark_ends"][topics.CUSTOMER_EVENTS.name].values()) == before + 20
    assert returned["customer_events"]["table"] == "kafka.customer_events"
    assert returned["customer_events"]["rows"] == before + 20
    assert returned["fraud_labels"]["table"] == "fraud.labels"
    assert {
        found["returned"]["rows"]
        for found in again["tasks"].values()
        if found["returned"] and "rows" in found["returned"]
    } == {0}


def test_ends_are_marked_from_the_last_effect_back_to_the_scorecards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the scorecards marked first, a version published right after that would land after its verdicts."""
    asked: list[topics.Topic] = []

    def answer(_: str, wanted: Iterable[topics.Topic]) -> dict[str, dict[int, int]]:
        asked.extend(wanted)
        return {topic.name: {0: 7} for topic in asked}

    monkeypatch.setenv("COUNTERSIGN_CATALOG", "sqlite://")
    monkeypatch.setattr(broker, "ends", answer)
    assert tasks.mark_ends().keys() == {topic.name for topic in topics.ARCHIVED}
    assert asked[:2] == [topics.DELIVERY_EVENTS, topics.FRAUD_VERDICTS]
    assert asked[-2:] == [topics.CUSTOMER_EVENTS, topics.FRAUD_POLICIES]


def test_land_sources_reads_connections_variable_and_form(airflow: Airflow, stack: dict[str, str]) -> None:
    admin = {"Authorization": f"Bearer {stack['SANDBOX_ADMIN_TOKEN']}"}
    url = f"{stack['COUNTERSIGN_SANDBOX']}/sandbox/records"
    httpx.delete(url, headers=admin).raise_for_status()
    numbers = range(30)
    body = {"orders": [*map(sold, numbers)], "charges": [*map(charge, numbers)], "contacts": [*map(contact, numbers)]}
    httpx.post(url, headers=admin, json=body).raise_for_status()
    (landed, again), log = airflow.run("land_sources", {"everything": False}, {"everything": True})
    assert landed["state"] == again["state"] == "success"
    rows = {task: found["returned"]["rows"] for task, found in landed["tasks"].items()}
    filled = {"crm_contacts", "payments_charges", "shop_orders"}
    assert {task: number for task, number in rows.items() if task in filled} == dict.fromkeys(filled, 30)
    assert {number for task, number in rows.items() if task not in filled} == {0}
    assert {found["returned"]["rows"] for found in again["tasks"].values()} == {0}
    assert "shop.orders: fetching everything" in log
    assert {found["returned"]["table"] for found in landed["tasks"].values()} == set(load_all(ROOT / "dags" / "flows"))


def test_what_trying_again_cannot_mend_fails_at_the_first_try(airflow: Airflow, stack: dict[str, str]) -> None:
    """A wrong password at the shop and at the CRM, no connection to the provider."""
    shop, crm = (
        json.dumps(json.loads(stack[f"AIRFLOW_CONN_{name}"]) | {"password": "wrong"}) for name in ("SHOP", "CRM")
    )
    (run,), log = airflow.run(
        "land_sources", without=("AIRFLOW_CONN_PAYMENTS",), AIRFLOW_CONN_SHOP=shop, AIRFLOW_CONN_CRM=crm
    )
    outcomes = {task: (found["state"], found["try"]) for task, found in run["tasks"].items()}
    ours = [task for task in outcomes if task.startswith(("crm_", "payments_", "shop_"))]
    assert {"crm_contacts", "payments_charges", "payments_refunds", "shop_orders", "shop_refunds"} <= set(ours)
    assert {outcomes[task] for task in ours} == {("failed", 1)}
    assert "the secret is not accepted. Put a valid one into the password of the connection shop" in log
    assert "invalid_client: invalid client credentials, the secret is not accepted" in log
    assert "there is no Airflow connection payments" in log


def test_missing_masking_key_is_named_with_the_remedy(airflow: Airflow) -> None:
    script = (
        "from lake.connections import masker\nfrom lake.settings import BadSetting\n"
        "try: masker()\nexcept BadSetting as error: print(error)\n"
    )
    said = airflow.python(script, without=("AIRFLOW_VAR_MASKING_KEY",))
    assert "there is no Airflow Variable masking_key: set it to a random secret" in said
