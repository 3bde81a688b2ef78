"""From a request of HTTP to a call, and from what a handler returns or raises to the response."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cdc_local.errors import PipelineError
from cdc_local.workspace.call import Call, Handler
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.local_workspace import Workspace
from cdc_local.workspace.uploads import Upload

log = logging.getLogger(__name__)

RequestHandler = Callable[[Workspace, Request], Awaitable[Response]]  # Answers a request itself: uploads do

RequestTable = Mapping[str, RequestHandler]  # Method and path -> who answers

_JSON_LIMIT = 32 * 2**20  # Bytes of a body that is not a file

_WRITE_SIZE = 2**20  # Bytes of a file that are written in one step


async def _read_body(
    request: Request,  # With a body that is no file
) -> bytes:
    "Read the body of a request to its end; `CallError` for one that is too large."
    content = bytearray()
    async for chunk in request.stream():
        if len(content) <= _JSON_LIMIT:
            content += chunk  # the rest is read and dropped, so that the client gets to the answer
    if len(content) > _JSON_LIMIT:
        raise CallError(
            "REQUEST_ENTITY_TOO_LARGE", f"the body of {request.url.path} is larger than {_JSON_LIMIT:,} bytes"
        )
    return bytes(content)


def _parse_body(
    content: bytes,  # A body
) -> dict[str, Any]:  # Empty for an empty body
    "Parse a body; `CallError` for one that is no JSON object."
    try:
        body = json.loads(content or b"{}")
        # Half a character or an endless number could not be answered.
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise CallError("MALFORMED_REQUEST", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise CallError("MALFORMED_REQUEST", f"the body is a {type(body).__name__}; a call has a JSON object")
    return body


def answer_with(
    handler: Handler,  # Answers the call
) -> RequestHandler:  # Runs it outside the server's loop, since it may wait for a disk
    "Let a handler of calls answer a request with a JSON body."

    async def answer(workspace: Workspace, request: Request) -> Response:
        body = _parse_body(await _read_body(request))
        call = Call(workspace, {**request.query_params, **body, **request.path_params}, body)
        made = await run_in_threadpool(handler, call)
        return made if isinstance(made, Response) else JSONResponse(made or {})

    return answer


async def receive_file(
    workspace: Workspace,  # Who answers
    request: Request,  # Its body is the file
    path: str,  # Where the file belongs
    make_parents: bool,  # Whether to make the folders above it
) -> None:
    "Write the body of a request to the disk as it comes; one that is too large is read, and then refused."
    refusal = None
    pending = bytearray()  # A small file goes to the disk in one step: each step changes the thread
    with Upload(workspace.paths, workspace.upload_limit) as upload:
        async for chunk in request.stream():
            if refusal is None:
                pending += chunk
            if len(pending) < _WRITE_SIZE:
                continue
            try:
                await run_in_threadpool(upload.write, bytes(pending))
            except CallError as error:
                refusal = error
            pending.clear()
        if refusal:
            raise refusal
        overwrite = request.query_params.get("overwrite") == "true"
        await run_in_threadpool(_finish_upload, upload, bytes(pending), path, overwrite, make_parents)


def _finish_upload(
    upload: Upload,  # A file that is arriving
    rest: bytes,  # Its last bytes
    path: str,  # Where it belongs
    overwrite: bool,  # Whether to replace a file that is there
    make_parents: bool,  # Whether to make the folders above it
) -> None:
    "Write the last bytes of a file, and move it into its place."
    upload.write(rest)
    upload.finish(path, overwrite, make_parents)


def error_response(
    error: Exception,  # What a handler raised
    request_name: str,  # Method and path, for the log
) -> Response:
    "Answer an error as Databricks does; a fault of this project goes to the log with its traceback."
    if not isinstance(error, CallError):
        log.error("%s failed by a fault of cdc_utils", request_name, exc_info=error)
        fault = f"this is a fault of the local workspace ({type(error).__name__}); its log has the traceback"
        error = CallError("INTERNAL_ERROR", str(error) if isinstance(error, PipelineError) else fault)
    return JSONResponse(error.answer, error.status)
