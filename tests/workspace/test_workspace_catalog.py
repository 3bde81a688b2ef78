"Schemas, volumes, grants and permissions, as the SDK asks for them"

import io
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from databricks.sdk.errors import DatabricksError, InvalidParameterValue, NotFound
from databricks.sdk.service import catalog, iam
from served_workspace import USER, ask, make_volume

from cdc_local.storage import TableName, read_json


def test_schemas_volumes_and_grants(w, storage):
    make_volume(w)
    with pytest.raises(DatabricksError, match="'main.shop' already exists"):
        w.schemas.create(name="shop", catalog_name="main")
    assert (
        w.schemas.update("main.shop", comment="a shop").comment
        == w.schemas.get("main.shop").comment
        == "a shop"
    )
    assert (
        w.volumes.update("main.shop.raw", comment="as it came").comment
        == w.volumes.read("main.shop.raw").comment
        == "as it came"
    )
    w.grants.update(
        "schema",
        "main.shop",
        changes=[catalog.PermissionsChange(principal="readers", add=[catalog.Privilege.SELECT])],
    )
    assert [each.principal for each in w.grants.get("schema", "main.shop").privilege_assignments] == [
        "readers"
    ]
    assert [each.full_name for each in w.schemas.list("main")] == ["main.shop"] and [
        each.name for each in w.catalogs.list()
    ] == ["main"]
    assert [each.full_name for each in w.volumes.list("main", "shop")] == ["main.shop.raw"]
    with pytest.raises(DatabricksError, match="is not empty: main.shop.raw"):
        w.schemas.delete("main.shop")
    w.schemas.delete("main.shop", force=True)
    for call, name in (
        (w.schemas.get, "main.shop"),
        (w.volumes.read, "main.shop.raw"),
        (w.volumes.delete, "main.shop.raw"),
    ):
        with pytest.raises(NotFound, match="does not exist"):
            call(name)


def test_a_dropped_volume_comes_back_empty(w, storage):
    w.files.upload(f"{make_volume(w)}/day/1.json", io.BytesIO(b"x"))
    w.volumes.delete("main.shop.raw")
    w.volumes.create("main", "shop", "raw", catalog.VolumeType.MANAGED)
    assert not list(w.files.list_directory_contents("/Volumes/main/shop/raw"))
    assert [path.read_bytes() for path in (storage.root / "workspace/trash").rglob("1.json")] == [b"x"]


def test_a_dropped_schema_takes_tables_and_checkpoints_along(w, storage):
    make_volume(w)
    name = TableName("main", "shop", "orders")
    (storage.table_path(name) / "_delta_log").mkdir(parents=True)
    (storage.table_path(name) / "_delta_log/00000000000000000000.json").touch()
    storage.flow_path(name, "orders").mkdir(parents=True)
    with pytest.raises(DatabricksError, match="main.shop.orders"):
        w.schemas.delete("main.shop")
    w.schemas.delete("main.shop", force=True)
    assert not storage.tables() and not storage.flow_path(name, "orders").exists()


def test_times_are_milliseconds(w):
    before = time.time()
    made = w.schemas.create(name="shop", catalog_name="main").created_at / 1000
    assert before - 0.01 <= made <= time.time() + 0.01


def test_false_is_false(running, w):
    make_volume(w)
    assert (
        ask(running, "DELETE", "/api/2.1/unity-catalog/schemas/main.shop?force=false")[1]["error_code"]
        == "SCHEMA_NOT_EMPTY"
    )
    assert ask(running, "DELETE", "/api/2.1/unity-catalog/schemas/main.shop?force=true")[0] == 200


def test_permissions_of_a_job(w):
    job = str(w.jobs.create(name="daily").job_id)
    operators = iam.AccessControlRequest(
        group_name="operators", permission_level=iam.PermissionLevel.CAN_MANAGE
    )
    with pytest.raises(InvalidParameterValue, match="exactly one owner"):
        w.permissions.set("jobs", job, access_control_list=[operators])
    w.permissions.update("jobs", job, access_control_list=[operators])
    assert [each.display_name for each in w.permissions.get("jobs", job).access_control_list] == [
        USER,
        "operators",
    ]
    with pytest.raises(NotFound):
        w.permissions.get("jobs", "7")


def test_two_clients_make_one_schema(running, storage):
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda _: ask(
                    running,
                    "POST",
                    "/api/2.1/unity-catalog/schemas",
                    {"catalog_name": "main", "name": "shop"},
                ),
                range(8),
            )
        )
    assert sorted(status for status, _ in answers) == [200] + [400] * 7
    (won,) = [answer for status, answer in answers if status == 200]
    assert (
        read_json(storage.root / "workspace/schemas/main.shop.json")["value"]["schema_id"] == won["schema_id"]
    )
