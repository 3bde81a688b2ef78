"""The application of Starlette: every call of every API, behind the guard."""

import logging
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.catalog_api import CATALOG_CALLS
from cdc_local.workspace.client_api import CLIENT_CALLS
from cdc_local.workspace.files_api import VOLUME_FILE_CALLS, VOLUME_FILE_UPLOADS
from cdc_local.workspace.guard import Guard
from cdc_local.workspace.jobs_api import JOB_CALLS
from cdc_local.workspace.local_workspace import Workspace
from cdc_local.workspace.permissions_api import PERMISSION_CALLS
from cdc_local.workspace.pipelines_api import PIPELINE_CALLS
from cdc_local.workspace.queries_api import QUERY_CALLS
from cdc_local.workspace.request import RequestHandler, answer_with, error_response
from cdc_local.workspace.sql_api import SQL_CALLS
from cdc_local.workspace.workspace_api import WORKSPACE_CALLS, WORKSPACE_UPLOADS

log = logging.getLogger(__name__)

CALLS = {
    **WORKSPACE_CALLS,
    **VOLUME_FILE_CALLS,
    **CATALOG_CALLS,
    **PERMISSION_CALLS,
    **PIPELINE_CALLS,
    **JOB_CALLS,
    **SQL_CALLS,
    **QUERY_CALLS,
    **CLIENT_CALLS,
}  # Method and path -> who answers

_UPLOADS = {**WORKSPACE_UPLOADS, **VOLUME_FILE_UPLOADS}  # The same for those that read the request themselves

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


def create_app(
    workspace: Workspace,  # Who answers
    token: str,  # What each call must have
) -> Starlette:
    "Make a route of each call; what has none is answered with 404."
    handlers = {name: answer_with(handler) for name, handler in CALLS.items()} | _UPLOADS
    routes = [_make_route(workspace, name, handler) for name, handler in handlers.items()]
    unknown = _make_endpoint(workspace, "an unknown call", _answer_unknown)
    routes.append(Route("/{path:path}", unknown, methods=_METHODS))
    return Starlette(routes=routes, middleware=[Middleware(Guard, token=token)])


def _make_route(workspace: Workspace, name: str, handler: RequestHandler) -> Route:
    "Make a route of a call's method and path."
    method, path = name.split(" ", 1)
    return Route(path, _make_endpoint(workspace, name, handler), methods=[method])


def _make_endpoint(
    workspace: Workspace, name: str, handler: RequestHandler
) -> Callable[[Request], Awaitable[Response]]:
    "Log each call, and answer its errors."

    async def endpoint(request: Request) -> Response:
        try:
            response = await handler(workspace, request)
        except Exception as error:
            response = error_response(error, name)
        log.info("%s %s: %s", request.method, request.url.path, response.status_code)
        return response

    return endpoint


async def _answer_unknown(workspace: Workspace, request: Request) -> Response:
    "Answer that there is no such call, and log it: it may be one that is worth having."
    log.warning("not known here: %s %s", request.method, request.url.path)
    raise CallError(
        "ENDPOINT_NOT_FOUND",
        f"No API found for '{request.method} {request.url.path}'. The local workspace knows files, schemas,"
        " volumes, pipelines, jobs and SQL statements.",
    )
