"""Opens the Iceberg catalog: SQL locally, Glue on AWS, the same tables in both."""

from pyiceberg.catalog import Catalog
from pyiceberg.catalog import load_catalog as _load_catalog
from sqlalchemy.exc import IntegrityError, OperationalError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from lake.settings import Settings, from_environment

NAME = "countersign"
GLUE = "glue"


@retry(
    retry=retry_if_exception_type((OperationalError, IntegrityError)),
    stop=stop_after_attempt(6),
    wait=wait_random_exponential(multiplier=0.05, max=2),
    reraise=True,
)
def open_catalog(settings: Settings | None = None) -> Catalog:
    """Return the catalog that the settings (by default those of the environment) describe.

    Tasks start side by side, and the first ones create the catalog's own SQL tables at the same moment; whoever
    loses that race tries again.

    Raises:
        BadSetting: the environment names no catalog.
    """
    settings = from_environment() if settings is None else settings
    properties = {"warehouse": settings.warehouse, "s3.region": settings.region}
    if settings.s3_endpoint is not None:
        properties["s3.endpoint"] = settings.s3_endpoint
    if settings.access_key is not None and settings.secret_key is not None:
        properties |= {"s3.access-key-id": settings.access_key, "s3.secret-access-key": settings.secret_key}
    if settings.catalog == GLUE:
        return _load_catalog(NAME, type=GLUE, **properties, **{"glue.region": settings.region})
    return _load_catalog(NAME, type="sql", uri=settings.catalog, **properties)
