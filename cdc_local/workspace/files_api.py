"""Calls for files: the workspace's tree and the volumes."""

import base64
import secrets

from cdc_local.workspace.call import Call
from cdc_local.workspace.files import (
    NOTEBOOK_MARKS,
    SUFFIXES,
    CallError,
    check_path,
    check_volume,
    delete_object,
    describe_object,
    list_folder,
    list_volume,
    make_folder,
    save_file,
)


def import_object(
    call: Call,  # `path`, `format`, `language`, `overwrite`
    content: bytes,  # What it holds
) -> dict:
    "Write a file or notebook; a notebook in source form gets the first line that makes it one."
    path, kind, language = call.text("path"), call.text("format", "") or "SOURCE", call.text("language", "")
    if kind not in ("SOURCE", "AUTO", "JUPYTER", "RAW"):
        raise CallError(
            "NOT_IMPLEMENTED", f"format {kind!r} is not known here; SOURCE, AUTO, JUPYTER and RAW are"
        )
    if kind == "SOURCE":
        suffix = next(
            (suffix for suffix, name in SUFFIXES.items() if name == language and suffix in NOTEBOOK_MARKS),
            None,
        )
        if suffix is None:
            raise CallError(
                "INVALID_PARAMETER_VALUE",
                f"language {language!r} of {path} is none of {', '.join(sorted(set(SUFFIXES.values())))}",
            )
        path, content = (
            path + suffix,
            content
            if content.startswith(NOTEBOOK_MARKS[suffix])
            else NOTEBOOK_MARKS[suffix] + b"\n" + content,
        )
    if kind == "JUPYTER" and not path.endswith(".ipynb"):
        path += ".ipynb"
    save_file(call.workspace.places, path, [content], call.flag("overwrite"), limit=call.workspace.limit)
    return {}


def export_object(
    call: Call,  # `path`, `direct_download`
):  # The file, or its content in base 64
    "Read a file or notebook."
    from starlette.responses import FileResponse

    found = describe_object(call.workspace.places, call.text("path"))
    if found["object_type"] == "DIRECTORY":
        raise CallError("NOT_IMPLEMENTED", f"{found['path']} is a folder; folders are not exported here")
    place = call.workspace.places.local(found["path"])
    if call.flag("direct_download"):
        return FileResponse(place, media_type="application/octet-stream")
    return {"content": base64.b64encode(place.read_bytes()).decode(), "file_type": place.suffix[1:]}


def decode_content(
    call: Call,  # With `content`
) -> bytes:
    "Read content that came in base 64."
    try:
        return base64.b64decode(call.text("content", ""), validate=True)
    except ValueError as error:
        raise CallError("INVALID_PARAMETER_VALUE", f"content is not base 64: {error}") from None


def delete_with_permissions(
    call: Call,  # `path`, `recursive`
) -> None:
    "Delete, with the permissions of what is gone."
    for number in delete_object(call.workspace.places, call.text("path"), call.flag("recursive")):
        for kind in ("directories", "notebooks", "files"):
            call.workspace.state.drop("permissions", f"{kind}/{number}")


WORKSPACE_CALLS = {
    "GET /api/2.0/workspace/get-status": lambda call: describe_object(
        call.workspace.places, call.text("path")
    ),
    "GET /api/2.0/workspace/list": lambda call: {
        "objects": list_folder(call.workspace.places, call.text("path"))
    },
    "POST /api/2.0/workspace/mkdirs": lambda call: make_folder(call.workspace.places, call.text("path")),
    "POST /api/2.0/workspace/delete": delete_with_permissions,
    "POST /api/2.0/workspace/import": lambda call: import_object(call, decode_content(call)),
    "GET /api/2.0/workspace/export": export_object,
}


def read_volume_file(
    call: Call,  # `path`
):  # The file
    "Read a file of a volume; a folder is none."
    from starlette.responses import FileResponse

    path = check_volume(call.text("path"), call.workspace.declared)
    place = call.workspace.places.local(path)
    if not place.is_file():
        raise CallError("RESOURCE_DOES_NOT_EXIST", f"The file {path} does not exist.")
    return FileResponse(place, media_type="application/octet-stream")


def delete_in_volume(
    call: Call,  # `path`
    folder: bool,  # Whether a folder is meant
) -> None:
    "Delete a file, or a folder that is empty."
    path = check_volume(call.text("path"), call.workspace.declared)
    place = call.workspace.places.local(path)
    if len(check_path(path)) == 4:
        raise CallError("INVALID_PARAMETER_VALUE", f"{path} is the volume itself; delete that in the catalog")
    if not (place.is_dir() if folder else place.is_file()):
        raise CallError(
            "RESOURCE_DOES_NOT_EXIST", f"The {'directory' if folder else 'file'} {path} does not exist."
        )
    delete_object(call.workspace.places, path)


def make_in_volume(
    call: Call,  # `path`
) -> None:
    "Make a folder of a volume."
    make_folder(call.workspace.places, check_volume(call.text("path"), call.workspace.declared))


def begin_parts(
    call: Call,  # `action`
) -> dict:
    "Open an upload in parts, which then finds no address for its parts."
    check_volume(call.text("path"), call.workspace.declared)
    if call.text("action", "") != "initiate-upload":
        raise CallError("NOT_IMPLEMENTED", "this workspace takes a file in one piece, by PUT")
    return {"multipart_upload": {"session_token": secrets.token_urlsafe()}}


VOLUME_FILE_CALLS = {
    "GET /api/2.0/fs/files{path:path}": read_volume_file,
    "DELETE /api/2.0/fs/files{path:path}": lambda call: delete_in_volume(call, False),
    "POST /api/2.0/fs/files{path:path}": begin_parts,
    "GET /api/2.0/fs/directories{path:path}": lambda call: call.page(
        "contents",
        list_volume(call.workspace.places, check_volume(call.text("path"), call.workspace.declared)),
        "page_size",
        1000,
    ),
    "PUT /api/2.0/fs/directories{path:path}": make_in_volume,
    "DELETE /api/2.0/fs/directories{path:path}": lambda call: delete_in_volume(call, True),
}
