"""Composition root of the sandbox: every system on one server, faults in front, a door to feed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import FastAPI

from sandbox import admin, disputes, notices, payments, refunds, shop, webhooks
from sandbox.analytics import api as analytics
from sandbox.carrier import api as carrier
from sandbox.cost import Bucket
from sandbox.crm import api as crm
from sandbox.crm.sessions import SESSION_SECONDS, Sessions
from sandbox.erp import api as erp
from sandbox.injection import Faults, Injector
from sandbox.notices import Notices
from sandbox.payments import Payments
from sandbox.store import Numbered

SHOP_TOKEN = "SANDBOX_SHOP_TOKEN"  # noqa: S105  # the variable's name
PAYMENTS_KEY = "SANDBOX_PAYMENTS_KEY"
ADMIN_TOKEN = "SANDBOX_ADMIN_TOKEN"  # noqa: S105  # the variable's name
CRM_SECRET = "SANDBOX_CRM_SECRET"  # noqa: S105  # the variable's name
NOTICES_SECRET = "SANDBOX_NOTICES_SECRET"  # noqa: S105  # the variable's name
CARRIER_KEY = "SANDBOX_CARRIER_KEY"
ERP_PASSWORD = "SANDBOX_ERP_PASSWORD"  # noqa: S105  # the variable's name
ANALYTICS_TOKEN = "SANDBOX_ANALYTICS_TOKEN"  # noqa: S105  # the variable's name

BUCKET_POINTS = 20_000
POINTS_PER_SECOND = 1_000
"""Shopify Plus; a standard shop restores 100 a second."""


class NotSet(Exception):
    """A secret is missing; the message names its variable and the remedy."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the sandbox is started with.

    Attributes:
        shop_token: what clients of the shop must present.
        payments_key: what clients of the payment provider must present.
        admin_token: what the feed must present.
        crm_secret: the consumer secret of the CRM's connected app.
        notices_secret: what notices about orders must be signed with.
        carrier_key: what clients of the carriers must present.
        erp_password: of the ERP system's communication user.
        analytics_token: what clients of the web analytics must present.
        bucket_points: the shop's bucket.
        points_per_second: how fast it refills.
        session_seconds: how long an access token of the CRM is good.
    """

    shop_token: str
    payments_key: str
    admin_token: str
    crm_secret: str
    notices_secret: str
    carrier_key: str
    erp_password: str
    analytics_token: str
    bucket_points: int = BUCKET_POINTS
    points_per_second: float = POINTS_PER_SECOND
    session_seconds: float = SESSION_SECONDS


def settings_from(environment: Mapping[str, str], **limits: float) -> Settings:
    """Read the secrets from the environment; there are no defaults.

    Raises:
        NotSet: one is missing, empty, or used twice.
    """
    names = (
        *(SHOP_TOKEN, PAYMENTS_KEY, ADMIN_TOKEN, CRM_SECRET, NOTICES_SECRET),
        *(CARRIER_KEY, ERP_PASSWORD, ANALYTICS_TOKEN),
    )
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise NotSet(f"{', '.join(missing)} not set: `make up` invents these secrets, or set them to random strings")
    values = [environment[name] for name in names]
    if len(set(values)) < len(values):
        raise NotSet(f"{', '.join(names)} must differ from each other")
    return Settings(*values, **limits)  # type: ignore[arg-type]  # bucket_points is an int from the command line


def create_app(settings: Settings, clock: Callable[[], float] | None = None) -> FastAPI:
    """The whole sandbox, empty.

    Args:
        settings: secrets and limits.
        clock: seconds for the shop's bucket and the CRM's sessions; the monotonic clock if None.
    """
    ticking = time.monotonic if clock is None else clock
    bucket = Bucket(settings.bucket_points, settings.points_per_second, ticking)
    sessions = Sessions(settings.crm_secret, settings.session_seconds, ticking)
    faults = Faults()
    the_shop = shop.new(settings.shop_token, bucket)
    the_payments = Payments(Numbered(), settings.payments_key)
    the_crm = crm.Crm(sessions)
    the_notices = Notices(settings.notices_secret)
    the_carrier = carrier.Carrier(settings.carrier_key)
    the_erp = erp.Erp(settings.erp_password)
    the_analytics = analytics.Analytics(settings.analytics_token)
    app = FastAPI(title="Countersign sandbox", openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(shop.routes(the_shop))
    app.include_router(payments.routes(the_payments))
    app.include_router(refunds.routes(the_payments))
    app.include_router(disputes.routes(the_payments))
    app.include_router(webhooks.routes(the_payments.webhooks, the_payments.authorise))
    app.include_router(crm.routes(the_crm))
    app.include_router(notices.routes(the_notices))
    app.include_router(carrier.routes(the_carrier))
    app.include_router(erp.routes(the_erp))
    app.include_router(analytics.routes(the_analytics))
    systems = admin.Systems(the_shop, the_payments, the_crm, the_notices, the_carrier, the_erp, the_analytics)
    app.include_router(admin.routes(systems, settings.admin_token))
    app.include_router(admin.fault_routes(faults, settings.admin_token))
    app.add_middleware(Injector, faults=faults, expire=sessions.revoke_all)
    return app
