"""Composition root of the sandbox: shop, payment provider, CRM and notices on one server, and the door to feed them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import FastAPI

from sandbox import admin, crm, notices, payments, refunds, shop
from sandbox.cost import Bucket
from sandbox.crm import Crm
from sandbox.notices import Notices
from sandbox.payments import Payments
from sandbox.store import Numbered

SHOP_TOKEN = "SANDBOX_SHOP_TOKEN"  # noqa: S105  # the variable's name
PAYMENTS_KEY = "SANDBOX_PAYMENTS_KEY"
ADMIN_TOKEN = "SANDBOX_ADMIN_TOKEN"  # noqa: S105  # the variable's name
CRM_CLIENT_ID = "SANDBOX_CRM_CLIENT_ID"
CRM_CLIENT_SECRET = "SANDBOX_CRM_CLIENT_SECRET"  # noqa: S105  # the variable's name
NOTICES_SECRET = "SANDBOX_NOTICES_SECRET"  # noqa: S105  # the variable's name

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
        crm_client_id: of the CRM's connected app.
        crm_client_secret: what clients of the CRM must present for a token.
        notices_secret: what notices about orders must be signed with.
        bucket_points: the shop's bucket.
        points_per_second: how fast it refills.
    """

    shop_token: str
    payments_key: str
    admin_token: str
    crm_client_id: str
    crm_client_secret: str
    notices_secret: str
    bucket_points: int = BUCKET_POINTS
    points_per_second: float = POINTS_PER_SECOND


def settings_from(environment: Mapping[str, str], **throttle: float) -> Settings:
    """Read the secrets from the environment; there are no defaults.

    Raises:
        NotSet: one is missing, empty, or used twice.
    """
    names = (SHOP_TOKEN, PAYMENTS_KEY, ADMIN_TOKEN, CRM_CLIENT_ID, CRM_CLIENT_SECRET, NOTICES_SECRET)
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise NotSet(f"{', '.join(missing)} not set: `make up` invents these secrets, or set them to random strings")
    values = [environment[name] for name in names]
    if len(set(values)) < len(values):
        raise NotSet(f"{', '.join(names)} must differ from each other")
    return Settings(*values, **throttle)  # type: ignore[arg-type]  # bucket_points is an int from the command line


def create_app(settings: Settings, clock: Callable[[], float] | None = None) -> FastAPI:
    """The whole sandbox, empty.

    Args:
        settings: secrets and throttle.
        clock: seconds for the shop's bucket; the monotonic clock if None.
    """
    size, rate = settings.bucket_points, settings.points_per_second
    bucket = Bucket(size, rate) if clock is None else Bucket(size, rate, clock)
    the_shop = shop.new(settings.shop_token, bucket)
    the_payments = Payments(Numbered(), settings.payments_key)
    the_crm = Crm(settings.crm_client_id, settings.crm_client_secret)
    the_notices = Notices(settings.notices_secret)
    app = FastAPI(title="Countersign sandbox", openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(shop.routes(the_shop))
    app.include_router(payments.routes(the_payments))
    app.include_router(refunds.routes(the_payments))
    app.include_router(crm.routes(the_crm))
    app.include_router(notices.routes(the_notices))
    app.include_router(admin.routes(the_shop, the_payments, the_crm, the_notices, settings.admin_token))
    return app
