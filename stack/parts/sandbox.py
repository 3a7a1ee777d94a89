"""The stand-ins of the SaaS systems: shop, payment provider, CRM, and who takes notices."""

from stack.part import Part, waiting_for_http
from stack.site import PYTHON, Site


def sandbox(site: Site) -> list[Part]:
    """One server for all of them; its access tokens come from the environment."""
    part = Part(
        name="sandbox",
        group="sandbox",
        command=(str(PYTHON), "-m", "sandbox", "--port", str(site.ports.sandbox)),
        address=site.sandbox,
        waiting_for=lambda: waiting_for_http(f"{site.sandbox}/health"),
    )
    return [part]
