"""Decimal amounts into integers of minor units."""

from decimal import Decimal

# ISO 4217, minor units: the currencies whose number of decimals is not two.
_DECIMALS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}

MOST = 10**15
"""Minor units; keeps every amount, and sums of a thousand of them, within the 64 bits of its column."""


def minor_units(amount: str, currency: str) -> int:
    """Return ``amount`` ("12.30") in minor units of ``currency`` (1230 for USD, 12 for JPY "12").

    Raises:
        ValueError: no number, or more decimals than the currency has.
    """
    try:
        scaled = Decimal(amount).scaleb(_DECIMALS.get(currency, 2))
        whole = int(scaled)
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"{amount!r} is no amount") from error
    if abs(whole) > MOST:
        raise ValueError(f"{amount!r} is more than any order can cost")
    if scaled != whole:
        raise ValueError(f"{amount!r} has more decimals than {currency} knows")
    return whole
