"""Airflow's REST API, as far as the demo needs it: trigger a DAG, wait for its end, read what a task returned."""

import time
from collections.abc import Callable
from typing import Any, Self

import httpx

POLL_S = 1.0
RUN_TIMEOUT_S = 900.0
ANSWER_S = 180.0
"""How long one answer may take: on its first task Airflow 3.3 builds the routes of its execution API, which holds up
everything else in the API server, on a busy machine for the better part of a minute."""

_ENDED = ("success", "failed")


class AirflowError(RuntimeError):
    """Airflow refuses or a run does not end; the message names DAG and run, and where to look."""


class Airflow:
    """A logged-in client; a context manager."""

    def __init__(self, url: str, user: str, password: str, watch: Callable[[], None]) -> None:
        """Log in.

        Args:
            url: of the UI and API.
            user: a user of Airflow's simple auth manager.
            password: its password.
            watch: called between two looks at a run; raises if waiting has become pointless.

        Raises:
            AirflowError: no token is given.
        """
        self._url = url
        self._watch = watch
        self._http = httpx.Client(base_url=url, timeout=ANSWER_S)
        answer = self._ask("POST", "/auth/token", json={"username": user, "password": password})
        if answer.status_code != httpx.codes.CREATED:
            raise AirflowError(f"{url}: no token for user {user} ({answer.status_code}): {answer.text[:200]}")
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run and return its id.

        Raises:
            AirflowError: the DAG is unknown or refuses the parameters.
        """
        until = time.monotonic() + 60
        while True:
            answer = self._ask(
                "POST", f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf or {}}
            )
            # A DAG appears a moment after the DAG processor has come up.
            if answer.status_code != httpx.codes.NOT_FOUND or time.monotonic() > until:
                break
            self._watch()
            time.sleep(POLL_S)
        if answer.status_code != httpx.codes.OK:
            raise AirflowError(f"DAG {dag_id} was not started ({answer.status_code}): {answer.text[:500]}")
        return str(answer.json()["dag_run_id"])

    def wait(self, dag_id: str, run_id: str) -> str:
        """Wait until a run has ended and return its state.

        Raises:
            AirflowError: it takes too long.
        """
        until = time.monotonic() + RUN_TIMEOUT_S
        while time.monotonic() < until:
            state = str(self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])
            if state in _ENDED:
                return state
            self._watch()
            time.sleep(POLL_S)
        raise AirflowError(
            f"run {run_id} of {dag_id} has not ended in {RUN_TIMEOUT_S:.0f} s: {self.page(dag_id, run_id)}"
        )

    def note(self, dag_id: str, run_id: str) -> str:
        """Return the note of a run, empty if it has none."""
        return str(self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["note"] or "")

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned.

        Raises:
            AirflowError: it returned nothing.
        """
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self._get(path, params={"stringify": "false"})["value"]

    def page(self, dag_id: str, run_id: str) -> str:
        """Return the address of a run in the UI."""
        return f"{self._url}/dags/{dag_id}/runs/{run_id}"

    def _get(self, path: str, params: dict[str, str] | None = None) -> Any:
        answer = self._ask("GET", path, params=params)
        if answer.status_code != httpx.codes.OK:
            raise AirflowError(f"GET {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **content)
        except httpx.TransportError as error:
            raise AirflowError(f"{method} {self._url}{path}: {type(error).__name__} {error}") from error
