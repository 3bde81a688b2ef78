"""Calls of Unity Catalog: catalogs, schemas, volumes, grants, permissions."""

from cdc_local.workspace.call import Call
from cdc_local.workspace.catalog import (
    change_securable,
    create_schema,
    create_volume,
    delete_schema,
    delete_volume,
    get_schema,
    get_volume,
    read_grants,
    read_permissions,
    update_grants,
    write_permissions,
)
from cdc_local.workspace.definitions import get_job, get_pipeline
from cdc_local.workspace.files import CallError
from cdc_local.workspace.state import State


def list_catalogs(
    state: State,  # Schemas and tables
) -> list[dict]:
    "Catalogs that something is in; `main` is always there."
    names = {
        "main",
        *[each["catalog_name"] for each in state.all("schemas")],
        *[name.catalog for name in state.storage.tables()],
    }
    return [
        {"name": name, "full_name": name, "catalog_type": "MANAGED_CATALOG", "owner": state.user}
        for name in sorted(names)
    ]


def list_within(
    call: Call,  # `catalog_name`, `schema_name`
    kind: str,  # `schemas` or `volumes`
    parents: tuple[str, ...],
) -> dict:
    "Those of a kind that are in what the call names."
    named = {parent: call.text(parent).lower() for parent in parents}
    return call.page(
        kind,
        [
            each
            for each in call.workspace.state.all(kind)
            if all(each[parent] == name for parent, name in named.items())
        ],
    )


def securable_grants(
    call: Call,  # `kind`, `name`
) -> str:  # e.g. `schema/main.default`
    "The note of a securable's grants; `CallError` where there is no such thing."
    kind, name = call.text("kind").lower(), call.text("name").lower()
    if kind == "schema":
        get_schema(call.workspace.state, name)
    elif kind == "volume":
        get_volume(call.workspace.state, name)
    elif kind != "catalog":
        raise CallError(
            "NOT_IMPLEMENTED",
            f"grants of a {kind} are not known here; of catalogs, schemas and volumes they are",
        )
    return f"{kind}/{name}"


def handle_permissions(
    call: Call,  # `kind`, `number`, `access_control_list`
    add: bool | None,  # None to read
) -> dict:
    "Read, set or add the permissions of an object."
    state, kind, number = call.workspace.state, call.text("kind"), call.text("number")
    if kind == "jobs":
        get_job(state, number)
    if kind == "pipelines":
        get_pipeline(state, number)
    return (
        read_permissions(state, kind, number)
        if add is None
        else write_permissions(state, kind, number, call.items("access_control_list"), add)
    )


UC = "/api/2.1/unity-catalog"

CATALOG_CALLS = {
    f"GET {UC}/current-metastore-assignment": lambda call: {
        "metastore_id": f"{call.workspace.number}",
        "workspace_id": call.workspace.number,
        "default_catalog_name": "main",
    },
    f"GET {UC}/catalogs": lambda call: {"catalogs": list_catalogs(call.workspace.state)},
    f"GET {UC}/catalogs/{{name}}": lambda call: {
        "name": call.text("name"),
        "full_name": call.text("name"),
        "catalog_type": "MANAGED_CATALOG",
        "owner": call.workspace.user,
    },
    f"GET {UC}/schemas": lambda call: list_within(call, "schemas", ("catalog_name",)),
    f"POST {UC}/schemas": lambda call: create_schema(call.workspace.state, call.body),
    f"GET {UC}/schemas/{{name}}": lambda call: get_schema(call.workspace.state, call.text("name")),
    f"PATCH {UC}/schemas/{{full}}": lambda call: change_securable(
        call.workspace.state, "schemas", get_schema(call.workspace.state, call.text("full")), call.body
    ),
    f"DELETE {UC}/schemas/{{name}}": lambda call: delete_schema(
        call.workspace.state, call.text("name"), call.flag("force")
    ),
    f"GET {UC}/volumes": lambda call: list_within(call, "volumes", ("catalog_name", "schema_name")),
    f"POST {UC}/volumes": lambda call: create_volume(call.workspace.state, call.body),
    f"GET {UC}/volumes/{{name}}": lambda call: get_volume(call.workspace.state, call.text("name")),
    f"PATCH {UC}/volumes/{{full}}": lambda call: change_securable(
        call.workspace.state, "volumes", get_volume(call.workspace.state, call.text("full")), call.body
    ),
    f"DELETE {UC}/volumes/{{name}}": lambda call: delete_volume(call.workspace.state, call.text("name")),
    f"GET {UC}/permissions/{{kind}}/{{name}}": lambda call: read_grants(
        call.workspace.state, securable_grants(call)
    ),
    f"PATCH {UC}/permissions/{{kind}}/{{name}}": lambda call: update_grants(
        call.workspace.state, securable_grants(call), call.items("changes")
    ),
    "GET /api/2.0/permissions/{kind}/{number}": lambda call: handle_permissions(call, None),
    "PUT /api/2.0/permissions/{kind}/{number}": lambda call: handle_permissions(call, False),
    "PATCH /api/2.0/permissions/{kind}/{number}": lambda call: handle_permissions(call, True),
}
