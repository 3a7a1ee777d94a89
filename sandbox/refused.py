"""How Stripe's API says no. Public documentation: docs.stripe.com/api/errors."""

from fastapi.responses import JSONResponse

_ERRORS_PAGE = "https://stripe.com/docs/error-codes/"


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of the HTTP answer.
        error: Stripe's error object.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, str] = {"message": message, "type": kind}
        if code:
            self.error |= {"code": code, "doc_url": _ERRORS_PAGE + code.replace("_", "-")}
        if param:
            self.error["param"] = param

    def answer(self) -> JSONResponse:
        """The HTTP answer."""
        return JSONResponse({"error": self.error}, self.status)


def integer(name: str, text: str) -> int:
    """A parameter that is a whole number.

    Raises:
        Refused: it is none.
    """
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise Refused(400, f"Invalid integer: {text}", "parameter_invalid_integer", name)
    return int(text)
