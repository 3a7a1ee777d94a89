"""Errors in the shape of SAP Gateway: an object ``error`` with a code and a message in some language."""

from fastapi.responses import JSONResponse


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of the HTTP answer.
        code: the message's class and number.
        headers: of the HTTP answer.
    """

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers

    def answer(self) -> JSONResponse:
        """The HTTP answer."""
        details = {"transactionid": "", "errordetails": []}
        error = {"code": self.code, "message": {"lang": "en", "value": str(self)}, "innererror": details}
        return JSONResponse({"error": error}, self.status, self.headers)


def not_found(what: str) -> Refused:
    """There is nothing of that name."""
    return Refused(404, "/IWFND/CM_MGW/003", f"Resource not found for segment '{what}'")
