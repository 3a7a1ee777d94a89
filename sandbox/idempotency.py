"""Stripe's idempotency keys: the first answer under a key is kept and given again, never worked out again.

Public documentation: docs.stripe.com/api/idempotent_requests. Answers are kept from the moment the work begins, errors
included; a request that is malformed leaves its key free. Keys are kept for as long as the sandbox runs (Stripe: at
least 24 hours).
"""

from collections.abc import Callable

from fastapi.responses import JSONResponse

from sandbox.payments import Payments
from sandbox.refused import Refused

LONGEST_KEY = 255


class Malformed(Refused):
    """The parameters are wrong: nothing was begun, so that the answer is not kept."""


def once(payments: Payments, key: str | None, asked: object, work: Callable[[], JSONResponse]) -> JSONResponse:
    """Do the work, or give the answer that an earlier request under this key got.

    Args:
        payments: where answers are kept.
        key: of the header ``Idempotency-Key``; None does the work in any case.
        asked: method, path and parameters, which must not differ under one key.
        work: makes the answer, may raise Refused.

    Raises:
        Refused: the key is too long, or was used for another request.
        Malformed: from ``work``.
    """
    if key is None:
        return work()
    if len(key) > LONGEST_KEY:
        raise Refused(400, f"Idempotency keys cannot exceed {LONGEST_KEY} characters.", kind="idempotency_error")
    if key in payments.kept:
        before, answer = payments.kept[key]
        if before != asked:
            raise Refused(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )
        replay = JSONResponse(None, answer.status_code, {"Idempotency-Key": key, "Idempotent-Replayed": "true"})
        replay.body = answer.body
        replay.headers["content-length"] = str(len(answer.body))
        return replay
    try:
        answer = work()
    except Malformed:
        raise
    except Refused as refused:
        answer = refused.answer()
    answer.headers["Idempotency-Key"] = key
    payments.kept[key] = asked, answer
    return answer
