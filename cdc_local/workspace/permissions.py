"""Permissions of jobs, pipelines, folders, notebooks and files: remembered and answered, not enforced."""

from typing import Any

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.state import State

_OBJECT_TYPES = {
    "jobs": "job",
    "pipelines": "pipelines",
    "directories": "directory",
    "notebooks": "notebook",
    "files": "file",
}  # Kind of object in a path of the API -> its name in an answer

FILE_KINDS = ("directories", "notebooks", "files")  # Kinds that `object_id` numbers

_OWNED_KINDS = ("jobs", "pipelines")  # Kinds that have one owner

_PRINCIPAL_KEYS = ("user_name", "group_name", "service_principal_name")  # Who a permission is given to


def read_permissions(
    state: State,  # The notes
    kind: str,  # One of `_OBJECT_TYPES`
    number: str,  # Id of the object
) -> dict[str, Any]:  # As the API answers
    "Read who may do what with an object; a job or pipeline is its maker's until somebody else owns it."
    return {
        "object_id": f"/{kind}/{number}",
        "object_type": _OBJECT_TYPES[_check_kind(kind)],
        "access_control_list": [
            _describe_permission(permission) for permission in _stored_permissions(state, kind, number)
        ],
    }


def write_permissions(
    state: State,  # The notes
    kind: str,  # One of `_OBJECT_TYPES`
    number: str,  # Id of the object
    changes: list[dict[str, Any]],  # One of `_PRINCIPAL_KEYS`, and `permission_level`
    add: bool = False,  # Whether those of other principals stay
) -> dict[str, Any]:  # As the API answers
    "Set or add permissions; `CallError` for one that is incomplete, and unless a job has one owner."
    _check_kind(kind)
    with state.lock:
        permissions = _stored_permissions(state, kind, number) if add else []
        for change in changes:
            if not any(_principal(change)) or not change.get("permission_level"):
                raise CallError("INVALID_PARAMETER_VALUE", f"{change} names nobody, or no permission_level")
            others = [other for other in permissions if _principal(other) != _principal(change)]
            permissions = [*others, change]
        owners = [entry for entry in permissions if entry["permission_level"] == "IS_OWNER"]
        if kind in _OWNED_KINDS and len(owners) != 1:
            raise CallError("INVALID_PARAMETER_VALUE", f"The {kind[:-1]} must have exactly one owner.")
        state.write("permissions", f"{kind}/{number}", permissions)
    return read_permissions(state, kind, number)


def _check_kind(kind: str) -> str:
    "Return a kind that has permissions; `CallError` for another."
    if kind not in _OBJECT_TYPES:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"permissions of {kind!r} are not known here; of {', '.join(_OBJECT_TYPES)} they are",
        )
    return kind


def _stored_permissions(state: State, kind: str, number: str) -> list[dict[str, Any]]:
    "Read the permissions that were given, or those that an object has from the beginning."
    owner = {"user_name": state.user, "permission_level": "IS_OWNER"}
    stored = state.find("permissions", f"{kind}/{number}")
    if stored is None:
        return [owner] if kind in _OWNED_KINDS else []
    return list(stored)


def _principal(permission: dict[str, Any]) -> tuple[Any, ...]:
    "Name who has a permission, so that it can be compared."
    return tuple(permission.get(key) for key in _PRINCIPAL_KEYS)


def _describe_permission(permission: dict[str, Any]) -> dict[str, Any]:
    "Describe a permission as the API answers."
    names = {key: permission[key] for key in _PRINCIPAL_KEYS if permission.get(key)}
    level = {"inherited": False, "permission_level": permission["permission_level"]}
    return names | {"display_name": next(iter(names.values()), ""), "all_permissions": [level]}
