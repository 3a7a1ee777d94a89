"""The one file below ``plugins/`` that Airflow loads as a plugin; light, since every Airflow process loads it."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from desk import notes
from desk.links import PREFIX, ReportLink, root


def _icon(colour: str) -> str:
    """Return a seal with a check mark; as a data URI, it needs no request of its own."""
    return (
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' "
        f"stroke='%23{colour}' stroke-width='1.8'%3E%3Ccircle cx='12' cy='12' r='10' stroke-dasharray='2.2 1.2'/%3E"
        "%3Cpath d='M7.5 12.5l3 3l6-7' stroke-linecap='round' stroke-linejoin='round'/%3E%3C/svg%3E"
    )


class DeskPlugin(AirflowPlugin):
    """Reports in the menu, on the page of a run, and behind the button of the task that published them; notes."""

    name = "countersign_desk"
    operator_extra_links = [ReportLink()]  # noqa: RUF012 - Airflow reads plain attributes
    listeners = [notes]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Reports",
            "icon": _icon("4a5568"),
            "icon_dark_mode": _icon("cbd5e0"),
            "href": f"{root()}/",
            "url_route": "countersign-reports",
            "destination": "nav",
            "nav_top_level": True,
        },
        {
            "name": "Report",
            "href": f"{root()}/of?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "url_route": "countersign-report",
            "destination": "dag_run",
        },
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # only the API server asks for it
        """The app, made when the API server asks: its imports take a second that no other process should spend."""
        from airflow.api_fastapi.core_api.security import get_user

        from desk.app import create_app

        return [{"name": "Countersign reports", "app": create_app(get_user), "url_prefix": PREFIX}]
