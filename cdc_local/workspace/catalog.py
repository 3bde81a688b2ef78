"""Schemas, volumes, grants and permissions, as notes."""

import re
import shutil
import uuid
from collections.abc import Iterable

from cdc_local.workspace.files import CallError
from cdc_local.workspace.state import State, api_time, new_number


def check_name(
    text: str,  # A catalog, schema or volume
    what: str,  # Which of them
) -> str:  # As it is stored
    "A name of Unity Catalog, in lower case; `CallError` for one that is none."
    if isinstance(text, str) and re.fullmatch(r"[\w-]+(?: [\w-]+)*", text) and len(text) <= 255:
        return text.lower()
    raise CallError(
        "INVALID_PARAMETER_VALUE", f"{what} {text!r} is not a valid name: letters, digits, _ and - name it"
    )


def create_schema(
    state: State,  # Where it is remembered
    asked: dict,  # `catalog_name`, `name`, and what else the API takes
) -> dict:  # The schema
    "Declare a schema; `CallError` if it is there."
    catalog, name = (
        check_name(asked.get("catalog_name"), "catalog_name"),
        check_name(asked.get("name"), "name"),
    )
    full, moment = f"{catalog}.{name}", api_time()
    with state.lock:
        if state.find("schemas", full):
            raise CallError("SCHEMA_ALREADY_EXISTS", f"Schema '{full}' already exists")
        made = asked | {
            "catalog_name": catalog,
            "name": name,
            "full_name": full,
            "catalog_type": "MANAGED_CATALOG",
            "owner": state.user,
            "schema_id": str(uuid.uuid4()),
            "created_at": moment,
            "created_by": state.user,
            "updated_at": moment,
            "updated_by": state.user,
        }
        return state.keep("schemas", full, made)


def get_schema(
    state: State,  # Where it is remembered
    full: str,  # `catalog.schema`
) -> dict:  # The schema
    "One schema; `CallError` where there is none."
    return state.get("schemas", full.lower(), f"Schema '{full}' does not exist.", "SCHEMA_DOES_NOT_EXIST")


def get_volume(
    state: State,  # Where it is remembered
    full: str,  # `catalog.schema.volume`
) -> dict:  # The volume
    "One volume; `CallError` where there is none."
    return state.get("volumes", full.lower(), f"Volume '{full}' does not exist.", "VOLUME_DOES_NOT_EXIST")


def create_volume(
    state: State,  # Where it is remembered
    asked: dict,  # `catalog_name`, `schema_name`, `name`, `volume_type`
) -> dict:  # The volume
    "Declare a managed volume and make its folder; `CallError` without its schema, or if it is there."
    catalog, schema, name = (
        check_name(asked.get(part), part) for part in ("catalog_name", "schema_name", "name")
    )
    full, moment = f"{catalog}.{schema}.{name}", api_time()
    if asked.get("volume_type", "MANAGED") != "MANAGED":
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"volume_type {asked['volume_type']!r} of {full}: a laptop has managed volumes only",
        )
    with state.lock:
        get_schema(state, f"{catalog}.{schema}")
        if state.find("volumes", full):
            raise CallError("VOLUME_ALREADY_EXISTS", f"Volume '{full}' already exists")
        place = state.storage.root.joinpath("Volumes", catalog, schema, name)
        place.mkdir(parents=True, exist_ok=True)
        made = asked | {
            "catalog_name": catalog,
            "schema_name": schema,
            "name": name,
            "full_name": full,
            "volume_type": "MANAGED",
            "volume_id": str(uuid.uuid4()),
            "owner": state.user,
            "storage_location": place.as_uri(),
            "created_at": moment,
            "created_by": state.user,
            "updated_at": moment,
            "updated_by": state.user,
        }
        return state.keep("volumes", full, made)


def change_securable(
    state: State,  # Where it is remembered
    kind: str,  # `schemas` or `volumes`
    known: dict,  # What is remembered
    asked: dict,  # What to change
    may: Iterable[str] = (
        "comment",
        "owner",
        "properties",
        "enable_predictive_optimization",
    ),  # What can be changed
) -> dict:  # As it is now
    "Change a schema or volume; `CallError` for a part that cannot be changed here."
    other = sorted(set(asked) - set(may) - {"name", "full_name", "catalog_name", "schema_name"})
    if other:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"{', '.join(other)} of {known['full_name']} cannot be changed here; {', '.join(may)} can",
        )
    changed = {name: asked[name] for name in may if name in asked}
    return state.keep(
        kind, known["full_name"], known | changed | {"updated_at": api_time(), "updated_by": state.user}
    )


def move_to_trash(
    state: State,  # The workspace
    *parts: str,  # Folder below the storage
) -> None:
    "Move a folder away, if it is there."
    place = state.storage.root.joinpath(*parts)
    if not place.exists():
        return
    target = state.root / "trash" / f"{new_number()}" / "/".join(parts)
    target.parent.mkdir(parents=True)
    shutil.move(place, target)


def delete_volume(
    state: State,  # Where it is remembered
    full: str,  # `catalog.schema.volume`
) -> None:
    "Drop a volume and its files; `CallError` where there is none."
    with state.lock:
        volume = get_volume(state, full)
        state.drop("volumes", volume["full_name"])
        state.drop("grants", f"volume/{volume['full_name']}")
        move_to_trash(state, "Volumes", *volume["full_name"].split("."))


def delete_schema(
    state: State,  # Where it is remembered
    full: str,  # `catalog.schema`
    force: bool = False,  # Drop what is in it, too
) -> None:
    "Drop a schema; `CallError` where there is none, or something is in it."
    with state.lock:
        schema = get_schema(state, full)
        parts = schema["full_name"].split(".")
        inside = [
            each["full_name"] for each in state.all("volumes") if each["full_name"].split(".")[:2] == parts
        ]
        tables = [str(name) for name in state.storage.tables() if [name.catalog, name.schema] == parts]
        if (inside or tables) and not force:
            raise CallError(
                "SCHEMA_NOT_EMPTY",
                f"Schema '{full}' is not empty: {', '.join([*inside, *tables])}; delete it with force=true",
            )
        for volume in inside:
            delete_volume(state, volume)
        for tree in ("tables", "checkpoints", "Volumes"):
            move_to_trash(state, tree, *parts)
        state.drop("schemas", schema["full_name"])
        state.drop("grants", f"schema/{schema['full_name']}")


def update_grants(
    state: State,  # Where they are remembered
    securable: str,  # e.g. `schema/main.sales`
    changes: list[dict],  # `principal`, `add`, `remove`
) -> dict:  # As the API answers
    "Add and remove privileges."
    with state.lock:
        known = dict(state.find("grants", securable) or {})
        for change in changes:
            who, add, remove = (
                change.get("principal"),
                set(change.get("add") or ()),
                set(change.get("remove") or ()),
            )
            if not who:
                raise CallError(
                    "INVALID_PARAMETER_VALUE", f"a change of the grants of {securable} names no principal"
                )
            if add & remove:
                raise CallError(
                    "INVALID_PARAMETER_VALUE", f"Duplicate privileges to add and delete for principal {who}."
                )
            before = set() if "ALL_PRIVILEGES" in remove else set(known.get(who, ()))
            known[who] = sorted(before - remove | add)
        state.keep("grants", securable, {who: privileges for who, privileges in known.items() if privileges})
    return read_grants(state, securable)


def read_grants(
    state: State,  # Where they are remembered
    securable: str,  # e.g. `schema/main.sales`
) -> dict:  # As the API answers
    "Who was granted what."
    known = state.find("grants", securable) or {}
    return {
        "privilege_assignments": [
            {"principal": who, "privileges": privileges} for who, privileges in sorted(known.items())
        ]
    }


OBJECT_KINDS = {
    "jobs": "job",
    "pipelines": "pipelines",
    "directories": "directory",
    "notebooks": "notebook",
    "files": "file",
}  # In a path of the API, to its name in an answer

PRINCIPAL_KEYS = ("user_name", "group_name", "service_principal_name")  # Who a permission is given to


def read_permissions(
    state: State,  # Where they are remembered
    kind: str,  # One of `KINDS`
    number: str,  # Id of the object
) -> dict:  # As the API answers
    "Who may do what with an object; of a job or pipeline, its maker owns it until somebody else does."
    if kind not in OBJECT_KINDS:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"permissions of {kind!r} are not known here; of {', '.join(OBJECT_KINDS)} they are",
        )
    owned = (
        [{"user_name": state.user, "permission_level": "IS_OWNER"}] if kind in ("jobs", "pipelines") else []
    )
    known = state.find("permissions", f"{kind}/{number}")

    def shown(each):
        who = {name: each[name] for name in PRINCIPAL_KEYS if each.get(name)}
        return who | {
            "display_name": next(iter(who.values()), ""),
            "all_permissions": [{"inherited": False, "permission_level": each["permission_level"]}],
        }

    return {
        "object_id": f"/{kind}/{number}",
        "object_type": OBJECT_KINDS[kind],
        "access_control_list": [shown(each) for each in (owned if known is None else known)],
    }


def write_permissions(
    state: State,  # Where they are remembered
    kind: str,  # One of `KINDS`
    number: str,  # Id of the object
    asked: list[dict],  # Who, and `permission_level`
    add: bool = False,  # Whether those known stay
) -> dict:  # As the API answers
    "Set or add permissions; `CallError` unless a job or pipeline has one owner."
    with state.lock:
        known = [each for each in read_permissions(state, kind, number)["access_control_list"] if add]
        plain = [
            {name: each[name] for name in PRINCIPAL_KEYS if name in each}
            | {"permission_level": each["all_permissions"][0]["permission_level"]}
            for each in known
        ]

        def who(each):
            return tuple(each.get(name) for name in PRINCIPAL_KEYS)

        for each in asked:
            if not any(who(each)) or not each.get("permission_level"):
                raise CallError("INVALID_PARAMETER_VALUE", f"{each} names nobody, or no permission_level")
            plain = [other for other in plain if who(other) != who(each)] + [each]
        owners = sum(each["permission_level"] == "IS_OWNER" for each in plain)
        if kind in ("jobs", "pipelines") and owners != 1:
            raise CallError("INVALID_PARAMETER_VALUE", f"The {kind[:-1]} must have exactly one owner.")
        state.keep("permissions", f"{kind}/{number}", plain)
    return read_permissions(state, kind, number)
