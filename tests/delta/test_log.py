"The log of a table, read without Spark."

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from cdc_local.delta.log import (
    find_local_table,
    read_nullable_schema,
    read_schema,
    read_table_version,
)

COLUMNS = pa.schema([("id", pa.int32()), ("city", pa.string())])


@pytest.fixture
def path(tmp_path):
    "A table that was created empty and appended to twice."
    path = tmp_path / "visits"
    DeltaTable.create(str(path), COLUMNS)
    for city in ("Oslo", "Rome"):
        write_deltalake(path, pa.table([[1], [city]], schema=COLUMNS), mode="append")
    return path


def test_a_table_of_this_machine_is_found_by_its_path_or_its_address(path, tmp_path):
    assert find_local_table(str(path)) == find_local_table(f"file:{path}") == path
    assert find_local_table(f"s3:/{path}") is None
    assert find_local_table(str(tmp_path)) is None


def test_a_version_belongs_to_one_table(path, tmp_path):
    other = tmp_path / "other"
    DeltaTable.create(str(other), COLUMNS)
    assert read_table_version(path)[1] == 2 and read_table_version(other)[1] == 0
    assert read_table_version(path)[0] != read_table_version(other)[0]


def test_columns_are_read_as_declared_or_as_those_of_any_rows(tmp_path):
    strict = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("city", pa.string())])
    table = DeltaTable.create(str(tmp_path / "strict"), strict)
    assert read_schema(table).simpleString() == "struct<id:bigint,city:string>"
    assert [read(table)["id"].nullable for read in (read_schema, read_nullable_schema)] == [False, True]
