"""Serves the sandbox, still empty: a shop (Shopify's GraphQL Admin API), a payment provider (Stripe's API), a CRM
(Salesforce's REST API), carriers (AfterShip's API), an ERP system (SAP's OData), web analytics (Google Analytics' Data
API), and a webhook that takes notices about orders.

`python -m sandbox.feed` fills them. Nothing is kept when the server stops.
"""

import argparse
import os
import sys

import uvicorn

from sandbox.app import BUCKET_POINTS, POINTS_PER_SECOND, NotSet, create_app, settings_from
from sandbox.crm.sessions import SESSION_SECONDS

_EPILOG = """
routes:
  POST /admin/api/2026-07/graphql.json    the shop; header X-Shopify-Access-Token = SANDBOX_SHOP_TOKEN
  GET  /v1/charges, /v1/charges/{id}      the payments; Authorization: Bearer SANDBOX_PAYMENTS_KEY
  GET  /v1/charges/search                 charges of an order
  GET, POST /v1/refunds                   refunds; POST /v1/payment_intents/{id}/cancel before the capture
  GET  /v1/disputes                       what cardholders' banks have against charges
  POST /v1/webhook_endpoints              who is told of new refunds and disputes; GET /v1/events lists them
  POST /webhooks/orders                   notices about orders, signed with SANDBOX_NOTICES_SECRET
  GET  /sandbox/notices                   which were taken; Authorization: Bearer SANDBOX_ADMIN_TOKEN
  POST /services/oauth2/token             the CRM; client countersign, secret SANDBOX_CRM_SECRET
  GET  /services/data/v66.0/query         SOQL over Account and Contact; .../sobjects/ describes, reads and writes them
  GET  /tracking/2026-07/trackings        parcels on their way; as-api-key: SANDBOX_CARRIER_KEY
  GET  /sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrder   the ERP system; user COUNTERSIGN, SANDBOX_ERP_PASSWORD
  POST /v1beta/properties/123456789:runReport                visits; Authorization: Bearer SANDBOX_ANALYTICS_TOKEN
  POST, DELETE /sandbox/records           feed and empty; Authorization: Bearer SANDBOX_ADMIN_TOKEN
  GET, PUT, DELETE /sandbox/faults        let a share of the requests fail: {"share": 0.2, "seed": 1}; the same token
  GET  /health                            how many records there are

The secrets come from the environment and have no defaults. Exit code 2: wrong usage, or a secret is missing.
"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=18080, help="port to listen on (default %(default)s)")
    parser.add_argument(
        "--bucket",
        type=int,
        default=BUCKET_POINTS,
        metavar="POINTS",
        help="size of the shop's bucket (default %(default)s)",
    )
    parser.add_argument(
        "--restore",
        type=float,
        default=POINTS_PER_SECOND,
        metavar="POINTS",
        help="what comes back each second (default %(default)s: Shopify Plus; a standard shop has 100)",
    )
    parser.add_argument(
        "--crm-session",
        type=float,
        default=SESSION_SECONDS,
        metavar="SECONDS",
        help="how long an access token of the CRM is good (default %(default)s)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped."""
    options = parse_arguments(arguments)
    try:
        settings = settings_from(
            os.environ,
            bucket_points=options.bucket,
            points_per_second=options.restore,
            session_seconds=options.crm_session,
        )
    except NotSet as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    uvicorn.run(create_app(settings), host=options.host, port=options.port, access_log=False, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
