"""Calls of Unity Catalog: catalogs, schemas, volumes and grants."""

from typing import Any

from cdc_local.workspace.call import Call, CallTable
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.catalog import (
    change_securable,
    create_schema,
    create_volume,
    delete_schema,
    delete_volume,
    describe_catalog,
    get_schema,
    get_volume,
    list_catalogs,
    read_grants,
    update_grants,
)


def _show_metastore(call: Call) -> dict[str, Any]:
    "Name the metastore: each workspace has one of its own."
    number = call.workspace.number
    return {"metastore_id": f"{number}", "workspace_id": number, "default_catalog_name": "main"}


def _list_catalogs(call: Call) -> dict[str, Any]:
    "List the catalogs."
    return {"catalogs": list_catalogs(call.workspace.state)}


def _show_catalog(call: Call) -> dict[str, Any]:
    "Describe the catalog `name`; each that is named is there."
    return describe_catalog(call.text("name"), call.workspace.user)


def _list_schemas(call: Call) -> dict[str, Any]:
    "List the schemas of `catalog_name`."
    catalog = call.text("catalog_name").lower()
    schemas = call.workspace.state.all("schemas")
    return call.page("schemas", [schema for schema in schemas if schema["catalog_name"] == catalog])


def _create_schema(call: Call) -> dict[str, Any]:
    "Declare a schema."
    return create_schema(call.workspace.state, call.body)


def _show_schema(call: Call) -> dict[str, Any]:
    "Describe the schema `full_name`."
    return get_schema(call.workspace.state, call.text("full_name"))


def _change_schema(call: Call) -> dict[str, Any]:
    "Change the schema `full_name` as the body says."
    return change_securable(call.workspace.state, "schemas", _show_schema(call), call.body)


def _delete_schema(call: Call) -> None:
    "Drop the schema `full_name`; with `force` what is in it, too."
    delete_schema(call.workspace.state, call.text("full_name"), call.flag("force"))


def _list_volumes(call: Call) -> dict[str, Any]:
    "List the volumes of `catalog_name`.`schema_name`."
    schema = [call.text("catalog_name").lower(), call.text("schema_name").lower()]
    volumes = call.workspace.state.all("volumes")
    return call.page(
        "volumes",
        [volume for volume in volumes if [volume["catalog_name"], volume["schema_name"]] == schema],
    )


def _create_volume(call: Call) -> dict[str, Any]:
    "Declare a managed volume."
    return create_volume(call.workspace.state, call.body)


def _show_volume(call: Call) -> dict[str, Any]:
    "Describe the volume `full_name`."
    return get_volume(call.workspace.state, call.text("full_name"))


def _change_volume(call: Call) -> dict[str, Any]:
    "Change the volume `full_name` as the body says."
    return change_securable(call.workspace.state, "volumes", _show_volume(call), call.body)


def _delete_volume(call: Call) -> None:
    "Drop the volume `full_name`."
    delete_volume(call.workspace.state, call.text("full_name"))


def _securable(call: Call) -> str:
    "Read `kind` and `name` of what has grants, as `schema/main.sales`; `CallError` where it is not there."
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


def _show_grants(call: Call) -> dict[str, Any]:
    "Read the grants on a catalog, schema or volume."
    return read_grants(call.workspace.state, _securable(call))


def _change_grants(call: Call) -> dict[str, Any]:
    "Add and remove privileges, as `changes` says."
    return update_grants(call.workspace.state, _securable(call), call.objects("changes"))


_ROOT = "/api/2.1/unity-catalog"

CATALOG_CALLS: CallTable = {
    f"GET {_ROOT}/current-metastore-assignment": _show_metastore,
    f"GET {_ROOT}/catalogs": _list_catalogs,
    f"GET {_ROOT}/catalogs/{{name}}": _show_catalog,
    f"GET {_ROOT}/schemas": _list_schemas,
    f"POST {_ROOT}/schemas": _create_schema,
    f"GET {_ROOT}/schemas/{{full_name}}": _show_schema,
    f"PATCH {_ROOT}/schemas/{{full_name}}": _change_schema,
    f"DELETE {_ROOT}/schemas/{{full_name}}": _delete_schema,
    f"GET {_ROOT}/volumes": _list_volumes,
    f"POST {_ROOT}/volumes": _create_volume,
    f"GET {_ROOT}/volumes/{{full_name}}": _show_volume,
    f"PATCH {_ROOT}/volumes/{{full_name}}": _change_volume,
    f"DELETE {_ROOT}/volumes/{{full_name}}": _delete_volume,
    f"GET {_ROOT}/permissions/{{kind}}/{{name}}": _show_grants,
    f"PATCH {_ROOT}/permissions/{{kind}}/{{name}}": _change_grants,
}
