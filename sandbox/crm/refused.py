"""Errors in Salesforce's shape: a JSON list of objects with ``message`` and ``errorCode``."""

from fastapi.responses import JSONResponse


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of the HTTP answer.
        code: Salesforce's ``errorCode``.
        fields: names of the fields concerned; None leaves ``fields`` out.
    """

    def __init__(self, status: int, code: str, message: str, fields: list[str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.fields = fields

    def answer(self) -> JSONResponse:
        """The HTTP answer."""
        error: dict[str, object] = {"message": str(self), "errorCode": self.code}
        if self.fields is not None:
            error["fields"] = self.fields
        return JSONResponse([error], self.status)


def not_found() -> Refused:
    """There is nothing at this address."""
    return Refused(404, "NOT_FOUND", "The requested resource does not exist")
