"""Schemas and volumes of Unity Catalog, and grants on them, as notes."""

import re
import shutil
import uuid
from typing import Any

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.state import State, api_time, new_number

_CHANGEABLE = ("comment", "owner", "properties", "enable_predictive_optimization")  # Of a schema or volume


def _check_name(
    name: Any,  # Name of a catalog, schema or volume, as it was sent
    parameter: str,  # Which of them, as the call names it
) -> str:  # As it is stored: in lower case
    "Read a name of Unity Catalog; `CallError` for one that is none."
    if isinstance(name, str) and re.fullmatch(r"[\w-]+(?: [\w-]+)*", name) and len(name) <= 255:
        return name.lower()
    raise CallError(
        "INVALID_PARAMETER_VALUE",
        f"{parameter} {name!r} is not a valid name: letters, digits, _ and - name it",
    )


def list_catalogs(
    state: State,  # The notes
) -> list[dict[str, Any]]:  # As the API answers
    "List the catalogs that something is in; `main` is always there."
    names = {
        "main",
        *[schema["catalog_name"] for schema in state.all("schemas")],
        *[table.catalog for table in state.storage.tables()],
    }
    return [describe_catalog(name, state.user) for name in sorted(names)]


def describe_catalog(
    name: str,  # The catalog
    owner: str,  # Name of the user
) -> dict[str, Any]:  # As the API answers
    "Describe a catalog; each that is named is there."
    return {"name": name, "full_name": name, "catalog_type": "MANAGED_CATALOG", "owner": owner}


def _ownership(user: str) -> dict[str, Any]:
    "Say who makes a schema or volume, and when."
    now = api_time()
    return {"owner": user, "created_at": now, "created_by": user, "updated_at": now, "updated_by": user}


def create_schema(
    state: State,  # The notes
    settings: dict[str, Any],  # `catalog_name`, `name`, and what else the API takes
) -> dict[str, Any]:  # The schema
    "Declare a schema; `CallError` if it is there."
    catalog = _check_name(settings.get("catalog_name"), "catalog_name")
    name = _check_name(settings.get("name"), "name")
    full_name = f"{catalog}.{name}"
    with state.lock:
        if state.find("schemas", full_name):
            raise CallError("SCHEMA_ALREADY_EXISTS", f"Schema '{full_name}' already exists")
        schema = {
            "catalog_name": catalog,
            "name": name,
            "full_name": full_name,
            "catalog_type": "MANAGED_CATALOG",
            "schema_id": str(uuid.uuid4()),
        }
        stored: dict[str, Any] = state.write("schemas", full_name, settings | schema | _ownership(state.user))
        return stored


def get_schema(
    state: State,  # The notes
    full_name: str,  # `catalog.schema`, in upper or lower case
) -> dict[str, Any]:  # The schema
    "Read a schema; `CallError` where there is none."
    message = f"Schema '{full_name}' does not exist."
    schema: dict[str, Any] = state.get("schemas", full_name.lower(), message, "SCHEMA_DOES_NOT_EXIST")
    return schema


def create_volume(
    state: State,  # The notes
    settings: dict[str, Any],  # `catalog_name`, `schema_name`, `name`, `volume_type`
) -> dict[str, Any]:  # The volume
    "Declare a managed volume and make its folder; `CallError` without its schema, or if it is there."
    catalog, schema, name = (
        _check_name(settings.get(parameter), parameter)
        for parameter in ("catalog_name", "schema_name", "name")
    )
    full_name = f"{catalog}.{schema}.{name}"
    if settings.get("volume_type", "MANAGED") != "MANAGED":
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"volume_type {settings['volume_type']!r} of {full_name}: a laptop has managed volumes only",
        )
    with state.lock:
        get_schema(state, f"{catalog}.{schema}")
        if state.find("volumes", full_name):
            raise CallError("VOLUME_ALREADY_EXISTS", f"Volume '{full_name}' already exists")
        folder = state.storage.root.joinpath("Volumes", catalog, schema, name)
        folder.mkdir(parents=True, exist_ok=True)
        volume = {
            "catalog_name": catalog,
            "schema_name": schema,
            "name": name,
            "full_name": full_name,
            "volume_type": "MANAGED",
            "volume_id": str(uuid.uuid4()),
            "storage_location": folder.as_uri(),
        }
        stored: dict[str, Any] = state.write("volumes", full_name, settings | volume | _ownership(state.user))
        return stored


def get_volume(
    state: State,  # The notes
    full_name: str,  # `catalog.schema.volume`, in upper or lower case
) -> dict[str, Any]:  # The volume
    "Read a volume; `CallError` where there is none."
    message = f"Volume '{full_name}' does not exist."
    volume: dict[str, Any] = state.get("volumes", full_name.lower(), message, "VOLUME_DOES_NOT_EXIST")
    return volume


def change_securable(
    state: State,  # The notes
    kind: str,  # `schemas` or `volumes`
    securable: dict[str, Any],  # A schema or volume
    changes: dict[str, Any],  # Part -> new value
) -> dict[str, Any]:  # As it is now
    "Change a schema or volume; `CallError` for a part that cannot be changed here."
    named = {"name", "full_name", "catalog_name", "schema_name"}  # The client names it; nothing is changed
    unknown = sorted(set(changes) - set(_CHANGEABLE) - named)
    if unknown:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"{', '.join(unknown)} of {securable['full_name']} cannot be changed here;"
            f" {', '.join(_CHANGEABLE)} can",
        )
    changed = {part: changes[part] for part in _CHANGEABLE if part in changes}
    changed |= {"updated_at": api_time(), "updated_by": state.user}
    stored: dict[str, Any] = state.write(kind, securable["full_name"], securable | changed)
    return stored


def _move_to_trash(
    state: State,  # The notes
    *parts: str,  # A folder below the storage
) -> None:
    "Move a folder away, if it is there."
    folder = state.storage.root.joinpath(*parts)
    if not folder.exists():
        return
    target = state.root / "trash" / f"{new_number()}" / "/".join(parts)
    target.parent.mkdir(parents=True)
    shutil.move(folder, target)


def delete_volume(
    state: State,  # The notes
    full_name: str,  # `catalog.schema.volume`
) -> None:
    "Drop a volume, and move its files to the trash; `CallError` where there is none."
    with state.lock:
        name: str = get_volume(state, full_name)["full_name"]
        state.delete("volumes", name)
        state.delete("grants", f"volume/{name}")
        _move_to_trash(state, "Volumes", *name.split("."))


def delete_schema(
    state: State,  # The notes
    full_name: str,  # `catalog.schema`
    force: bool = False,  # Whether to drop what is in it, too
) -> None:
    """Drop a schema; its tables, their checkpoints and its volumes go to the trash.

    Raises `CallError` where there is none, or something is in it.
    """
    with state.lock:
        name: str = get_schema(state, full_name)["full_name"]
        parts = name.split(".")
        names = [volume["full_name"] for volume in state.all("volumes")]
        volumes = [volume for volume in names if volume.split(".")[:2] == parts]
        tables = [str(table) for table in state.storage.tables() if [table.catalog, table.schema] == parts]
        if (volumes or tables) and not force:
            raise CallError(
                "SCHEMA_NOT_EMPTY",
                f"Schema '{full_name}' is not empty: {', '.join([*volumes, *tables])};"
                " delete it with force=true",
            )
        for volume in volumes:
            delete_volume(state, volume)
        for tree in ("tables", "checkpoints", "Volumes"):
            _move_to_trash(state, tree, *parts)
        state.delete("schemas", name)
        state.delete("grants", f"schema/{name}")


def update_grants(
    state: State,  # The notes
    securable: str,  # Kind and name, e.g. `schema/main.sales`
    changes: list[dict[str, Any]],  # `principal`, `add`, `remove`
) -> dict[str, Any]:  # As the API answers
    "Add and remove privileges; `CallError` for a change without a principal, or one that does both."
    with state.lock:
        grants = dict(state.find("grants", securable) or {})
        for change in changes:
            principal = change.get("principal")
            added = set(change.get("add") or ())
            removed = set(change.get("remove") or ())
            if not principal:
                raise CallError(
                    "INVALID_PARAMETER_VALUE", f"a change of the grants of {securable} names no principal"
                )
            if added & removed:
                raise CallError(
                    "INVALID_PARAMETER_VALUE",
                    f"Duplicate privileges to add and delete for principal {principal}.",
                )
            before = set() if "ALL_PRIVILEGES" in removed else set(grants.get(principal, ()))
            grants[principal] = sorted(before - removed | added)
        granted = {principal: privileges for principal, privileges in grants.items() if privileges}
        state.write("grants", securable, granted)
    return read_grants(state, securable)


def read_grants(
    state: State,  # The notes
    securable: str,  # Kind and name, e.g. `schema/main.sales`
) -> dict[str, Any]:  # As the API answers
    "Read who was granted what."
    grants = state.find("grants", securable) or {}
    return {
        "privilege_assignments": [
            {"principal": principal, "privileges": privileges}
            for principal, privileges in sorted(grants.items())
        ]
    }
