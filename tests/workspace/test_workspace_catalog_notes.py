"Schemas, volumes, grants and permissions below the calls"

import pytest
from served_workspace import USER

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.catalog import (
    change_securable,
    create_schema,
    create_volume,
    delete_schema,
    get_schema,
    get_volume,
    list_catalogs,
    read_grants,
    update_grants,
)
from cdc_local.workspace.permissions import read_permissions, write_permissions
from cdc_local.workspace.state import State

RAW = {"catalog_name": "main", "schema_name": "SALES", "name": "raw", "volume_type": "MANAGED"}


@pytest.fixture
def sales(state):
    return create_schema(state, {"catalog_name": "main", "name": "Sales", "comment": "of the shop"})


def test_names_are_kept_in_lower_case(storage, state, sales):
    volume = create_volume(state, RAW)
    assert (sales["full_name"], volume["full_name"]) == ("main.sales", "main.sales.raw")
    assert (storage.root / "Volumes/main/sales/raw").is_dir()
    assert get_volume(state, "Main.Sales.RAW") == volume


def test_a_schema_and_a_volume_are_made_once(state, sales):
    create_volume(state, RAW)
    with pytest.raises(CallError, match=r"'main\.sales' already exists"):
        create_schema(state, {"catalog_name": "main", "name": "sales"})
    with pytest.raises(CallError, match=r"'main\.sales\.raw' already exists"):
        create_volume(state, RAW | {"schema_name": "sales"})


def test_a_volume_needs_its_schema(state):
    with pytest.raises(CallError, match=r"Schema 'main\.SALES' does not exist\.|Schema 'main\.sales' does"):
        create_volume(state, RAW)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a.b", None, 7, "a\n"])
def test_what_is_no_name_names_no_schema(state, name):
    with pytest.raises(CallError, match="is not a valid name"):
        create_schema(state, {"catalog_name": "main", "name": name})


def test_an_external_volume_is_refused(state, sales):
    with pytest.raises(CallError, match="managed volumes only"):
        create_volume(state, RAW | {"name": "out", "volume_type": "EXTERNAL"})


def test_a_catalog_is_there_when_something_is_in_it(state):
    create_schema(state, {"catalog_name": "dev", "name": "shop"})
    assert [catalog["name"] for catalog in list_catalogs(state)] == ["dev", "main"]


def test_a_comment_is_changed_and_a_name_is_not(storage, state, sales):
    changed = change_securable(
        state, "schemas", get_schema(state, "main.SALES"), {"comment": "of both shops"}
    )
    stored = State(storage, "ann").find("schemas", "main.sales")
    assert changed["comment"] == stored["comment"] == "of both shops"
    with pytest.raises(CallError, match=r"new_name of main\.sales cannot be changed"):
        change_securable(state, "schemas", changed, {"new_name": "other"})


def test_a_dropped_schema_moves_its_files_to_the_trash(storage, state, sales):
    create_volume(state, RAW)
    (storage.root / "Volumes/main/sales/raw/day.json").write_text("{}")
    with pytest.raises(CallError, match=r"is not empty: main\.sales\.raw;"):
        delete_schema(state, "main.sales")
    delete_schema(state, "main.sales", force=True)
    assert not (storage.root / "Volumes/main/sales").exists()
    (kept,) = (storage.root / "workspace/trash").glob("*/Volumes/main/sales/raw/day.json")
    assert kept.read_text() == "{}"
    for read, name in ((get_volume, "main.sales.raw"), (delete_schema, "main.sales")):
        with pytest.raises(CallError, match="does not exist"):
            read(state, name)


def test_privileges_are_added_and_removed(storage, state):
    update_grants(
        state,
        "schema/main.sales",
        [
            {"principal": "readers", "add": ["USE_SCHEMA", "SELECT"]},
            {"principal": "ann", "add": ["MODIFY"]},
        ],
    )
    answer = update_grants(state, "schema/main.sales", [{"principal": "ann", "remove": ["ALL_PRIVILEGES"]}])
    assert answer == {
        "privilege_assignments": [{"principal": "readers", "privileges": ["SELECT", "USE_SCHEMA"]}]
    }
    assert read_grants(State(storage, "ann"), "schema/main.sales") == answer


@pytest.mark.parametrize(
    "change, message",
    [
        ({"principal": "ann", "add": ["SELECT"], "remove": ["SELECT"]}, "Duplicate privileges"),
        ({"add": ["SELECT"]}, "names no principal"),
    ],
)
def test_a_change_of_grants_that_means_nothing_is_refused(state, change, message):
    with pytest.raises(CallError, match=message):
        update_grants(state, "schema/main.sales", [change])


def test_a_job_has_one_owner_its_maker_at_first(storage, state):
    operators = {"group_name": "operators", "permission_level": "CAN_MANAGE"}
    with pytest.raises(CallError, match="exactly one owner"):
        write_permissions(state, "jobs", "7", [operators])
    write_permissions(state, "jobs", "7", [operators], add=True)
    entries = read_permissions(State(storage, USER), "jobs", "7")["access_control_list"]
    assert [
        (entry["display_name"], entry["all_permissions"][0]["permission_level"]) for entry in entries
    ] == [(USER, "IS_OWNER"), ("operators", "CAN_MANAGE")]


def test_a_permission_given_again_replaces_the_one_before(state):
    for level in ("CAN_READ", "CAN_MANAGE"):
        write_permissions(state, "files", "9", [{"group_name": "all", "permission_level": level}], add=True)
    (entry,) = read_permissions(state, "files", "9")["access_control_list"]
    assert entry["all_permissions"] == [{"inherited": False, "permission_level": "CAN_MANAGE"}]


def test_a_folder_is_nobodys_and_an_app_is_not_known(state):
    assert read_permissions(state, "directories", "9")["access_control_list"] == []
    with pytest.raises(CallError, match="permissions of 'apps' are not known here"):
        read_permissions(state, "apps", "7")
    with pytest.raises(CallError, match="names nobody, or no permission_level"):
        write_permissions(state, "files", "9", [{"permission_level": "CAN_READ"}])
