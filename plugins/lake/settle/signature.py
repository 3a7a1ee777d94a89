"""Signs what goes to a webhook, as Stripe signs its own events, so that a kept library can check it.

Public documentation: docs.stripe.com/webhooks/signature. The header holds ``t=<seconds>`` and ``v1=<hex>``, an
HMAC-SHA256 over ``<seconds>.<body>`` under a secret that both sides know.
"""

import hashlib
import hmac


def signature(body: bytes, secret: str, now: int) -> str:
    """The header's value for a body at a moment, in seconds since 1970."""
    signed = hmac.new(secret.encode(), str(now).encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={now},v1={signed}"
