"""Settings, flow files and amounts: what is wrong is named."""

from decimal import Decimal
from pathlib import Path

import pytest

from lake.landing.flows import BadFlow, load, load_all
from lake.landing.money import minor_units
from lake.settings import BadSetting, from_environment

FLOWS = Path(__file__).resolve().parents[2] / "dags" / "flows"
GOOD = (FLOWS / "shop_orders.yaml").read_text()


def test_flows_of_the_project_are_good() -> None:
    flows = load_all(FLOWS)
    assert set(flows) == {"shop.orders", "payments.charges"}
    assert flows["shop.orders"].mask == {"email": "email", "clientIp": "ip"}
    assert all(flow.checks and flow.threshold > 0.5 for flow in flows.values())


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("page_size: 250", "page_size: 251", r"`int` <= 250 - at `\$.page_size`"),
        ("threshold: 0.95", "threshold: 95", r"<= 1.0 - at `\$.threshold`"),
        ("threshold: 0.95", "treshold: 0.95", "unknown field `treshold`"),
        ("connection: shop\n", "", "missing required field `connection`"),
        ("dialect: shopify-orders", "dialect: soap", r"at `\$.dialect`"),
        ("table: shop.orders", "table: shop.order", r"unknown table 'shop.order' - at `\$.table`"),
        ("row_id: order_id", "row_id: orderid", r"no column 'orderid' - at `\$.row_id`"),
        ("field: updated_at", "field: changed", r"no column 'changed' - at `\$.cursor.field`"),
        ("{column: customer_id}", "{column: customer}", r"at `\$.checks\[2\].with.column`"),
        ("table: shop.orders", "table: [", "while parsing"),
    ],
)
def test_bad_flow_names_file_and_field(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert before in GOOD
    path = tmp_path / "shop_orders.yaml"
    path.write_text(GOOD.replace(before, after, 1))
    with pytest.raises(BadFlow, match=said) as error:
        load(path)
    assert str(path) in str(error.value)


def test_missing_flow_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFlow, match=r"gone\.yaml: No such file"):
        load(tmp_path / "gone.yaml")


def test_two_flows_cannot_share_a_table(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(GOOD)
    with pytest.raises(BadFlow, match=r"b\.yaml: another flow lands in shop\.orders"):
        load_all(tmp_path)


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [
        ("34.0", "USD", 3400),
        ("34.55", "USD", 3455),
        ("0.29", "EUR", 29),
        ("-1.5", "USD", -150),
        ("12", "JPY", 12),
        ("1.234", "KWD", 1234),
        ("1e3", "USD", 100000),
    ],
)
def test_amount_in_minor_units(amount: str, currency: str, units: int) -> None:
    assert minor_units(amount, currency) == units
    assert isinstance(minor_units(amount, currency), int)


@pytest.mark.parametrize("cents", [1, 7, 99, 101, 123456789])
def test_amount_survives_the_way_there_and_back(cents: int) -> None:
    assert minor_units(str(Decimal(cents) / 100), "USD") == cents


@pytest.mark.parametrize("amount", ["", "ten", "1.005", "NaN", "Infinity", "1e30", "1e999999999"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match=r"amount|decimals|more than"):
        minor_units(amount, "USD")


def test_settings_name_what_is_missing() -> None:
    with pytest.raises(BadSetting, match="COUNTERSIGN_CATALOG is not set"):
        from_environment({})
    with pytest.raises(BadSetting, match="AWS_SECRET_ACCESS_KEY is not set"):
        from_environment({"COUNTERSIGN_CATALOG": "sqlite://", "AWS_ACCESS_KEY_ID": "x"})


def test_settings_have_the_local_stack_as_default_and_aws_on_demand() -> None:
    local = from_environment({"COUNTERSIGN_CATALOG": "sqlite:////c.db"})
    assert (local.kafka, local.s3_endpoint) == ("127.0.0.1:19092", "http://127.0.0.1:18333")
    assert local.warehouse == "s3://countersign/warehouse"
    aws = from_environment({"COUNTERSIGN_CATALOG": "glue", "COUNTERSIGN_S3_ENDPOINT": "", "COUNTERSIGN_BUCKET": "b"})
    assert (aws.s3_endpoint, aws.warehouse) == (None, "s3://b/warehouse")


def test_secret_is_not_shown() -> None:
    settings = from_environment(
        {"COUNTERSIGN_CATALOG": "glue", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "hush"}
    )
    assert "hush" not in repr(settings)
