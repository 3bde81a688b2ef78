"""Calls of the Workspace API: files, folders and notebooks below `/Workspace`."""

import base64
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from cdc_local.workspace.call import Answer, Call, CallTable
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.files import delete_object, describe_object, list_folder, make_folder
from cdc_local.workspace.local_workspace import Workspace
from cdc_local.workspace.paths import NOTEBOOK_LANGUAGES, NOTEBOOK_MARKS
from cdc_local.workspace.permissions import FILE_KINDS
from cdc_local.workspace.request import RequestTable, answer_with, receive_file
from cdc_local.workspace.uploads import save_file


def _show_object(call: Call) -> dict[str, Any]:
    "Describe what `path` names."
    return describe_object(call.workspace.paths, call.text("path"))


def _list_objects(call: Call) -> dict[str, Any]:
    "List the folder `path`."
    return {"objects": list_folder(call.workspace.paths, call.text("path"))}


def _make_folder(call: Call) -> None:
    "Make the folder `path`, and those above it."
    make_folder(call.workspace.paths, call.text("path"))


def _delete_with_permissions(call: Call) -> None:
    "Delete `path`, `recursive` or not, and the permissions of what is gone."
    for number in delete_object(call.workspace.paths, call.text("path"), call.flag("recursive")):
        for kind in FILE_KINDS:
            call.workspace.state.delete("permissions", f"{kind}/{number}")


def _import_content(call: Call) -> dict[str, Any]:
    "Write a file or notebook whose `content` comes in base 64."
    try:
        content = base64.b64decode(call.text("content", ""), validate=True)
    except ValueError as error:
        raise CallError("INVALID_PARAMETER_VALUE", f"content is not base 64: {error}") from None
    return import_object(call, content)


def import_object(
    call: Call,  # `path`, `format`, `language`, `overwrite`
    content: bytes,  # Of the file
) -> dict[str, Any]:
    "Write a file or notebook; a notebook in source form gets the first line that makes it one."
    path = call.text("path")
    file_format = call.text("format", "") or "SOURCE"
    if file_format not in ("SOURCE", "AUTO", "JUPYTER", "RAW"):
        raise CallError(
            "NOT_IMPLEMENTED", f"format {file_format!r} is not known here; SOURCE, AUTO, JUPYTER and RAW are"
        )
    if file_format == "SOURCE":
        suffix = _source_suffix(path, call.text("language", ""))
        path += suffix
        mark = NOTEBOOK_MARKS[suffix]
        content = content if content.startswith(mark) else mark + b"\n" + content
    if file_format == "JUPYTER" and not path.endswith(".ipynb"):
        path += ".ipynb"
    workspace = call.workspace
    save_file(workspace.paths, path, [content], call.flag("overwrite"), limit=workspace.upload_limit)
    return {}


def _source_suffix(path: str, language: str) -> str:
    "Choose the suffix of a notebook in source form; `CallError` for a language that is not known."
    for suffix, known in NOTEBOOK_LANGUAGES.items():
        if known == language and suffix in NOTEBOOK_MARKS:
            return suffix
    languages = ", ".join(sorted(set(NOTEBOOK_LANGUAGES.values())))
    raise CallError("INVALID_PARAMETER_VALUE", f"language {language!r} of {path} is none of {languages}")


def _export_object(call: Call) -> Answer:
    "Read the file or notebook `path`: as it is with `direct_download`, else in base 64."
    found = describe_object(call.workspace.paths, call.text("path"))
    if found["object_type"] == "DIRECTORY":
        raise CallError("NOT_IMPLEMENTED", f"{found['path']} is a folder; folders are not exported here")
    local_path = call.workspace.paths.local(found["path"])
    if call.flag("direct_download"):
        return FileResponse(local_path, media_type="application/octet-stream")
    content = base64.b64encode(local_path.read_bytes()).decode()
    return {"content": content, "file_type": local_path.suffix[1:]}


WORKSPACE_CALLS: CallTable = {
    "GET /api/2.0/workspace/get-status": _show_object,
    "GET /api/2.0/workspace/list": _list_objects,
    "POST /api/2.0/workspace/mkdirs": _make_folder,
    "POST /api/2.0/workspace/delete": _delete_with_permissions,
    "POST /api/2.0/workspace/import": _import_content,
    "GET /api/2.0/workspace/export": _export_object,
}


async def _import_file(workspace: Workspace, request: Request) -> Response:
    "Receive a file as the body; its folder must be there."
    path = "/" + request.path_params["path"].lstrip("/")
    await receive_file(workspace, request, path, make_parents=False)
    return JSONResponse({})


async def _import_form(workspace: Workspace, request: Request) -> Response:
    "Receive a file as a form, as the SDK sends it, or as JSON."
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await answer_with(_import_content)(workspace, request)
    async with request.form(max_files=1, max_fields=10) as form:
        file = form.get("content", "")
        content = file.encode() if isinstance(file, str) else await file.read()
        values = {name: value for name, value in form.items() if isinstance(value, str)}
    return JSONResponse(await run_in_threadpool(import_object, Call(workspace, values), content))


WORKSPACE_UPLOADS: RequestTable = {
    "POST /api/2.0/workspace-files/import-file/{path:path}": _import_file,
    "POST /api/2.0/workspace/import": _import_form,
}
