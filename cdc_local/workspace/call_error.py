"""A call that was refused, in the words of Databricks' REST API."""

from cdc_local.errors import PipelineError

_HTTP_STATUS = {
    "INVALID_PARAMETER_VALUE": 400,
    "MALFORMED_REQUEST": 400,
    "DIRECTORY_NOT_EMPTY": 400,
    "SCHEMA_NOT_EMPTY": 400,
    "SCHEMA_ALREADY_EXISTS": 400,
    "VOLUME_ALREADY_EXISTS": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "SCHEMA_DOES_NOT_EXIST": 404,
    "VOLUME_DOES_NOT_EXIST": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "RESOURCE_ALREADY_EXISTS": 409,
    "RESOURCE_CONFLICT": 409,
    "REQUEST_ENTITY_TOO_LARGE": 413,
    "INTERNAL_ERROR": 500,
    "NOT_IMPLEMENTED": 501,
}  # Error code -> status of the HTTP response


class CallError(PipelineError):
    "A call of the workspace that was refused: a code that programs read, and a sentence."

    def __init__(
        self,
        error_code: str,  # As Databricks names it; one of `_HTTP_STATUS`
        message: str,  # The thing, the value received, what to do
    ) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.status = _HTTP_STATUS[error_code]

    @property
    def answer(self) -> dict[str, str]:  # `error_code` and `message`
        "The body of the response."
        return {"error_code": self.error_code, "message": str(self)}
