"""The compose stack from start to end: ``python -m tests.compose``, or ``make compose-test``. Needs Docker; minutes.

Steps, each of which can be left out with ``--steps``:

- ``up``      starts it with two workers; every container is confined as the file says
- ``demo``    orders through streams, lake and Airflow while a worker and the broker are killed: demo.json is all well
- ``health``  without a broker a worker's health check says so; with it again, it is well again
- ``dags``    the scheduler is killed and comes back; a reconciliation triggered through Airflow's API finds nothing new
- ``board``   every expression of the dashboard is answered by Prometheus, and those on work done have values
- ``down``    nothing is left
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.compose.docker import DOCKER, ROOT, Compose, NotAsPromised, crash, health, page, wait_until

PROJECT = "countersign-test"
PORTS = ("KAFKA", "S3", "SANDBOX", "AIRFLOW", "PROMETHEUS", "GRAFANA")
WORKERS = 2
METRICS = "http://127.0.0.1:9100/metrics"
EMPTY_WHEN_ALL_IS_WELL = ("Failed tasks", "DAG files", "Dead letters", "Verdicts overdue")


def main(arguments: list[str] | None = None) -> int:
    """Run the steps; return 0 if the stack does as promised."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.compose", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps: dict[str, Callable[[Compose, argparse.Namespace], None]] = {
        "up": up, "demo": demo, "health": ill_without_broker, "dags": dags, "board": board, "down": down
    }  # fmt: skip
    parser.add_argument("--steps", default=",".join(steps), help="comma-separated (default: all of them)")
    parser.add_argument("--orders", type=int, default=10000, help="invented orders (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of orders and faults (default %(default)s)")
    options = parser.parse_args(arguments)
    chosen = options.steps.split(",")
    if unknown := set(chosen) - steps.keys():
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    compose = Compose(PROJECT, environment())
    try:
        for name in chosen:
            began = time.monotonic()
            print(f"--- {name}", flush=True)
            steps[name](compose, options)
            print(f"--- {name}: passed in {time.monotonic() - began:.0f} s", flush=True)
    except (NotAsPromised, subprocess.SubprocessError) as error:
        print(f"FAILED: {error}", flush=True)
        print(compose.run("ps", "--all"), flush=True)
        if "down" in chosen:
            compose.run("logs", "--tail", "20")
            down(compose, options)
        return 1
    print(f"{len(chosen)} passed, 0 failed")
    return 0


def environment() -> Path:
    """Make the secrets of the test and free ports, the first time; return the file."""
    path = ROOT / "build" / "compose-test.env"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        subprocess.run([ROOT / "docker" / "env-file.sh", path], check=True)
        probes = [socket.socket() for _ in PORTS]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        with path.open("a") as file:
            file.writelines(f"COUNTERSIGN_PORT_{n}={p.getsockname()[1]}\n" for n, p in zip(PORTS, probes, strict=True))
            file.write(f"COUNTERSIGN_WORKERS={WORKERS}\n")
        for probe in probes:
            probe.close()
    return path


def setting(compose: Compose, name: str) -> str:
    """Return a value of the environment file."""
    lines = (line.partition("=") for line in compose.env_file.read_text().splitlines())
    return next(value for found, _, value in lines if found == name)


# --- steps ------------------------------------------------------------------------------------------------------------


def up(compose: Compose, _: argparse.Namespace) -> None:
    """Start everything; then look at what Docker made of the promises."""
    compose.run("config", "--quiet")
    compose.run("up", "--detach", "--wait", "--wait-timeout", "420")
    services = [container["Config"]["Labels"]["com.docker.compose.service"] for container in compose.containers()]
    check(services.count("worker") == WORKERS, f"{services.count('worker')} workers instead of {WORKERS}")
    for container in compose.containers():
        confined(container)


def confined(container: dict[str, Any]) -> None:
    """Check one container against what the compose file promises."""
    name, host = container["Name"], container["HostConfig"]
    service = container["Config"]["Labels"]["com.docker.compose.service"]
    check(container["Config"]["User"].split(":")[0] not in ("", "0", "root"), f"{name} runs as root")
    check(host["ReadonlyRootfs"] or service == "kafka", f"{name} can write to its root")
    check(host["Memory"] > 0 and host["NanoCpus"] > 0 and (host["PidsLimit"] or 0) > 0, f"{name} has no limits")
    check(host["CapDrop"] == ["ALL"] and not host["Privileged"], f"{name} keeps capabilities")
    for bindings in (host["PortBindings"] or {}).values():
        check(all(b["HostIp"] == "127.0.0.1" for b in bindings), f"{name} is published beyond loopback")


def demo(compose: Compose, options: argparse.Namespace) -> None:
    """Run the demo, and kill a worker and the broker while it streams."""
    words = ("--generate", str(options.orders), "--seed", str(options.seed), "--faults", "1")
    workers = [container["Id"] for container in compose.containers("worker")]
    killed = [workers[0], compose.containers("kafka")[0]["Id"]]
    running = compose.start("run", "--rm", "demo", *words)
    verdicts = 0.0

    def begun() -> bool:
        nonlocal verdicts
        verdicts = decided(workers)
        return running.poll() is not None or verdicts > 0

    wait_until("the first verdicts", 180, begun)
    crash(*killed)
    print(f"killed a worker and the broker after {verdicts:.0f} verdicts", flush=True)
    check(verdicts < options.orders / 2, "the stream was nearly over by then: take more --orders")
    for container in killed:
        took = wait_until(f"{container[:12]} is well again", 120, lambda c=container: health(c)[0] == "healthy")
        check(health(container)[1] >= 1, f"{container[:12]} was not started again")
        print(f"killed and well again after {took:.0f} s more", flush=True)
    code = running.wait(timeout=900)
    result = json.loads(compose.run("run", "--rm", "--no-deps", "--entrypoint", "cat", "tools", ".stack/demo.json"))
    print(json.dumps(result), flush=True)
    check(code == 0, f"the demo ended with code {code}")
    well(result, options.orders)


def well(result: dict[str, Any], orders: int) -> None:
    """Check the counts of ``demo.json``, as the demo's own test does."""
    zero = (
        "orders_without_verdict",
        "orders_with_several_verdicts",
        "not_reproducible",
        "corrections_second_run",
        "new_findings_second_run",
        "rejected_rows",
    )
    for name in zero:
        check(result[name] == 0, f"{name} is {result[name]}")
    judged = sum(result["verdicts"].values())
    check(0 < judged == result["orders"] <= orders, f"{judged} verdicts for {result['orders']} orders sent")
    check(set(result["dag_runs"].values()) == {"success"}, f"DAG runs: {result['dag_runs']}")
    check(len(result["dag_runs"]) == 3, f"DAG runs: {result['dag_runs']}")
    check(result["findings"] and result["corrections_first_run"] > 0, "planted faults were not found")


def ill_without_broker(compose: Compose, _: argparse.Namespace) -> None:
    """The worker's check is about progress: it fails without a broker and passes with it again."""
    worker = compose.containers("worker")[0]["Id"]
    compose.run("stop", "kafka")
    took = wait_until("the worker is ill without its broker", 150, lambda: health(worker)[0] != "healthy")
    print(f"ill after {took:.0f} s: {health(worker)[2][:300]}", flush=True)
    compose.run("start", "kafka")
    took = wait_until("the worker is well again", 180, lambda: health(worker)[0] == "healthy")
    print(f"well again {took:.0f} s after the broker was started", flush=True)


def dags(compose: Compose, _: argparse.Namespace) -> None:
    """Kill the scheduler; it comes back and runs what is triggered through the API."""
    scheduler = compose.containers("airflow-scheduler")[0]["Id"]
    crash(scheduler)
    wait_until("the scheduler was started again", 60, lambda: health(scheduler)[1] >= 1)
    took = wait_until("the scheduler is well again", 240, lambda: health(scheduler)[0] == "healthy")
    print(f"scheduler well again after {took:.0f} s", flush=True)
    base = f"http://127.0.0.1:{setting(compose, 'COUNTERSIGN_PORT_AIRFLOW')}"
    token = ask(f"{base}/auth/token", body={"username": "admin", "password": setting(compose, "AIRFLOW_PASSWORD")})[
        "access_token"
    ]
    runs = f"{base}/api/v2/dags/reconcile_orders/dagRuns"
    run_id = ask(runs, token, {"logical_date": None, "conf": {}})["dag_run_id"]
    run = f"{runs}/{urllib.parse.quote(run_id)}"
    wait_until("the reconciliation ends", 400, lambda: ask(run, token)["state"] in ("success", "failed"))
    check(ask(run, token)["state"] == "success", "the reconciliation failed")
    returned = ask(f"{run}/taskInstances/publish_report/xcomEntries/return_value?stringify=false", token)["value"]
    check(returned["not_reproducible"] == 0, f"not reproducible: {returned['not_reproducible']}")
    print(f"{returned['orders']} orders reconciled, {returned['corrections']} corrections", flush=True)


def board(compose: Compose, _: argparse.Namespace) -> None:
    """Prometheus sees every worker and answers what the dashboard asks."""
    targets = ask(f"{prometheus(compose)}/api/v1/targets")["data"]["activeTargets"]
    up_by_job = sorted((target["labels"]["job"], target["health"]) for target in targets)
    check(up_by_job == [("airflow", "up")] + [("countersign", "up")] * WORKERS, f"targets: {up_by_job}")
    rules = [rule for group in ask(f"{prometheus(compose)}/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
    check(rules and all(rule["health"] != "err" for rule in rules), "alert rules are in error")
    empty = []
    for path in sorted((ROOT / "docker" / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                values = query(compose, target["expr"])
                if not values and not panel["title"].startswith(EMPTY_WHEN_ALL_IS_WELL):
                    empty.append(f"{panel['title']}: {target['expr']}")
    check(not empty, "no values for\n" + "\n".join(empty))
    answer = urllib.request.urlopen(f"http://127.0.0.1:{setting(compose, 'COUNTERSIGN_PORT_GRAFANA')}/api/health")
    print(f"Grafana: {answer.read().decode().strip()}", flush=True)


def down(compose: Compose, _: argparse.Namespace) -> None:
    """Take everything down and make sure that nothing stays."""
    compose.run("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "20")
    compose.env_file.unlink()
    label = f"label=com.docker.compose.project={compose.project}"
    for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        left = subprocess.run([DOCKER, *kind, "--quiet", "--filter", label], stdout=subprocess.PIPE, check=True)
        check(not left.stdout, f"docker {kind[0]}: something is left")


# --- helpers ----------------------------------------------------------------------------------------------------------


def check(holds: object, otherwise: str) -> None:
    """Raise :class:`NotAsPromised` unless it holds."""
    if not holds:
        raise NotAsPromised(otherwise)


def ask(url: str, token: str = "", body: dict[str, Any] | None = None) -> Any:
    """GET, or POST of ``body``, on loopback; return the JSON that comes back."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=180) as answer:  # noqa: S310
        return json.load(answer)


def prometheus(compose: Compose) -> str:
    """Return its address."""
    return f"http://127.0.0.1:{setting(compose, 'COUNTERSIGN_PORT_PROMETHEUS')}"


def query(compose: Compose, expression: str) -> list[Any]:
    """Ask Prometheus."""
    asked = urllib.parse.urlencode({"query": expression})
    return list(ask(f"{prometheus(compose)}/api/v1/query?{asked}")["data"]["result"])


def decided(workers: list[str]) -> float:
    """Return how many verdicts the workers have written since they started, as they say themselves."""
    pages = [page(worker, METRICS) for worker in workers]
    lines = [line.rpartition(" ") for text in pages for line in text.splitlines()]
    return sum(float(value) for name, _, value in lines if name.startswith("countersign_orders_decided_total"))


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
