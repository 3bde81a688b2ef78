"Tables are read without Spark: what readers see, what is refused, how many rows there are."

import subprocess
import sys

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from cdc_local.delta import reader
from cdc_local.delta.reader import (
    VisiblePart,
    count_rows,
    count_rows_of_tables,
    open_table,
    read_rows,
    read_table,
    read_visible_part,
)
from cdc_local.errors import PipelineError, UsageError
from cdc_local.storage import TableName

CUSTOMERS = TableName("main", "default", "customers")
ORDERS = TableName("main", "raw", "orders")
CITIES = TableName("main", "default", "cities")
BROKEN = TableName("main", "raw", "broken")
PROPERTIES = {
    "cdc.columns": '["id", "city"]',
    "cdc.visible": "__deleted = false",
    "cdc.latest": '["city"]',
}


@pytest.fixture
def tables(storage):
    "Two plain tables, and one whose readers may not see all: a row was deleted, and one has a newer city."
    write_deltalake(str(storage.table_path(CUSTOMERS)), pa.table({"id": ["2", "1"], "city": [None, "Oslo"]}))
    write_deltalake(str(storage.table_path(ORDERS)), pa.table({"id": [7]}))
    stored = pa.table(
        {
            "id": ["1", "2", "3"],
            "city": ["old", "Oslo", "Rome"],
            "__deleted": [False, True, False],
            "__latest": [{"city": "new"}, {"city": "Oslo"}, {"city": "Rome"}],
        }
    )
    path = str(storage.table_path(CITIES))
    DeltaTable.create(path, stored.schema, configuration=PROPERTIES, raise_if_key_not_exists=False)
    write_deltalake(path, stored, mode="append")
    return storage


def test_properties_say_what_readers_see():
    columns = ["id", "city", "__deleted", "__latest"]
    assert read_visible_part(columns, PROPERTIES) == VisiblePart(
        ("id", "city"), "__deleted = false", ("city",)
    )


def test_a_table_without_these_properties_shows_everything():
    assert read_visible_part(["id", "city"], {"delta.enableChangeDataFeed": "true"}) == VisiblePart(
        ("id", "city")
    )
    assert read_visible_part(["id", "__note"], {}).columns == ("id", "__note")


def test_the_hidden_column_of_newest_values_is_that_of_the_chapter():
    scd2 = pytest.importorskip("cdc_utils.scd2")
    assert reader._LATEST == scd2.LATEST


def test_hidden_rows_and_columns_are_not_read(tables):
    shown = [{"id": "1", "city": "new"}, {"id": "3", "city": "Rome"}]
    assert read_table(tables, CITIES, ordered=True).to_pylist() == shown
    assert read_table(tables, CITIES, columns=["city"], ordered=True).to_pylist() == [
        {"city": "Rome"},
        {"city": "new"},
    ]


@pytest.mark.parametrize(
    "part, needed",
    [
        (
            VisiblePart(("id", "city"), "__deleted = false", ("city",)),
            {"id", "city", "__deleted", "__latest"},
        ),
        (VisiblePart(("id",)), {"id"}),
        (VisiblePart(("id",), "__START_AT IS NOT NULL"), {"id", "__START_AT"}),
        (VisiblePart(()), {"id"}),  # rows are counted by one column
    ],
)
def test_only_columns_that_the_query_can_need_are_read(part, needed):
    stored = ["id", "city", "__deleted", "__latest", "__sequence", "__START_AT"]
    assert set(reader._needed_columns(part, stored)) == needed


def test_a_column_may_have_any_name(storage):
    write_deltalake(str(storage.table_path(ORDERS)), pa.table({'say "hi"': [1], "a.b c": [2]}))
    assert read_table(storage, ORDERS).to_pylist() == [{'say "hi"': 1, "a.b c": 2}]
    assert read_table(storage, ORDERS, columns=["a.b c"]).to_pylist() == [{"a.b c": 2}]


def test_rows_are_chosen_ordered_and_limited(tables):
    oslo, nowhere = {"id": "1", "city": "Oslo"}, {"id": "2", "city": None}
    assert read_table(tables, CUSTOMERS, ordered=True).to_pylist() == [oslo, nowhere]
    assert read_table(tables, CUSTOMERS, where="id > '1'", columns=["id"]).to_pylist() == [{"id": "2"}]
    assert read_table(tables, CUSTOMERS, limit=1).num_rows == 1
    assert read_table(tables, CUSTOMERS, limit=0).num_rows == 0


def test_a_condition_is_applied_before_a_limit(tables):
    rows = read_table(tables, CUSTOMERS, where="city is null", limit=1)
    assert rows.to_pylist() == [{"id": "2", "city": None}]


def test_a_condition_sees_what_the_reader_sees(tables):
    assert read_table(tables, CITIES, where="city = 'old'").num_rows == 0
    assert read_table(tables, CITIES, where="city = 'new'").num_rows == 1
    with pytest.raises(UsageError, match="__deleted"):
        read_table(tables, CITIES, where="__deleted")


def test_a_limit_counts_visible_rows(tables):
    assert read_table(tables, CITIES, limit=2).num_rows == 2


def test_a_negative_limit_is_refused(tables):
    with pytest.raises(UsageError, match="limit is -1; give 0 or more"):
        read_table(tables, CUSTOMERS, limit=-1)


@pytest.mark.parametrize(
    "where, words",
    [
        ("idd = 1", 'Referenced column "idd" not found .*; write a condition in SQL, e.g. "id = \'1\'"'),
        ("id =", "syntax error"),
        ("city::int = 1", "Could not convert string 'Oslo' to INT32"),
        ("true; drop table raw", "where 'true; drop table raw' on main.default.customers"),
        ("id in (select content from read_text('/etc/hostname'))", "disabled"),
    ],
)
def test_a_condition_that_cannot_work_is_refused_with_the_reason(tables, where, words):
    with pytest.raises(UsageError, match=words) as refused:
        read_table(tables, CUSTOMERS, where=where)
    assert "\n" not in str(refused.value)


def test_an_unknown_column_is_refused_with_those_that_exist(tables):
    with pytest.raises(UsageError, match="main.default.customers has no column 'town'; .*id, city"):
        read_table(tables, CUSTOMERS, columns=["town"])


def test_a_storage_without_tables_says_how_to_make_some(storage):
    with pytest.raises(UsageError, match="there are no tables yet: `cdc run` or `cdc demo` makes them"):
        open_table(storage, CUSTOMERS)


def test_a_misspelt_table_gets_the_nearest_name_and_the_list(tables):
    with pytest.raises(UsageError) as refused:
        open_table(tables, TableName("main", "default", "custmers"))
    assert str(refused.value).replace(str(tables.root), ".cdc") == (
        "no table main.default.custmers in .cdc; did you mean main.default.customers? "
        "there is main.default.cities, main.default.customers, main.raw.orders"
    )


def test_a_table_of_another_schema_is_suggested(tables):
    with pytest.raises(UsageError, match=r"did you mean main\.raw\.orders\?"):
        open_table(tables, TableName("main", "default", "orders"))


def test_visible_rows_are_counted(tables):
    assert count_rows(tables, CUSTOMERS) == 2
    assert count_rows(tables, CUSTOMERS, "city = 'Oslo'") == 1
    assert count_rows(tables, CITIES) == 2


def test_rows_of_every_table_are_counted(tables):
    counts = {str(name): rows for name, rows in count_rows_of_tables(tables).items()}
    assert counts == {"main.default.cities": 2, "main.default.customers": 2, "main.raw.orders": 1}


def test_a_table_whose_log_is_broken_has_no_count_and_the_others_have(tables):
    log = tables.table_path(BROKEN) / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").touch()
    counts = count_rows_of_tables(tables)
    assert counts[BROKEN] is None and counts[CUSTOMERS] == 2
    with pytest.raises(PipelineError, match="0.json is damaged: it is empty; restore it .*--full-refresh"):
        read_table(tables, BROKEN)


def test_plain_rows_are_ordered_unless_told_otherwise(tables):
    rows = read_rows(tables, CUSTOMERS)
    assert (rows.columns, rows.values) == (("id", "city"), [("1", "Oslo"), ("2", None)])
    assert len(read_rows(tables, CUSTOMERS, limit=1).values) == 1


def test_the_reader_loads_no_library_that_takes_long_before_it_is_needed():
    "The command reads rows without pyarrow and pandas, whose imports take longer than the reading."
    code = """
import sys
from pathlib import Path
from cdc_local.delta.reader import read_rows
from cdc_local.storage import Storage, TableName
print([name for name in ("pyspark", "pyarrow", "pandas", "duckdb", "deltalake") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
