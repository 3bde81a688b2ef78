"""A server on this machine that the `databricks` command and the Python SDK take for a workspace."""

import hmac
import json
import os
import re
import secrets
import shlex
import socket
import threading
from collections.abc import Callable
from contextlib import contextmanager
from types import SimpleNamespace

from cdc_local.errors import PipelineError, UsageError
from cdc_local.storage import Storage
from cdc_local.workspace.call import Call, Workspace, log
from cdc_local.workspace.catalog_api import CATALOG_CALLS
from cdc_local.workspace.files import CallError, Upload, check_volume, object_id
from cdc_local.workspace.files_api import VOLUME_FILE_CALLS, WORKSPACE_CALLS, import_object
from cdc_local.workspace.jobs_api import JOB_CALLS
from cdc_local.workspace.pipelines_api import PIPELINE_CALLS
from cdc_local.workspace.runs import Execution


def _me(
    call: Call,  # Nothing is asked
):
    "The user, as the CLI looks for: id, name, groups."
    from starlette.responses import JSONResponse

    workspace, name = call.workspace, call.workspace.user
    groups = [
        {"display": group, "type": "direct", "value": str(object_id(f"/Groups/{group}"))}
        for group in ("admins", "users")
    ]
    me = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": str(object_id(f"/Users/{name}")),
        "userName": name,
        "displayName": name.partition("@")[0],
        "active": True,
        "emails": [{"type": "work", "value": name, "primary": True}],
        "groups": groups,
    }
    return JSONResponse(me, headers={"X-Databricks-Org-Id": str(workspace.number)})


def _telemetry(
    call: Call,  # `protoLogs`
) -> dict:
    "Say that what the CLI tells of itself has arrived; nothing is kept."
    logs = call.body.get("protoLogs")
    return {"errors": [], "numProtoSuccess": len(logs) if isinstance(logs, list) else 0}


OTHERS = {
    "GET /api/2.0/preview/scim/v2/Me": _me,
    "GET /.well-known/databricks-config": lambda call: {
        "oidc_endpoint": f"{call.workspace.host}/oidc",
        "workspace_id": str(call.workspace.number),
    },
    "POST /telemetry-ext": _telemetry,
}

JSON_LIMIT = 32 * 2**20  # Bytes of a body that is not a file


async def read_body(
    request,  # A request of Starlette
) -> bytes:
    "The body of a call; `CallError` for one that is too large."
    content = bytearray()
    async for chunk in request.stream():
        if len(content) <= JSON_LIMIT:
            content += chunk  # what is too much is read and dropped, so that the client hears the answer
    if len(content) > JSON_LIMIT:
        raise CallError(
            "REQUEST_ENTITY_TOO_LARGE", f"the body of {request.url.path} is larger than {JSON_LIMIT:,} bytes"
        )
    return bytes(content)


def read_json_body(
    content: bytes,  # A body
) -> dict:
    "Read a body; `CallError` for one that is no JSON object."
    try:
        body = json.loads(content or b"{}")
        json.dumps(
            body, ensure_ascii=False, allow_nan=False
        ).encode()  # half a character or an endless number could not be answered
    except (ValueError, RecursionError) as error:
        raise CallError("MALFORMED_REQUEST", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise CallError("MALFORMED_REQUEST", f"the body is a {type(body).__name__}; a call has a JSON object")
    return body


def error_answer(
    error: Exception,  # What a handler raised
    asked: str,  # The call
):
    "An error, as Databricks answers it."
    from starlette.responses import JSONResponse

    if not isinstance(error, CallError):
        log.error("%s failed by a fault of cdc_utils", asked, exc_info=error)
        told = (
            error
            if isinstance(error, PipelineError)
            else f"this is a fault of the local workspace ({type(error).__name__}); its log has the traceback"
        )
        error = CallError("INTERNAL_ERROR", str(told))
    return JSONResponse(error.answer, error.status)


def make_endpoint(
    workspace: Workspace,  # Who answers
    asked: str,  # Method and path
    take: Callable,  # Coroutine function: the request to the answer
):
    "Log a call, and answer its errors."

    async def endpoint(request):
        try:
            answer = await take(workspace, request)
        except Exception as error:
            answer = error_answer(error, asked)
        log.info("%s %s: %s", request.method, request.url.path, answer.status_code)
        return answer

    return endpoint


def make_handler(
    handler: Callable,  # `Call` to what the API says
):
    "Let a handler answer a request, outside the server's loop: it may wait for a disk."
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, Response

    async def take(workspace, request):
        body = read_json_body(await read_body(request))
        made = await run_in_threadpool(
            handler, Call(workspace, {**request.query_params, **body, **request.path_params}, body)
        )
        return made if isinstance(made, Response) else JSONResponse(made or {})

    return take


async def receive_file(
    workspace: Workspace,  # Who answers
    request,  # A request of Starlette
    path: str,  # Where the file belongs
    parents: bool,  # Whether to make the folders above it
) -> None:
    "Write the body of a request into a file; one that is too large is read to its end, and then refused."
    from starlette.concurrency import run_in_threadpool

    refused = None
    with Upload(workspace.places, workspace.limit) as upload:
        async for chunk in request.stream():
            if refused:
                continue
            try:
                await run_in_threadpool(upload.write, chunk)
            except CallError as error:
                refused = error
        if refused:
            raise refused
        await run_in_threadpool(upload.finish, path, request.query_params.get("overwrite") == "true", parents)


async def put_volume_file(workspace: Workspace, request):
    "Take a file of a volume; the folders above it are made."
    from starlette.responses import Response

    path = check_volume(request.path_params["path"], workspace.declared)
    await receive_file(workspace, request, path, True)
    return Response(status_code=204)


async def import_file(workspace: Workspace, request):
    "Take a file of the workspace; its folder must be there."
    from starlette.responses import JSONResponse

    await receive_file(workspace, request, "/" + request.path_params["path"].lstrip("/"), False)
    return JSONResponse({})


async def import_form(workspace: Workspace, request):
    "Take a file of the workspace that comes as a form, as the SDK sends it, or as JSON."
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await make_handler(WORKSPACE_CALLS["POST /api/2.0/workspace/import"])(workspace, request)
    async with request.form(max_files=1, max_fields=10) as form:
        content = form.get("content", "")
        content = content.encode() if isinstance(content, str) else await content.read()
        values = {name: value for name, value in form.items() if isinstance(value, str)}
    return JSONResponse(await run_in_threadpool(import_object, Call(workspace, values), content))


async def answer_unknown(workspace: Workspace, request):
    "Say that there is no such call, here or in the log."
    log.warning("not known here: %s %s", request.method, request.url.path)
    raise CallError(
        "ENDPOINT_NOT_FOUND",
        f"No API found for '{request.method} {request.url.path}'. The local workspace knows files, schemas, volumes, pipelines and jobs.",
    )


async def refuse_parts(workspace: Workspace, request):
    "Say that a file comes in one piece."
    raise CallError(
        "NOT_IMPLEMENTED", f"{request.url.path}: this workspace takes and gives a file in one piece"
    )


LOOPBACK = ("127.0.0.1", "localhost", "[::1]")  # Names that a client may call this server by

OPEN = ("/.well-known/databricks-config",)  # Answered without a token


class Guard:
    "Let calls through that name this machine and carry the token."

    def __init__(self, app, token: str):
        self.app, self.expected = app, f"Bearer {token}".encode()

    def refusal(self, path: str, headers: dict[bytes, bytes]) -> CallError | None:
        "Why a call may not pass."
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if host.rpartition(":")[0] not in LOOPBACK and host not in LOOPBACK:
            return CallError("PERMISSION_DENIED", f"host {host!r} is not this machine; call it 127.0.0.1")
        if re.search(r"[\x00-\x1f\x7f]", path):
            return CallError("INVALID_PARAMETER_VALUE", f"path {path!r} has a control character")
        if path in OPEN or hmac.compare_digest(headers.get(b"authorization", b""), self.expected):
            return None
        return CallError(
            "UNAUTHENTICATED",
            "the token is missing or wrong; DATABRICKS_TOKEN must be what `cdc workspace` says",
        )

    async def __call__(self, scope, receive, send):
        refused = self.refusal(scope["path"], dict(scope["headers"])) if scope["type"] == "http" else None
        if refused is None:
            return await self.app(scope, receive, send)
        log.warning("refused %s %s: %s", scope["method"], scope["path"], refused.error_code)
        await error_answer(refused, scope["path"])(scope, receive, send)


def create_app(
    workspace: Workspace,  # Who answers
    token: str,  # What each call must carry
):  # An application of Starlette
    "Put the tables of calls together."
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Route

    special = {
        "PUT /api/2.0/fs/files{path:path}": put_volume_file,
        "POST /api/2.0/workspace-files/import-file/{path:path}": import_file,
        "POST /api/2.0/workspace/import": import_form,
    }
    special |= {
        f"POST /api/2.0/fs/create-{what}": refuse_parts
        for what in ("upload-part-urls", "resumable-upload-url", "abort-upload-url", "download-url")
    }
    takers = {
        name: make_handler(handler)
        for table in (WORKSPACE_CALLS, VOLUME_FILE_CALLS, CATALOG_CALLS, PIPELINE_CALLS, JOB_CALLS, OTHERS)
        for name, handler in table.items()
    } | special

    def route(name, take):
        method, path = name.split(" ", 1)
        return Route(path, make_endpoint(workspace, name, take), methods=[method])

    by_path = [route(name, take) for name, take in takers.items()]
    other = Route(
        "/{path:path}",
        make_endpoint(workspace, "an unknown call", answer_unknown),
        methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"],
    )
    return Starlette(routes=[*by_path, other], middleware=[Middleware(Guard, token=token)])


def listen_on_port(
    port: int,  # Where; 0 takes one that is free
) -> socket.socket:
    "Take a port of 127.0.0.1; `UsageError` if somebody has it."
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(("127.0.0.1", port))
        taken.listen(128)
    except OSError as error:
        taken.close()
        raise UsageError(
            f"port {port} of 127.0.0.1 cannot be taken: {error.strerror}", hint="--port 0 takes a free one"
        ) from None
    return taken


@contextmanager
def claim_workspace(
    storage: Storage,  # The folder to keep to one server
):
    "Hold the workspace of a storage; `UsageError` if another server holds it."
    from filelock import FileLock, Timeout

    root = storage.create().root / "workspace"
    root.mkdir(exist_ok=True)
    lock = FileLock(root / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"a workspace is running on storage {storage.root}",
            hint="stop it, or give --storage another folder",
        ) from None
    try:
        yield storage
    finally:
        lock.release()


def start_token(
    storage: Storage,  # Whose workspace
    given: str | None = None,  # A token of the user's own
) -> tuple[str, str]:  # The token, and how a shell gets it
    "Take the user's token, or make one and write it where only this user can read it; `UsageError` for one that can be guessed."
    if given is not None:
        if len(given) < 16 or not given.isascii() or not given.isprintable() or " " in given:
            raise UsageError(
                "CDC_WORKSPACE_TOKEN is no token",
                hint="give at least 16 characters, ASCII and no spaces, or leave it out",
            )
        return given, '"$CDC_WORKSPACE_TOKEN"'
    token, path = secrets.token_urlsafe(32), storage.root / "workspace" / "token"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    return token, f'"$(cat {shlex.quote(str(path))})"'


@contextmanager
def serve_workspace(
    storage: Storage,  # The folder that stands for the workspace
    user: str,  # Name of the user
    take_token: Callable,  # Called when the storage is ours: what each call must carry, and how a shell gets it
    port: int = 0,  # Where to listen; 0 takes a free port
    execution: Execution = None,  # What carries out runs; processes of this machine by default
    **options,  # `limit`, `refuse_job_environments` of `Workspace`
):
    "Answer calls in a thread until the block ends; what runs then is stopped, and the notes stay."
    import uvicorn

    with claim_workspace(storage), listen_on_port(port) as taken:
        token, shown = take_token()
        host = f"http://127.0.0.1:{taken.getsockname()[1]}"
        workspace = Workspace(storage, user, execution, host, **options)
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(workspace, token),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [taken]}, name="workspace-server", daemon=True
        )
        thread.start()
        try:
            yield SimpleNamespace(host=host, token=token, token_shown=shown, workspace=workspace)
        finally:
            workspace.runs.close()
            server.should_exit = True
            thread.join()
