"""Calls of the Files API: files and folders of volumes."""

import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from cdc_local.workspace.call import Call, CallTable
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.files import delete_object, list_volume_folder, make_folder
from cdc_local.workspace.local_workspace import Workspace
from cdc_local.workspace.paths import check_path
from cdc_local.workspace.request import RequestTable, receive_file


def _volume_path(call: Call) -> str:
    "Read `path`, which must be in a volume that was declared."
    return call.workspace.check_volume_path(call.text("path"))


def _read_file(call: Call) -> Response:
    "Read the file `path`; a folder is none."
    path = _volume_path(call)
    local_path = call.workspace.paths.local(path)
    if not local_path.is_file():
        raise CallError("RESOURCE_DOES_NOT_EXIST", f"The file {path} does not exist.")
    return FileResponse(local_path, media_type="application/octet-stream")


def _delete_file(call: Call) -> None:
    "Delete the file `path`."
    path = _volume_path(call)
    _refuse_volume_itself(path)
    if not call.workspace.paths.local(path).is_file():
        raise CallError("RESOURCE_DOES_NOT_EXIST", f"The file {path} does not exist.")
    delete_object(call.workspace.paths, path)


def _delete_folder(call: Call) -> None:
    "Delete the folder `path`, which must be empty."
    path = _volume_path(call)
    _refuse_volume_itself(path)
    if not call.workspace.paths.local(path).is_dir():
        raise CallError("RESOURCE_DOES_NOT_EXIST", f"The directory {path} does not exist.")
    delete_object(call.workspace.paths, path)


def _refuse_volume_itself(path: str) -> None:
    "Raise `CallError` for the path of a volume: it is dropped in the catalog."
    if len(check_path(path)) == 4:
        raise CallError("INVALID_PARAMETER_VALUE", f"{path} is the volume itself; delete that in the catalog")


def _list_folder(call: Call) -> dict[str, Any]:
    "List the folder `path`."
    entries = list_volume_folder(call.workspace.paths, _volume_path(call))
    return call.page("contents", entries, "page_size", 1000)


def _make_folder(call: Call) -> None:
    "Make the folder `path`, and those above it."
    make_folder(call.workspace.paths, _volume_path(call))


def _begin_parts(call: Call) -> dict[str, Any]:
    "Begin an upload in parts, for which `_refuse_parts` then has no addresses: the SDK sends the file whole."
    _volume_path(call)
    if call.text("action", "") != "initiate-upload":
        raise CallError("NOT_IMPLEMENTED", "this workspace takes a file in one piece, by PUT")
    return {"multipart_upload": {"session_token": secrets.token_urlsafe()}}


VOLUME_FILE_CALLS: CallTable = {
    "GET /api/2.0/fs/files{path:path}": _read_file,
    "DELETE /api/2.0/fs/files{path:path}": _delete_file,
    "POST /api/2.0/fs/files{path:path}": _begin_parts,
    "GET /api/2.0/fs/directories{path:path}": _list_folder,
    "PUT /api/2.0/fs/directories{path:path}": _make_folder,
    "DELETE /api/2.0/fs/directories{path:path}": _delete_folder,
}


async def _put_file(workspace: Workspace, request: Request) -> Response:
    "Receive a file as the body; the folders above it are made."
    path = workspace.check_volume_path(request.path_params["path"])
    await receive_file(workspace, request, path, make_parents=True)
    return Response(status_code=204)


async def _refuse_parts(workspace: Workspace, request: Request) -> Response:
    "Answer that a file comes in one piece."
    raise CallError(
        "NOT_IMPLEMENTED", f"{request.url.path}: this workspace takes and gives a file in one piece"
    )


VOLUME_FILE_UPLOADS: RequestTable = {
    "PUT /api/2.0/fs/files{path:path}": _put_file,
    "POST /api/2.0/fs/create-upload-part-urls": _refuse_parts,
    "POST /api/2.0/fs/create-resumable-upload-url": _refuse_parts,
    "POST /api/2.0/fs/create-abort-upload-url": _refuse_parts,
    "POST /api/2.0/fs/create-download-url": _refuse_parts,
}
