"""NOT Grafana: answers ``/api/health`` on port 3000, so that what waits for Grafana's health can be tried without it.

It ends with an error where Grafana would have nothing to show: no data source, or a dashboard that is no JSON.
"""

import http.server
import json
import os
import pathlib

etc = pathlib.Path("/etc/grafana")
assert os.environ["GF_SECURITY_ADMIN_PASSWORD"], "GF_SECURITY_ADMIN_PASSWORD is empty"  # noqa: S101
assert list((etc / "provisioning/datasources").glob("*.yml")), "no data source is provisioned"  # noqa: S101
for dashboard in (etc / "dashboards").glob("*.json"):
    print(f"{dashboard}: {json.loads(dashboard.read_text())['title']}", flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    """Says that all is well, and what it is."""

    def do_GET(self) -> None:
        """Answer."""
        well = self.path == "/api/health"
        self.send_response(200 if well else 501)
        self.end_headers()
        self.wfile.write(b'{"database": "ok", "version": "stand-in, not Grafana"}\n' if well else b"not Grafana\n")


http.server.ThreadingHTTPServer(("", 3000), Handler).serve_forever()
