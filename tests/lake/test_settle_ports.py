"""The systems that a settlement calls: each step alone, against the sandbox, with what may be found there already."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from lake.landing.http import BadCredentials, Endpoint, SourceUnavailable
from lake.settle.api import Refused, Spent
from lake.settle.case import Case, Job
from lake.settle.crm import Crm
from lake.settle.notices import Notices
from lake.settle.payments import Payments
from lake.settle.shop import Shop
from order_fraud.settlement import CANCEL_ORDER, RETURN_MONEY, TELL_CUSTOMER, Action, Step
from tests.lake.conftest import PYTHON, ROOT, free_ports
from tests.lake.meddler import Meddler, Rule, meddling

SECRETS = {
    f"SANDBOX_{name}": f"secret-of-{name.lower()}"
    for name in (
        *("SHOP_TOKEN", "PAYMENTS_KEY", "ADMIN_TOKEN", "CRM_SECRET", "NOTICES_SECRET"),
        *("CARRIER_KEY", "ERP_PASSWORD", "ANALYTICS_TOKEN"),
    )
}
ADMIN = {"Authorization": f"Bearer {SECRETS['SANDBOX_ADMIN_TOKEN']}"}
PAID = {"Authorization": f"Bearer {SECRETS['SANDBOX_PAYMENTS_KEY']}"}


class Sandbox:
    """The running sandbox behind a proxy."""

    def __init__(self, url: str, proxy: Meddler) -> None:
        self.url, self.proxy = url, proxy

    def clear(self) -> None:
        self.proxy.rules.clear()
        httpx.delete(f"{self.url}/sandbox/records", headers=ADMIN).raise_for_status()

    def charge(self, charge_id: str, order_id: str = "7-1", **changed: Any) -> None:
        record = {"charge_id": charge_id, "order_id": order_id, "customer_id": "7", "created": 1_425_168_000,
                  "amount": 3400, "currency": "USD", "captured": True} | changed  # fmt: skip
        self.put(charges=[record])

    def order(self, order_id: str = "7-1", **changed: Any) -> None:
        record = {"order_id": order_id, "customer_id": "7", "created": 1_425_168_000, "updated": 1_425_168_000,
                  "amount": 3400, "currency": "USD", "email": "c7@example.test", "ip": None} | changed  # fmt: skip
        self.put(orders=[record])

    def put(self, **records: Any) -> None:
        httpx.post(f"{self.url}/sandbox/records", headers=ADMIN, json=records).raise_for_status()

    def endpoint(self, name: str, secret: str, login: str = "") -> Endpoint:
        return Endpoint(name, self.proxy.url, SECRETS[f"SANDBOX_{secret}"], login)

    @property
    def payments(self) -> Payments:
        return Payments(self.endpoint("payments", "PAYMENTS_KEY"))

    @property
    def shop(self) -> Shop:
        return Shop(self.endpoint("shop", "SHOP_TOKEN"))

    @property
    def crm(self) -> Crm:
        return Crm(self.endpoint("crm", "CRM_SECRET", "countersign"))

    @property
    def notices(self) -> Notices:
        return Notices(self.endpoint("notices", "NOTICES_SECRET"))

    def refunds(self, charge_id: str) -> list[dict[str, Any]]:
        return httpx.get(f"{self.url}/v1/refunds", params={"charge": charge_id}, headers=PAID).json()["data"]

    def refund(self, charge_id: str, amount: int) -> None:
        form = {"charge": charge_id, "amount": amount}
        httpx.post(f"{self.url}/v1/refunds", data=form, headers=PAID).raise_for_status()


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON.relative_to(ROOT)} is missing, which runs the sandbox: `make setup` makes it")
    url = f"http://127.0.0.1:{free_ports()[0]}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= SECRETS | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
    process = subprocess.Popen(
        [str(PYTHON), "-m", "sandbox", "--port", url.rpartition(":")[2]], env=environment, cwd=ROOT
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{url}/health").raise_for_status()
                break
            except httpx.TransportError:
                assert process.poll() is None, "the sandbox ended"
                assert time.monotonic() < until, "the sandbox does not answer"
                time.sleep(0.1)
        with meddling(url) as proxy:
            yield Sandbox(url, proxy)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.clear()
    return running


def job(step: Step, key: str = "", order_id: str = "7-1", **evidence: Any) -> Job:
    case = Case(order_id, "7", datetime(2015, 3, 20, tzinfo=UTC), "a person confirmed the fraud")
    return Job(case, Action(step, False, key or f"settle/{order_id}/{step}", True), evidence)


MONEY = job(RETURN_MONEY)


# --- money


def test_what_was_captured_is_refunded_once_under_its_key(sandbox: Sandbox) -> None:
    sandbox.charge("ch_1")
    (refund,) = (sandbox.payments.return_money(MONEY), sandbox.refunds("ch_1"))[1]
    assert sandbox.payments.return_money(MONEY) == {"ch_1": f"refunded 34.00 USD by {refund['id']}"}
    assert (refund["reason"], refund["metadata"]) == ("fraudulent", {"settlement": "settle/7-1/return-money/ch_1"})
    assert len(sandbox.refunds("ch_1")) == 1


def test_what_was_only_authorised_is_released(sandbox: Sandbox) -> None:
    sandbox.charge("ch_1", captured=False)
    said = sandbox.payments.return_money(MONEY)
    assert said == {"ch_1": f"released 34.00 USD by {sandbox.refunds('ch_1')[0]['id']}"}
    status = httpx.get(f"{sandbox.url}/v1/payment_intents/pi_1", headers=PAID).json()["status"]
    assert status == "canceled"


def test_every_charge_of_the_order_and_of_no_other_goes_back_as_far_as_it_has_not_yet(sandbox: Sandbox) -> None:
    sandbox.charge("ch_1")
    sandbox.charge("ch_2")
    sandbox.charge("ch_3", order_id="8-1")
    sandbox.refund("ch_1", 400)
    sandbox.refund("ch_2", 3400)
    assert sandbox.payments.return_money(MONEY).keys() == {"ch_1", "ch_2"}
    assert sorted(refund["amount"] for refund in sandbox.refunds("ch_1")) == [400, 3000]
    assert [refund["amount"] for refund in sandbox.refunds("ch_2")] == [3400]
    assert sandbox.refunds("ch_3") == []


def test_what_the_bank_takes_back_is_not_refunded_on_top(sandbox: Sandbox) -> None:
    sandbox.charge("ch_1", disputed=True)
    said = sandbox.payments.return_money(MONEY)
    assert said == {"ch_1": "in dispute: the bank takes 34.00 USD back, nothing was refunded"}
    assert sandbox.refunds("ch_1") == []


def test_an_order_without_charge_has_nothing_to_give_back(sandbox: Sandbox) -> None:
    assert sandbox.payments.return_money(MONEY) == {"charges": "the provider has no charge of this order"}


def test_a_charge_that_is_captured_meanwhile_is_refunded_under_another_key(sandbox: Sandbox) -> None:
    sandbox.charge("ch_1", captured=False)

    def captured_first(method: str, path: str, body: bytes) -> bool:
        if path.endswith("/cancel"):
            sandbox.charge("ch_1", captured=True)
        return False

    sandbox.proxy.rules.append(Rule(captured_first, "never"))
    assert sandbox.payments.return_money(MONEY)["ch_1"].startswith("refunded 34.00 USD")
    assert len(sandbox.refunds("ch_1")) == 1


def test_a_refund_that_somebody_makes_meanwhile_counts(sandbox: Sandbox) -> None:
    sandbox.charge("ch_1")

    def refunded_first(method: str, path: str, body: bytes) -> bool:
        if method == "POST" and path == "/v1/refunds":
            sandbox.refund("ch_1", 3400)
        return False

    sandbox.proxy.rules.append(Rule(refunded_first, "never"))
    assert sandbox.payments.return_money(MONEY)["ch_1"].startswith("refunded 34.00 USD")
    assert len(sandbox.refunds("ch_1")) == 1


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_silence_is_asked_again_and_is_never_an_outcome(sandbox: Sandbox, status: int) -> None:
    sandbox.charge("ch_1")
    rule = sandbox.proxy.rule("POST", "/v1/refunds", (status, {"Retry-After": "0"}), times=2)
    sandbox.payments.return_money(MONEY)
    assert (rule.struck, len(sandbox.refunds("ch_1"))) == (2, 1)
    sandbox.proxy.rule("GET", "/v1/charges/ch_1", (status, {"Retry-After": "0"}), times=100)
    with pytest.raises(SourceUnavailable, match=f"HTTP {status}"):
        sandbox.payments.return_money(MONEY)


def test_a_failure_that_is_kept_under_its_key_is_not_asked_again(sandbox: Sandbox) -> None:
    sandbox.charge("ch_1")
    rule = sandbox.proxy.rule("POST", "/v1/refunds", (500, {"Idempotent-Replayed": "true"}), times=9)
    with pytest.raises(Spent, match="kept under its key"):
        sandbox.payments.return_money(MONEY)
    assert rule.struck == 1


def test_what_the_provider_refuses_is_told_in_its_words(sandbox: Sandbox) -> None:
    sandbox.charge("ch_1")
    with pytest.raises(Refused, match="idempotency_error: Idempotency keys cannot exceed 255 characters"):
        sandbox.payments.return_money(job(RETURN_MONEY, key="k" * 252))
    wrong = Payments(replace(sandbox.endpoint("payments", "PAYMENTS_KEY"), secret="another"))
    with pytest.raises(BadCredentials, match="AIRFLOW_CONN_PAYMENTS"):
        wrong.return_money(MONEY)


# --- the shop


def test_the_order_is_cancelled_once_and_one_cancelled_by_others_counts(sandbox: Sandbox) -> None:
    sandbox.order()
    said = sandbox.shop.cancel(job(CANCEL_ORDER))
    assert (said["order in the shop"], said["cancelled for"]) == ("#1001", "FRAUD")
    assert sandbox.shop.cancel(job(CANCEL_ORDER)) == said
    sandbox.order("8-1", cancelled=1_425_200_000, cancel_reason="STAFF")
    assert sandbox.shop.cancel(job(CANCEL_ORDER, order_id="8-1"))["cancelled for"] == "STAFF"


def test_two_tries_at_once_cancel_once(sandbox: Sandbox) -> None:
    sandbox.order()

    def cancelled_first(method: str, path: str, body: bytes) -> bool:
        if b"orderCancel(" in body:
            httpx.post(sandbox.url + path, content=body, headers={
                "X-Shopify-Access-Token": SECRETS["SANDBOX_SHOP_TOKEN"], "Content-Type": "application/json",
            })  # fmt: skip
        return False

    sandbox.proxy.rules.append(Rule(cancelled_first, "never"))
    assert sandbox.shop.cancel(job(CANCEL_ORDER))["cancelled for"] == "FRAUD"


def test_what_the_shop_refuses_is_told_in_its_words(sandbox: Sandbox) -> None:
    with pytest.raises(Refused, match="the shop has no order 7-1"):
        sandbox.shop.cancel(job(CANCEL_ORDER))
    sandbox.order(fulfilled=True)
    with pytest.raises(Refused, match="refuses to cancel order 7-1: INVALID: The order has fulfillments"):
        sandbox.shop.cancel(job(CANCEL_ORDER))


# --- the CRM


def contact(customer_id: str, **changed: Any) -> dict[str, Any]:
    moments = {"created": 1_425_168_000, "updated": 1_425_168_000}
    return {"customer_id": customer_id, **moments, "first_name": None, "last_name": "Doe", "email": None} | changed


def test_the_flag_goes_up_and_becomes_what_it_was(sandbox: Sandbox) -> None:
    crm = sandbox.crm
    sandbox.put(contacts=[contact("7 ü", fraud_status="watched")])
    contact_id, flag = crm.contact("7 ü") or ("", "")
    assert flag == "watched"
    for given in ("confirmed", "watched", ""):
        crm.set_flag(contact_id, given)
        assert crm.contact("7 ü") == (contact_id, given)
    assert crm.contact("nobody") is None


def test_what_the_crm_refuses_is_told_in_its_words(sandbox: Sandbox) -> None:
    sandbox.put(contacts=[contact("7", locked=True)])
    contact_id, _ = sandbox.crm.contact("7") or ("", "")
    with pytest.raises(Refused, match="ENTITY_IS_LOCKED: the entity is locked for editing"):
        sandbox.crm.set_flag(contact_id, "confirmed")
    with pytest.raises(BadCredentials, match="AIRFLOW_CONN_CRM"):
        Crm(sandbox.endpoint("crm", "SHOP_TOKEN", "someone")).contact("7")


# --- the notice


def test_a_notice_says_what_became_of_the_money_and_is_taken_once(sandbox: Sandbox) -> None:
    money = {RETURN_MONEY: {"ch_1": "refunded 34.00 USD by re_1"}}
    telling = Job(MONEY.case, job(TELL_CUSTOMER).action, money)
    for _ in range(2):
        assert sandbox.notices.tell(telling) == {"notice": "settle/7-1/tell-customer"}
    (taken,) = httpx.get(f"{sandbox.url}/sandbox/notices", headers=ADMIN).json()
    assert (taken["id"], taken["subject"]) == ("settle/7-1/tell-customer", "7-1")
    assert taken["data"]["money"] == money[RETURN_MONEY]
    with pytest.raises(Refused, match="taken before with another content"):
        sandbox.notices.tell(replace(telling, evidence={}))


def test_a_notice_by_another_secret_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(Refused, match="the signature is not by our secret"):
        Notices(sandbox.endpoint("notices", "SHOP_TOKEN")).tell(job(TELL_CUSTOMER))


# --- all of them, at a bad hour


def test_at_a_bad_hour_each_effect_comes_about_once(sandbox: Sandbox) -> None:
    """Two in five requests are throttled, refused for now, late, carried out with their answer lost, or signed out."""
    numbers = range(5)
    for number in numbers:
        sandbox.charge(f"ch_{number}", f"{number}-1", captured=number % 2 == 0)
        sandbox.order(f"{number}-1", customer_id=str(number))
    sandbox.put(contacts=[contact(str(number)) for number in numbers])
    rules = {"share": 0.4, "seed": 1, "retry_after": 0, "slow_seconds": 0.01}
    httpx.put(f"{sandbox.url}/sandbox/faults", headers=ADMIN, json=rules).raise_for_status()
    crm, ports = sandbox.crm, (sandbox.payments.return_money, sandbox.shop.cancel, sandbox.notices.tell)
    try:
        for number in numbers:
            for step, call in zip((RETURN_MONEY, CANCEL_ORDER, TELL_CUSTOMER), ports, strict=True):
                until_answered(call, job(step, order_id=f"{number}-1"))
            contact_id, _ = until_answered(crm.contact, str(number))
            until_answered(crm.set_flag, contact_id, "confirmed")
        happened = httpx.get(f"{sandbox.url}/sandbox/faults", headers=ADMIN).json()["happened"]
    finally:
        httpx.delete(f"{sandbox.url}/sandbox/faults", headers=ADMIN).raise_for_status()
    assert happened["lost"] >= 3, "carried out, but nobody was told: the case that matters"
    assert [len(sandbox.refunds(f"ch_{number}")) for number in numbers] == [1] * len(numbers)
    assert [crm.contact(str(number))[1] for number in numbers] == ["confirmed"] * len(numbers)
    taken = httpx.get(f"{sandbox.url}/sandbox/notices", headers=ADMIN).json()
    assert sorted(notice["subject"] for notice in taken) == [f"{number}-1" for number in numbers]
    for number in numbers:
        assert sandbox.shop.cancel(job(CANCEL_ORDER, order_id=f"{number}-1"))["cancelled for"] == "FRAUD"


def until_answered(call: Any, *given: Any) -> Any:
    """As Airflow does it with a task."""
    for _ in range(20):
        try:
            return call(*given)
        except SourceUnavailable:
            continue
    raise AssertionError("never answered")
