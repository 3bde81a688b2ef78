"""Calls of the Queries API: SQL that is saved under an id, for tasks of jobs to run."""

import uuid
from datetime import UTC, datetime
from typing import Any

from cdc_local.workspace.call import Call, CallTable
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.values import check_objects

_TEXTS = ("display_name", "description", "query_text", "catalog", "schema", "warehouse_id", "parent_path")


def _read_query(call: Call) -> dict[str, Any]:
    "Read the query that a call sends; `CallError` for a part that is no text."
    (query,) = check_objects("query", [call.body.get("query") or {}])
    for part in _TEXTS:
        if not isinstance(query.get(part, ""), str):
            raise CallError("INVALID_PARAMETER_VALUE", f"{part} is {query[part]!r}; it must be a text")
    return query


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _create_query(call: Call) -> dict[str, Any]:
    "Save a query."
    state = call.workspace.state
    query = _read_query(call) | {
        "id": str(uuid.uuid4()),
        "lifecycle_state": "ACTIVE",
        "owner_user_name": state.user,
        "last_modifier_user_name": state.user,
        "create_time": _now(),
        "update_time": _now(),
    }
    saved: dict[str, Any] = state.write("queries", query["id"], query)
    return saved


def _find_query(call: Call) -> dict[str, Any]:
    "Find the query `id`; `CallError` where there is none."
    key = call.text("id")
    query: dict[str, Any] = call.workspace.state.get("queries", key, f"Query {key} does not exist.")
    return query


def _update_query(call: Call) -> dict[str, Any]:
    "Change what `update_mask` names of the query `id`."
    state, changes = call.workspace.state, _read_query(call)
    mask = call.text("update_mask")
    named = changes.keys() if mask == "*" else set(mask.split(","))
    unknown = sorted(set(named) - {*_TEXTS, "parameters", "tags", "run_as_mode", "apply_auto_limit"})
    if unknown:
        raise CallError(
            "INVALID_PARAMETER_VALUE", f"update_mask names {', '.join(unknown)}, which no query has"
        )
    with state.lock:
        query = _find_query(call) | {part: value for part, value in changes.items() if part in named}
        saved: dict[str, Any] = state.write("queries", query["id"], query | {"update_time": _now()})
    return saved


def _list_queries(call: Call) -> dict[str, Any]:
    "List all queries."
    return call.page("results", call.workspace.state.all("queries"), "page_size", 20)


def _delete_query(call: Call) -> None:
    "Delete the query `id`."
    call.workspace.state.delete("queries", _find_query(call)["id"])


_ROOT = "/api/2.0/sql/queries"

QUERY_CALLS: CallTable = {
    f"POST {_ROOT}": _create_query,
    f"GET {_ROOT}": _list_queries,
    f"GET {_ROOT}/{{id}}": _find_query,
    f"PATCH {_ROOT}/{{id}}": _update_query,
    f"DELETE {_ROOT}/{{id}}": _delete_query,
}
