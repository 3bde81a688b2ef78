"""Calls that a client makes before and beside its work: who am I, where do I sign in, telemetry."""

from typing import Any

from starlette.responses import JSONResponse, Response

from cdc_local.workspace.call import Call, CallTable
from cdc_local.workspace.paths import object_id


def _show_current_user(call: Call) -> Response:
    "Describe the user, as the CLI looks for: id, name, groups; a header has the workspace's id."
    name = call.workspace.user
    groups = [
        {"display": group, "type": "direct", "value": str(object_id(f"/Groups/{group}"))}
        for group in ("admins", "users")
    ]
    user = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": str(object_id(f"/Users/{name}")),
        "userName": name,
        "displayName": name.partition("@")[0],
        "active": True,
        "emails": [{"type": "work", "value": name, "primary": True}],
        "groups": groups,
    }
    return JSONResponse(user, headers={"X-Databricks-Org-Id": str(call.workspace.number)})


def _show_sign_in(call: Call) -> dict[str, Any]:
    "Say where a client signs in; answered without a token."
    workspace = call.workspace
    return {"oidc_endpoint": f"{workspace.host}/oidc", "workspace_id": str(workspace.number)}


def _receive_telemetry(call: Call) -> dict[str, Any]:
    "Answer that what the CLI reports of itself has arrived; nothing is kept."
    logs = call.body.get("protoLogs")
    return {"errors": [], "numProtoSuccess": len(logs) if isinstance(logs, list) else 0}


SIGN_IN_PATH = "/.well-known/databricks-config"

CLIENT_CALLS: CallTable = {
    "GET /api/2.0/preview/scim/v2/Me": _show_current_user,
    f"GET {SIGN_IN_PATH}": _show_sign_in,
    "POST /telemetry-ext": _receive_telemetry,
}
