"""The operators that carry the link to a report: ``@task`` functions share one class and cannot have their own."""

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator

from desk.links import ReportLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

REPORTED = Asset("reconciliation.report")
"""Each reconciliation says by an event of it what it found, and where its report lies."""


class PublishReport(BaseOperator):
    """Writes the report of its reconciliation.

    Args:
        emitted: what the run sent to the services, as the task before returned it (templated).
    """

    template_fields: "Sequence[str]" = ("emitted",)
    operator_extra_links = (ReportLink(),)
    ui_color = "#e3f1ee"

    def __init__(self, *, emitted: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.emitted = emitted

    def execute(self, context: "Context") -> dict[str, Any]:
        """Write page and document; return where they lie and the figures in short."""
        from lake.reconcile.tasks import publish_report

        published = publish_report(self.emitted)
        if REPORTED in self.outlets:
            context["outlet_events"][REPORTED].extra = published
        return published


class PublishBacktest(BaseOperator):
    """Writes the report of its back-test."""

    operator_extra_links = (ReportLink(),)
    ui_color = "#e3f1ee"

    def execute(self, context: "Context") -> dict[str, Any]:
        """Write page, document and list of changes; return where they lie and the figures in short."""
        from lake.backtest.tasks import publish_report

        return publish_report()


class PublishTraining(BaseOperator):
    """Writes the report of its training."""

    operator_extra_links = (ReportLink(),)
    ui_color = "#e3f1ee"

    def execute(self, context: "Context") -> dict[str, Any]:
        """Write page and document; return where they lie."""
        from lake.learn.tasks import publish_report

        return publish_report()


class TellOrder(BaseOperator):
    """Writes the story of the form's order."""

    operator_extra_links = (ReportLink(),)
    ui_color = "#e3f1ee"

    def execute(self, context: "Context") -> dict[str, Any]:
        """Write page and document; return where they lie and how things stand."""
        from lake.story.tasks import tell_order

        return tell_order()
