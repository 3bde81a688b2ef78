"""Who may look: a browser on this machine that was given the token, and what it may then load."""

import hmac
import re
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OWN_HOST_NAMES = ("127.0.0.1", "localhost", "[::1]")  # Names that a client may call this server by

_HEADERS = {
    # Scripts, styles and pictures are files of this server; no page of another one may show ours
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_own_host(
    host: str,  # `Host` of a request
) -> bool:
    "Tell a request that names this machine; a page whose own name leads here does not."
    return host.lower().rpartition(":")[0] in OWN_HOST_NAMES or host.lower() in OWN_HOST_NAMES


def has_control_character(
    path: str,  # Of a request
) -> bool:
    "Whether a path could write lines of its own into a log."
    return re.search(r"[\x00-\x1f\x7f]", path) is not None


class PageGuard:
    """Lets a browser in that names this machine and has the token: once in the address, then in a cookie.

    The address without the token is where the browser is sent, so that neither its history nor a copied
    link keeps it.
    """

    def __init__(
        self,
        app: ASGIApp,  # Answers what may pass
        token: str,  # What opens the pages
    ) -> None:
        self.app = app
        self._token = token

    def refusal(
        self,
        scope: Scope,  # A request
    ) -> Response | None:  # None: it may pass
        "Say why a request may not pass, or send a browser that shows the token on with a cookie."
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if not is_own_host(headers.get("host", "")):
            return _refuse(403, f"Host {headers.get('host', '')!r} is not this machine; call it 127.0.0.1.")
        if has_control_character(scope["path"]):
            return _refuse(400, "The path has a control character.")
        if scope["method"] not in ("GET", "HEAD"):
            return _refuse(405, "These pages are for reading: GET is all that they answer.", {"Allow": "GET"})
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        shown = [value for name, value in query if name == "token"]
        if any(self._is_token(value) for value in shown):
            return self._let_in(scope, [(name, value) for name, value in query if name != "token"])
        if shown or not self._is_token(_read_cookie(headers.get("cookie", ""), cookie_name(scope))):
            return _refuse(
                401, "Open the address that the command has printed: it has the token that is missing."
            )
        return None

    def _is_token(self, value: str) -> bool:
        return hmac.compare_digest(value.encode(), self._token.encode())

    def _let_in(
        self,
        scope: Scope,  # A request that shows the token
        query: list[tuple[str, str]],  # The rest of its query
    ) -> Response:
        "Keep the token in a cookie that no script reads and no other site sends."
        path = "/" + scope["path"].lstrip("/")  # two slashes would name another host
        response = RedirectResponse(path + (f"?{urlencode(query)}" if query else ""), 303)
        response.set_cookie(cookie_name(scope), self._token, httponly=True, samesite="strict", path="/")
        return response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self.refusal(scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await (refusal or self.app)(scope, receive, send_guarded)


def cookie_name(
    scope: Scope,  # A request
) -> str:  # Cookies are of a host, not of a port: each server has a name of its own
    "Name the cookie of this server."
    return f"cdc_pages_{(scope.get('server') or ('', 0))[1]}"


def _read_cookie(
    text: str,  # `Cookie` of a request
    name: str,  # Which cookie
) -> str:  # Empty where there is none
    cookies = SimpleCookie()
    try:
        cookies.load(text)
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""


def _refuse(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(text + "\n", status, headers)
