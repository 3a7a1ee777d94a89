"""Scorecard version 1, set by hand: haste, shared devices and ips, bursts, odd amounts."""

from order_fraud.scorecard import Bin, Line, Scorecard

SCORECARD = Scorecard(
    version="1",
    threshold=50,
    lines=(
        Line(
            signal="customer.account_age_s",
            bins=(
                Bin(
                    code="order-before-sign-up",
                    high=0.0,
                    points=20,
                    text="The order is dated {value} seconds from the sign-up, before the account existed.",
                ),
                Bin(
                    code="order-at-sign-up",
                    low=0.0,
                    high=61.0,
                    points=60,
                    text="The order came {value} seconds after the sign-up.",
                ),
                Bin(
                    code="order-soon-after-sign-up",
                    low=61.0,
                    high=900.0,
                    points=20,
                    text="The order came {value} seconds after the sign-up.",
                ),
            ),
        ),
        Line(
            signal="customer.orders_1h",
            bins=(
                Bin(
                    code="customer-burst",
                    low=3.5,
                    points=50,
                    text="The customer placed about {value} orders within an hour.",
                ),
                Bin(
                    code="customer-hurry",
                    low=1.9,
                    high=3.5,
                    points=15,
                    text="The customer placed about {value} orders within an hour.",
                ),
            ),
        ),
        Line(
            signal="customer.amount_z",
            bins=(
                Bin(
                    code="amount-far-above-usual",
                    low=6.0,
                    points=35,
                    text="The amount lies {value} times the customer's usual spread above the usual.",
                ),
                Bin(
                    code="amount-above-usual",
                    low=3.0,
                    high=6.0,
                    points=20,
                    text="The amount lies {value} times the customer's usual spread above the usual.",
                ),
            ),
        ),
        Line(
            signal="device.customers",
            bins=(
                Bin(
                    code="device-shared-by-many",
                    low=3.0,
                    points=60,
                    text="{value} different customers used this device.",
                ),
                Bin(
                    code="device-shared",
                    low=2.0,
                    high=3.0,
                    points=50,
                    text="{value} different customers used this device.",
                ),
            ),
        ),
        Line(
            signal="ip.customers",
            bins=(
                Bin(
                    code="ip-shared-by-many",
                    low=5.0,
                    points=50,
                    text="{value} different customers came from this ip address.",
                ),
                Bin(
                    code="ip-shared",
                    low=3.0,
                    high=5.0,
                    points=20,
                    text="{value} different customers came from this ip address.",
                ),
            ),
        ),
        Line(
            signal="ip.orders_1h",
            bins=(
                Bin(
                    code="ip-burst",
                    low=5.0,
                    points=30,
                    text="About {value} orders came from this ip address within an hour.",
                ),
            ),
        ),
    ),
)
