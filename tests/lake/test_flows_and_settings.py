"""Settings, flow files and amounts: what is wrong is named."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from lake import tables
from lake.landing.flows import BadFlow, folder, load, load_all, tables_in
from lake.landing.money import minor_units
from lake.settings import BadSetting, from_environment

FLOWS = Path(__file__).resolve().parents[2] / "dags" / "flows"
GOOD = (FLOWS / "shop_orders.yaml").read_text()


def test_flows_of_the_project_are_good() -> None:
    flows = load_all(FLOWS)
    others = {"carrier.shipments", "carrier.tracking_events", "erp.sales_orders", "analytics.sessions"}
    assert set(flows) >= {*tables.RECONCILED, *tables.WITNESSES, *others}
    assert flows["shop.orders"].mask == {"email": "email", "clientIp": "ip"}
    assert flows["crm.contacts"].mask == {"Email": "email"}
    assert folder() == FLOWS
    assert all(flow.checks and flow.threshold > 0.5 for flow in flows.values())


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("page_size: 250", "page_size: 251", r"`int` <= 250 - at `\$.page_size`"),
        ("page_size: 250", "page_size: 2001", r"`int` <= 2000 - at `\$.page_size`"),
        ("threshold: 0.95", "threshold: 95", r"<= 1.0 - at `\$.threshold`"),
        ("threshold: 0.95", "treshold: 0.95", "unknown field `treshold`"),
        ("connection: shop\n", "", "missing required field `connection`"),
        ("connector: shopify", "connector: soap", r"at `\$.connector`"),
        ("connector: shopify", "connector: nowhere:Soap", r"no connector nowhere:Soap.* - at `\$.connector`"),
        ("connector: shopify", "connector: json:JSONDecoder", r"no subclass of .*Connector - at `\$.connector`"),
        ("table: shop.orders", "table: orders", r"at `\$.table`"),
        ("table: shop.orders", "table: kafka.orders", r"kafka is not for sources.* - at `\$.table`"),
        ("entity: orders", "entity: orders(", r"at `\$.entity`"),
        ("{from: createdAt, type: time,", "{from: createdAt, type: date,", r"at `\$.columns\[...\].type`"),
        ("{from: createdAt, type: time,", "{from: created At, type: time,", r"at `\$.columns\[...\].from`"),
        ("type: text, edit: last-segment", "type: integer, edit: upper", r"at `\$.columns.customer_id.edit`"),
        (
            "{from: createdAt, type: time,",
            "{from: createdAt, type: time, truncate: 9,",
            r"`\$.columns.created_at.truncate`",
        ),
        ("  day: {from", "  date: {from", r"no column 'day' - at `\$.columns`"),
        ("currency: totalPriceSet.shopMoney.currencyCode, ", "", r"at `\$.columns.amount.currency`"),
        (
            "{from: updatedAt, type: time",
            "{from: updatedAt, type: text",
            r"type time - at `\$.columns.updated_at.type`",
        ),
        ("{from: updatedAt, type: time", "{from: updatedAt, type: day", r"at `\$.columns.updated_at.type`"),
        ("{from: sourceIdentifier,", "{from: sourceIdentifier, optional: true,", r"at `\$.columns.order_id.optional`"),
        ("  clientIp: ip\n", "", r"clientIp is not in `mask` - at `\$.columns.ip_token`"),
        ("  clientIp: ip\n", "  ip: ip\n", r"no column lands from there.* - at `\$.mask.ip`"),
        ("  clientIp: ip\n", "  clientIp: rot13\n", r"at `\$.mask\[...\]`"),
        ("  ip_token: {", "  ip: {", r"called …_token - at `\$.columns.ip`"),
        (
            "clientIp, type: text,",
            "clientIp, type: text, truncate: 9,",
            r"would not join any more - at `\$.columns.ip_token`",
        ),
        (
            "{from: email, type: text,",
            "{from: customer, type: text,",
            r"customer.id stands inside.*`\$.columns.email_token.from`",
        ),
        ("schedule: null", "schedule: daily", r"at `\$.schedule`"),
        ("schedule: null", "schedule: {table: x}", r"at `\$.schedule`"),
        ("schedule: null", "filter: [{column: colour, keep: [a]}]", r"at `\$.filter\[0\].column`"),
        ("schedule: null", "filter: [{column: email_token, keep: [a]}]", r"is masked.* - at `\$.filter\[0\].column`"),
        ("schedule: null", "filter: [{column: day, keep: [a]}]", r"of type day - at `\$.filter\[0\].column`"),
        ("schedule: null", "filter: [{column: currency}]", r"either `keep` or `drop` - at `\$.filter\[0\].keep`"),
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


def schema() -> Draft202012Validator:
    return Draft202012Validator(json.loads((FLOWS.parents[1] / "docs" / "flow.schema.json").read_text()))


@pytest.mark.parametrize("path", sorted(FLOWS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_published_schema_takes_the_flows_of_the_project(path: Path) -> None:
    Draft202012Validator.check_schema(schema().schema)
    assert list(schema().iter_errors(yaml.safe_load(path.read_text()))) == []
    assert path.read_text().startswith("# yaml-language-server: $schema=../../docs/flow.schema.json\n")


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("page_size: 250", "page_size: 0", ["page_size"]),
        ("threshold: 0.95", "treshold: 0.95", []),
        ("connector: shopify", "connector: soap", ["connector"]),
        ("type: day", "type: date", ["columns", "day", "type"]),
        ("schedule: null", "schedule: daily", ["schedule"]),
        ("email: email", "email: rot13", ["mask", "email"]),
    ],
)
def test_the_published_schema_refuses_what_the_lake_refuses(before: str, after: str, place: list[str]) -> None:
    assert before in GOOD
    (error,) = schema().iter_errors(yaml.safe_load(GOOD.replace(before, after, 1)))
    assert list(error.path) == place


def test_tables_of_the_flows_are_what_the_reconciliation_reads() -> None:
    """The columns that the lake has had from the start, in their order, are still those."""
    text, number, time, day, flag = "string", "long", "timestamptz", "date", "boolean"
    found = {
        name: [(field.name, str(field.field_type), field.required) for field in spec.schema.fields]
        for name, spec in tables_in(FLOWS).items()
    }
    assert found["shop.orders"] == [
        ("order_id", text, True),
        ("customer_id", text, True),
        ("created_at", time, True),
        ("day", day, True),
        ("amount", number, True),
        ("currency", text, True),
        ("email_token", text, False),
        ("ip_token", text, False),
        ("financial_status", text, False),
        ("updated_at", time, True),
    ]
    assert found["payments.charges"] == [
        ("charge_id", text, True),
        ("order_id", text, False),
        ("amount", number, True),
        ("currency", text, True),
        ("created_at", time, True),
        ("day", day, True),
        ("captured", flag, True),
        ("status", text, True),
    ]
    for name in tables.RECONCILED:
        (field,) = tables_in(FLOWS)[name].partitions.fields
        assert (field.name, str(field.transform)) == ("by_day_month", "month")


def test_missing_flow_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFlow, match=r"gone\.yaml: No such file"):
        load(tmp_path / "gone.yaml")


def test_two_flows_cannot_share_a_quarantine(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD.replace("table: shop.orders", "table: other.orders"))
    with pytest.raises(BadFlow, match=r"b\.yaml: another flow sets its rows aside in quarantine\.orders"):
        load_all(tmp_path)


def test_flows_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERSIGN_FLOWS", str(tmp_path))
    assert load_all(folder()) == {}


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
    assert local.s3_endpoint == "http://127.0.0.1:18333"
    assert local.warehouse == "s3://countersign/warehouse"
    aws = from_environment({"COUNTERSIGN_CATALOG": "glue", "COUNTERSIGN_S3_ENDPOINT": "", "COUNTERSIGN_BUCKET": "b"})
    assert (aws.s3_endpoint, aws.warehouse) == (None, "s3://b/warehouse")


def test_secret_is_not_shown() -> None:
    settings = from_environment(
        {"COUNTERSIGN_CATALOG": "glue", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "hush"}
    )
    assert "hush" not in repr(settings)
