"""Who may call: only programs of this machine that have the token."""

import hmac
import logging

from starlette.types import ASGIApp, Receive, Scope, Send

from cdc_local.pages.guard import has_control_character, is_own_host
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.client_api import SIGN_IN_PATH
from cdc_local.workspace.request import error_response

log = logging.getLogger(__name__)

_OPEN_PATHS = (SIGN_IN_PATH,)  # Answered without a token


class Guard:
    """Lets calls through that name this machine and have the token.

    A page in a browser can reach a port of this machine; one whose own name leads here is refused.
    """

    def __init__(
        self,
        app: ASGIApp,  # Answers the calls that may pass
        token: str,  # What each call must have
    ) -> None:
        self.app = app
        self._expected = f"Bearer {token}".encode()

    def refusal(
        self,
        path: str,  # Path of a call
        headers: dict[bytes, bytes],  # Its headers, in lower case
    ) -> CallError | None:  # None: it may pass
        "Say why a call may not pass."
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not is_own_host(host):
            return CallError("PERMISSION_DENIED", f"host {host!r} is not this machine; call it 127.0.0.1")
        if has_control_character(path):
            return CallError("INVALID_PARAMETER_VALUE", f"path {path!r} has a control character")
        if path in _OPEN_PATHS or hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
            return None
        return CallError(
            "UNAUTHENTICATED",
            "the token is missing or wrong; DATABRICKS_TOKEN must be what `cdc workspace` says",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self.refusal(scope["path"], dict(scope["headers"])) if scope["type"] == "http" else None
        if refusal is None:
            await self.app(scope, receive, send)
            return
        log.warning("refused %s %s: %s", scope["method"], scope["path"], refusal.error_code)
        await error_response(refusal, scope["path"])(scope, receive, send)
