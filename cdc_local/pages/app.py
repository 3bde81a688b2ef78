"""The addresses of the pages, and who answers at each."""

import logging
import threading
from collections.abc import Callable
from functools import wraps

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from cdc_local.errors import PipelineError
from cdc_local.pages import event_page, update_pages
from cdc_local.pages.guard import PageGuard
from cdc_local.pages.page import Page, PageCall, PageNotFoundError, Site
from cdc_local.pages.rendering import ROOM, render
from cdc_local.storage import Storage

_log = logging.getLogger(__name__)

PAGES: dict[str, Page] = {**update_pages.PAGES, **event_page.PAGES}  # Path -> who answers


def create_app(
    storage: Storage,  # What to show
    token: str,  # What opens the pages
    stopping: threading.Event,  # Set when the server ends
) -> Starlette:
    "Serve the pages of a storage, to those who have the token."
    return Starlette(
        routes=create_routes(Site(storage, stopping)), middleware=[Middleware(PageGuard, token=token)]
    )


def create_routes(
    site: Site,  # What to show
) -> list[BaseRoute]:
    "Make a route of each page; what has none is answered with a page that says so."
    routes: list[BaseRoute] = [Mount("/static", StaticFiles(directory=ROOM / "static"))]
    routes += [Route(path, _make_endpoint(site, page), methods=["GET"]) for path, page in PAGES.items()]
    routes.append(Route("/{path:path}", _make_endpoint(site, _answer_unknown), methods=["GET"]))
    return routes


def _make_endpoint(
    site: Site,  # What to show
    page: Page,  # Who answers
) -> Callable[[Request], Response]:
    "Answer what goes wrong with a page that says so."

    @wraps(page)
    def endpoint(request: Request) -> Response:
        values = {**request.query_params, **request.path_params}
        try:
            return page(PageCall(site, values, request.url.path))
        except PageNotFoundError as error:
            return _answer_error(site, 404, "There is no such page", error.message, error.hint)
        except PipelineError as error:
            return _answer_error(site, 503, "This cannot be shown", error.message, error.hint)
        except Exception as error:
            _log.exception("%s", request.url.path)
            message = f"{type(error).__name__}: {error}"
            return _answer_error(site, 500, "This should not have happened", message, "")

    return endpoint


def _answer_error(site: Site, status: int, title: str, message: str, hint: str) -> Response:
    return render("error.html", status, site=site, title=title, message=message, hint=hint)


def _answer_unknown(call: PageCall) -> Response:
    raise PageNotFoundError(f"Nothing is at {call.path}.")
