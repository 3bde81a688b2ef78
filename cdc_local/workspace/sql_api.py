"""Calls of the SQL APIs: the local warehouse, and statements that it answers."""

from typing import Any

from cdc_local.workspace.call import Call, CallTable
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.local_workspace import Workspace

_NAME = "Local warehouse"


def _warehouse_id(workspace: Workspace) -> str:
    "The id of the one warehouse: sixteen digits, the same after a restart."
    return f"{workspace.number:016x}"


def _describe_warehouse(workspace: Workspace) -> dict[str, Any]:
    "Describe the one warehouse."
    return {
        "id": _warehouse_id(workspace),
        "name": _NAME,
        "state": "RUNNING" if workspace.statements.warehouse.is_running else "STOPPED",
        "cluster_size": "2X-Small",
        "warehouse_type": "PRO",
        "enable_serverless_compute": True,
        "min_num_clusters": 1,
        "max_num_clusters": 1,
        "num_clusters": 1,
        "auto_stop_mins": 0,
        "creator_name": workspace.user,
    }


def _check_id(call: Call, name: str) -> None:
    "Refuse the id of a warehouse that there is not."
    asked, own = call.text(name), _warehouse_id(call.workspace)
    if asked != own:
        raise CallError(
            "RESOURCE_DOES_NOT_EXIST", f"SQL warehouse {asked} does not exist; the local one is {own}"
        )


def _list_warehouses(call: Call) -> dict[str, Any]:
    "List the one warehouse."
    return {"warehouses": [_describe_warehouse(call.workspace)]}


def _show_warehouse(call: Call) -> dict[str, Any]:
    "Describe the warehouse `id`."
    _check_id(call, "id")
    return _describe_warehouse(call.workspace)


def _start_warehouse(call: Call) -> None:
    "Start the warehouse."
    _check_id(call, "id")
    call.workspace.statements.warehouse.start()


def _stop_warehouse(call: Call) -> None:
    "Stop the warehouse: its processes end."
    _check_id(call, "id")
    call.workspace.statements.warehouse.stop()


def _execute_statement(call: Call) -> dict[str, Any]:
    "Start a statement, and answer with its rows if it ends within `wait_timeout`."
    _check_id(call, "warehouse_id")
    return call.workspace.statements.execute(call.body)


def _show_statement(call: Call) -> dict[str, Any]:
    "Describe a statement, with its first rows once it has succeeded."
    return call.workspace.statements.get(call.text("statement_id"))


def _show_chunk(call: Call) -> dict[str, Any]:
    "Answer with the rows of a chunk."
    return call.workspace.statements.chunk(call.text("statement_id"), call.number("chunk_index"))


def _cancel_statement(call: Call) -> None:
    "Cancel a statement."
    call.workspace.statements.cancel(call.text("statement_id"))


SQL_CALLS: CallTable = {
    "GET /api/2.0/sql/warehouses": _list_warehouses,
    "GET /api/2.0/sql/warehouses/{id}": _show_warehouse,
    "POST /api/2.0/sql/warehouses/{id}/start": _start_warehouse,
    "POST /api/2.0/sql/warehouses/{id}/stop": _stop_warehouse,
    "POST /api/2.0/sql/statements": _execute_statement,
    "POST /api/2.0/sql/statements/": _execute_statement,
    "GET /api/2.0/sql/statements/{statement_id}": _show_statement,
    "GET /api/2.0/sql/statements/{statement_id}/result/chunks/{chunk_index}": _show_chunk,
    "POST /api/2.0/sql/statements/{statement_id}/cancel": _cancel_statement,
}
