"The Parquet files of a table, read by DuckDB."

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from cdc_local.delta.files import can_read_files, list_data_files, read_rows_with_keys
from cdc_local.delta.writer import merge_rows

MOVES = pa.table(
    {"id": [7, 7, 8, 9], "city": ["Lyon", "Oslo", "Rome", "Bonn"], "__sequence": [10, 12, 10, 11]}
)
ORDER = [("id", "ascending"), ("__sequence", "ascending")]


@pytest.fixture
def path(tmp_path):
    "A table of two files."
    path = tmp_path / "moves"
    write_deltalake(path, MOVES.slice(0, 2))
    write_deltalake(path, MOVES.slice(2), mode="append")
    return path


def files_of(path):
    return list_data_files(DeltaTable(path), path)


def cities(path):
    rows = read_rows_with_keys(files_of(path), pa.table({"id": [6, 7, 8, 9]}), MOVES.schema, 100)
    return rows.sort_by(ORDER)["city"].to_pylist()


def test_files_in_the_folder_are_read_without_spark(path):
    assert can_read_files(files_of(path))


def test_a_folder_may_have_a_name_that_is_a_pattern(path, tmp_path):
    pattern = tmp_path / "*ove? {a}"
    write_deltalake(pattern, MOVES.slice(0, 1))
    assert cities(pattern) == ["Lyon"]


def test_a_timestamp_in_the_old_format_needs_spark(path, tmp_path):
    old = tmp_path / "old.parquet"
    pq.write_table(
        pa.table({"at": pa.array([0], pa.timestamp("us"))}), old, use_deprecated_int96_timestamps=True
    )
    assert not can_read_files([old])
    assert not can_read_files([*files_of(path), old])


def test_a_file_that_lies_elsewhere_needs_spark(path, tmp_path):
    assert not can_read_files([*files_of(path), tmp_path / "elsewhere.parquet"])


def test_the_rows_of_the_keys_are_read_in_the_columns_of_the_table(path):
    "A column that no file has is NULL."
    schema = MOVES.schema.append(pa.field("street", pa.string()))
    rows = read_rows_with_keys(files_of(path), pa.table({"id": [7, 6]}), schema, 100)
    assert rows.sort_by(ORDER).to_pylist() == [
        {"id": 7, "city": "Lyon", "__sequence": 10, "street": None},
        {"id": 7, "city": "Oslo", "__sequence": 12, "street": None},
    ]


def test_no_more_rows_are_read_than_the_limit(path):
    assert read_rows_with_keys(files_of(path), pa.table({"id": [7, 8]}), MOVES.schema, 2).num_rows == 2


def test_a_merge_inserts_rows_of_a_new_identity_and_leaves_files_alone(path):
    before = set(files_of(path))
    tuesday = pa.table({"id": [7, 6], "city": ["Bern", "Kyiv"], "__sequence": [11, 10]})
    merge_rows(DeltaTable(path), tuesday, ["id", "__sequence"], ("moving", 0))
    assert cities(path) == ["Kyiv", "Lyon", "Bern", "Oslo", "Rome", "Bonn"]
    metrics = DeltaTable(path).history(1)[0]["operationMetrics"]
    assert (metrics["num_target_rows_inserted"], metrics["num_target_rows_updated"]) == (2, 0)
    assert before <= set(files_of(path))
    assert DeltaTable(path).transaction_version("moving") == 0


def test_a_merge_replaces_a_stored_row_and_writes_its_file_anew(path):
    before = set(files_of(path))
    riga = pa.table({"id": [8], "city": ["Riga"], "__sequence": [10]})
    merge_rows(DeltaTable(path), riga, ["id", "__sequence"])
    assert cities(path) == ["Lyon", "Oslo", "Riga", "Bonn"]
    replaced = before - set(files_of(path))
    assert [pq.read_table(file)["city"].to_pylist() for file in replaced] == [["Rome", "Bonn"]]


def test_a_merge_of_no_rows_makes_no_commit(path):
    merge_rows(DeltaTable(path), MOVES.slice(0, 0), ["id", "__sequence"])
    assert DeltaTable(path).version() == 1
