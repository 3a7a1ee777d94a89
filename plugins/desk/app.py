"""The reports as web pages, below Airflow's own address and for its users only.

Airflow mounts a plugin's app **without** any authentication; the dependency on its own ``get_user`` stands on the whole
router, so that a route added later cannot forget it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from desk import orders
from lake.report.names import REPORTING, safe_run_id
from lake.report.store import HTML, QUALITY, TYPES, NoSuchReport, ReportStore
from lake.settings import BadSetting, from_environment

HEADERS = {
    # A report is data: it may neither run nor load nor send anything, and only Airflow's own pages may frame it.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}


def store(dag_id: str) -> ReportStore:
    """Return the store of a DAG's reports, where the environment says.

    Raises:
        NoSuchReport: the runs of this DAG have none.
    """
    try:
        return ReportStore(from_environment(), dag_id)
    except BadSetting as error:
        raise HTTPException(503, f"The desk cannot reach the reports: {error}") from error


def create_app(
    user: Callable[..., Any],
    open_store: Callable[[str], ReportStore] = store,
    teller: orders.Teller = orders.from_lake,
) -> FastAPI:
    """Return the app.

    Args:
        user: the dependency that lets only users of Airflow pass (it raises 401).
        open_store: opens the place where the reports of a DAG lie.
        teller: tells the story of an order.
    """
    app = FastAPI(title="Countersign reports", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(_router(open_store), dependencies=[Depends(user)])
    app.include_router(orders.router(HEADERS, teller), dependencies=[Depends(user)])
    return app


def _router(open_store: Callable[[str], ReportStore]) -> APIRouter:
    router = APIRouter()
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)

    # Plain functions: Starlette runs them in a thread, so that S3 never holds up Airflow's event loop.
    @router.get("/")
    def reports() -> HTMLResponse:
        """The list of all reports, the newest first."""
        runs = [run for dag_id in REPORTING for run in open_store(dag_id).runs()]
        runs.sort(key=lambda run: (run.written, run.dag, run.run), reverse=True)
        return HTMLResponse(pages.get_template("list.html.j2").render(runs=runs), headers=HEADERS)

    @router.get("/of")
    def of_run(run_id: str = "", dag_id: str = "") -> Response:
        """The report of a run by Airflow's own id of it; what the tab on a run's page shows."""
        name = safe_run_id(run_id) if run_id else ""
        if name and dag_id in REPORTING:
            reports = open_store(dag_id)
            # A run that the quality gate stopped has no report, but says why.
            for document in (HTML, QUALITY):
                if reports.has(name, document):
                    return RedirectResponse(f"runs/{dag_id}/{name}/{document}", headers=HEADERS)
        page = pages.get_template("none.html.j2").render(dag_id=dag_id, run_id=run_id, reporting=REPORTING)
        return HTMLResponse(page, headers=HEADERS)

    @router.get("/runs/{dag_id}/{run}/{name}")
    def document(dag_id: str, run: str, name: str) -> Response:
        """One document of one run."""
        if name not in TYPES:
            raise HTTPException(404, f"a report has {', '.join(TYPES)}, but no {name}")
        try:
            body = open_store(dag_id).get(run, name)
        except NoSuchReport as error:
            raise HTTPException(404, f"there is no such report: {error}") from error
        return Response(body, media_type=TYPES[name], headers=HEADERS)

    return router
