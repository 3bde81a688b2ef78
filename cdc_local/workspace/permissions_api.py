"""Calls of the Permissions API: who may do what with a job, a pipeline, a folder, a notebook or a file."""

from typing import Any

from cdc_local.workspace.call import Call, CallTable
from cdc_local.workspace.job_definitions import get_job
from cdc_local.workspace.permissions import read_permissions, write_permissions
from cdc_local.workspace.pipeline_definitions import get_pipeline


def _object(call: Call) -> tuple[str, str]:
    "Read `kind` and `number` of an object; `CallError` for a job or pipeline that is not there."
    kind, number = call.text("kind"), call.text("number")
    if kind == "jobs":
        get_job(call.workspace.state, number)
    if kind == "pipelines":
        get_pipeline(call.workspace.state, number)
    return kind, number


def _show_permissions(call: Call) -> dict[str, Any]:
    "Read the permissions of an object."
    return read_permissions(call.workspace.state, *_object(call))


def _set_permissions(call: Call) -> dict[str, Any]:
    "Replace the permissions of an object by `access_control_list`."
    kind, number = _object(call)
    return write_permissions(call.workspace.state, kind, number, call.objects("access_control_list"))


def _add_permissions(call: Call) -> dict[str, Any]:
    "Add `access_control_list` to the permissions of an object."
    kind, number = _object(call)
    changes = call.objects("access_control_list")
    return write_permissions(call.workspace.state, kind, number, changes, add=True)


PERMISSION_CALLS: CallTable = {
    "GET /api/2.0/permissions/{kind}/{number}": _show_permissions,
    "PUT /api/2.0/permissions/{kind}/{number}": _set_permissions,
    "PATCH /api/2.0/permissions/{kind}/{number}": _add_permissions,
}
