"""The compose file keeps what it promises, and its parts agree with each other and with the project's settings."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kafka_access import settings as kafka_access
from stack.site import ROOT, Site
from streams.metrics import Metrics
from streams.settings import entries

COMPOSE = ROOT / "docker-compose.yml"
FILE: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
ONCE = {name for name, service in SERVICES.items() if service["restart"] == "no"}
LASTING = sorted(SERVICES.keys() - ONCE)
# What writes beside its programs at each start.
WRITABLE_ROOT = {"kafka"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILES = sorted(path for path in ROOT.glob("docker/*/Dockerfile"))


def lines_of(path: Path) -> Iterator[str]:
    yield from path.read_text().splitlines()


def interpolated(value: str) -> set[str]:
    return set(re.findall(r"\$\{(\w+)", value))


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / "env"
    subprocess.run([ROOT / "docker" / "env-file.sh", path], check=True)
    return path


# --- policy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LASTING)
def test_a_lasting_service_has_a_health_check_with_patience(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries", "start_period"} <= check.keys()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}
    assert not re.match(r"0|root", service["user"]), "runs as root"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "pid", "cap_add"} & service.keys()
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert service.get("read_only", False) is (name not in WRITABLE_ROOT)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_loopback_and_can_be_moved(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{COUNTERSIGN_PORT_[A-Z0-9]+:-\d+\}:\d+", port), port


def test_images_have_a_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += [line.split()[1] for path in DOCKERFILES for line in lines_of(path) if line.startswith("FROM ")]
    own_stages = {"base"}
    for image in set(images) - own_stages:
        assert re.search(r":v?\d+\.\d+", image), f"{image} is not pinned"


def test_no_secret_has_a_default() -> None:
    secrets = {line.rstrip("=") for line in lines_of(ROOT / ".env.example") if re.fullmatch(r"[A-Z0-9_]+=", line)}
    text = COMPOSE.read_text()
    examples = {
        line[2:].partition("=")[0] for line in lines_of(ROOT / ".env.example") if line.startswith("# COUNTERSIGN_")
    }
    assert interpolated(text) - secrets == examples, "docker-compose.yml reads just what .env.example has"
    assert all(name.startswith(("COUNTERSIGN_PORT_", "COUNTERSIGN_WORKERS")) for name in examples)
    for name in secrets:
        uses = re.findall(r"\$\{" + name + r"([^}]*)\}", text)
        assert uses, f"{name} is read by nothing"
        assert any(use.startswith(":?") for use in uses), f"{name} may be left out"
        assert not any(use.startswith((":-", "-")) for use in uses), f"{name} has a default"


def test_a_service_waits_for_what_it_needs_to_be_well() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert how == {"condition": wanted}, f"{name} → {other}"


def test_named_volumes_are_the_only_ones_that_can_be_written() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source, _, mode = volume.partition(":")
            assert source in FILE["volumes"] or (source.startswith("./") and mode.endswith(":ro")), f"{name}: {volume}"
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source} is not there"


# --- the parts agree --------------------------------------------------------------------------------------------------


def test_a_worker_is_given_settings_that_there_are() -> None:
    known = {entry.variable for entry in (*entries(), *kafka_access.entries())}
    assert SERVICES["worker"]["environment"].keys() <= known


def test_airflow_writes_its_files_where_it_can() -> None:
    for name, service in SERVICES.items():
        if not name.startswith("airflow-"):
            continue
        places = [mount.split(":")[0] for mount in service["tmpfs"]]
        for variable in ("AIRFLOW_CONFIG", "MPLCONFIGDIR", "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"):
            assert any(service["environment"][variable].startswith(f"{place}/") for place in places), (name, variable)


def test_commands_get_every_setting_of_the_local_stack(tmp_path: Path) -> None:
    from stack import Ports
    from stack.keys import Keys

    local = Site(tmp_path, Ports(), Keys()).env.keys()
    given = SERVICES["tools"]["environment"].keys() | SERVICES["airflow-scheduler"]["environment"].keys()
    # The image sets the path; workers have no one address.
    assert local - given == {"PYTHONPATH", "COUNTERSIGN_WORKER"}


def test_the_images_are_built_from_what_there_is() -> None:
    for path in DOCKERFILES:
        for line in lines_of(path):
            if match := re.match(r"COPY (?:--\S+ )*(.+) \S+$", line):
                for source in match[1].split():
                    assert (ROOT / source).exists(), f"{path.name}: {source}"


def test_the_worker_image_has_every_package_that_is_installed_there() -> None:
    copied = {
        match[1] for line in lines_of(ROOT / "docker/streams/Dockerfile") if (match := re.match(r"COPY (\S+) ", line))
    }
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied


def test_env_file_makes_each_secret_once_and_for_the_user_alone(env_file: Path) -> None:
    first = env_file.read_text()
    values = dict(line.split("=", 1) for line in first.splitlines())
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert len(set(values.values())) == len(values)
    assert all(len(value) >= 20 for value in values.values())
    assert len(values["AIRFLOW_FERNET_KEY"]) == 44
    env_file.write_text(first.replace(f"GRAFANA_PASSWORD={values['GRAFANA_PASSWORD']}", "GRAFANA_PASSWORD="))
    subprocess.run([ROOT / "docker" / "env-file.sh", env_file], check=True)
    again = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    assert {name for name in values if values[name] != again[name]} == {"GRAFANA_PASSWORD"}
    assert again["GRAFANA_PASSWORD"]


def test_dashboards_ask_workers_for_metrics_that_there_are() -> None:
    ours = {family.name for family in Metrics().registry.collect()}
    source = yaml.safe_load((ROOT / "docker/grafana/provisioning/datasources/prometheus.yml").read_text())
    for path in (ROOT / "docker/grafana/dashboards").glob("*.json"):
        board = json.loads(path.read_text())
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        for panel in panels:
            assert panel["datasource"]["uid"] == source["datasources"][0]["uid"], panel["title"]
            assert panel["targets"], panel["title"]
            for target in panel["targets"]:
                for metric in re.findall(r"\bcountersign_\w+", target["expr"]):
                    name = re.sub(r"_(total|bucket|sum|count)$", "", metric)
                    assert ours & {name, metric}, f"{panel['title']}: {metric}"


# --- the container health check ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "arguments", "code"),
    [
        (200, "{}", [], 0),
        (503, '{"status": "stalled", "reasons": ["relay.by-ip/2"]}', [], 1),
        (200, '{"scheduler": {"status": "healthy"}}', ["scheduler"], 0),
        (200, '{"scheduler": {"status": "unhealthy"}}', ["scheduler"], 1),
        (200, '{"scheduler": {"status": "healthy"}}', ["triggerer"], 1),
        (200, "not json", ["scheduler"], 1),
    ],
)
def test_the_health_check_tells_well_from_ill(status: int, body: str, arguments: list[str], code: int) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/health"
        command = [sys.executable, str(ROOT / "docker" / "healthy.py"), url, *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        server.shutdown()
        server.server_close()
    assert ended.returncode == code, ended.stdout + ended.stderr
    if status == 503:
        assert "relay.by-ip/2" in ended.stdout, "the container's health log says why"


def test_the_health_check_is_ill_without_an_answer() -> None:
    command = [sys.executable, str(ROOT / "docker" / "healthy.py"), "http://127.0.0.1:1/health"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


# --- Docker's own word ------------------------------------------------------------------------------------------------


def test_docker_compose_reads_the_file(env_file: Path) -> None:
    found = shutil.which("docker")
    if not found or subprocess.run([found, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no `docker compose` on this machine: the file was checked as YAML only")
    command = [found, "compose", "--file", str(COMPOSE), "--env-file", str(env_file), "--profile", "*", "config"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "COUNTERSIGN_"))}
    ended = subprocess.run([*command, "--format", "json"], env=clean, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr, "warnings"
    services = json.loads(ended.stdout)["services"]
    assert services.keys() == SERVICES.keys()
    for name, service in services.items():
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", [])), name


def test_docker_compose_names_the_secret_that_is_missing(env_file: Path, tmp_path: Path) -> None:
    found = shutil.which("docker")
    if not found or subprocess.run([found, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no `docker compose` on this machine")
    lacking = tmp_path / "lacking"
    lacking.write_text("".join(f"{line}\n" for line in lines_of(env_file) if not line.startswith("MASKING_KEY=")))
    command = [found, "compose", "--file", str(COMPOSE), "--env-file", str(lacking), "config", "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "MASKING_KEY" in ended.stderr
    assert "make env-file" in ended.stderr
