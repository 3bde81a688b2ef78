"Which file of a table or of a stream's checkpoint is damaged."

import json

import pyarrow
import pytest
from deltalake import DeltaTable, write_deltalake

from cdc_local.delta.damage import damaged_file_error, find_damage
from cdc_local.delta.reader import open_table
from cdc_local.errors import PipelineError
from cdc_local.storage import TableName


def garbage(path):
    path.write_bytes(b'{"garb\x00age')


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def table(storage):
    path = storage.root / "tables/main/default/sales"
    for number in range(3):
        rows = pyarrow.table({"id": [number], "day of sale": ["a b%c"]})
        write_deltalake(str(path), rows, mode="append", partition_by=["day of sale"])
    return path


@pytest.fixture
def checkpoint(storage):
    "A stream's, after two batches."
    path = storage.root / "checkpoints/main/default/sales/flow/checkpoint"
    for folder in ("offsets", "commits", "sources/0"):
        (path / folder).mkdir(parents=True)
        for batch in range(2):
            (path / folder / str(batch)).write_text('v1\n{"a":1}\n{"b":2}\n-\n7\n')
            (path / folder / f".{batch}.crc").write_bytes(b"crc\x00\xff")
    (path / "metadata").write_text('{"id":"x"}')
    return path


def test_nothing_is_found_where_all_is_well(table, checkpoint, tmp_path):
    assert find_damage([table, tmp_path / "none"], [checkpoint, tmp_path / "none"]) is None
    DeltaTable(str(table)).create_checkpoint()
    (table / "_delta_log/00000000000000000000.json").unlink()  # as an old log is tidied up
    assert find_damage([table]) is None


@pytest.mark.parametrize("damage", [garbage, empty, remove, half])
@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_commit(table, damage, version):
    commit = table / f"_delta_log/{version:020d}.json"
    if (damage, version) == (remove, 2):
        return  # a log without its newest commit is an older table
    damage(commit)
    error = find_damage([table])
    assert str(error).startswith(f"{commit} is damaged: ")
    assert error.hint.endswith("cdc run … --full-refresh sales") and error.exit_code == 1


@pytest.mark.parametrize("damage", [garbage, empty, half])
@pytest.mark.parametrize("pattern", ["*.checkpoint.parquet", "_last_checkpoint"])
def test_a_checkpoint_of_a_table(table, damage, pattern):
    DeltaTable(str(table)).create_checkpoint()
    [file] = (table / "_delta_log").glob(pattern)
    damage(file)
    assert str(find_damage([table])).startswith(f"{file} is damaged: ")


@pytest.mark.parametrize("damage", [garbage, empty, remove, half])
def test_a_file_of_rows(table, damage):
    file = sorted(table.rglob("part-*.parquet"))[0]
    damage(file)
    error = str(find_damage([table]))
    assert error.startswith(f"{file} is ") and "--full-refresh sales" in error


@pytest.mark.parametrize("damage", [garbage, empty, remove])
@pytest.mark.parametrize("file", ["metadata", "offsets/0", "offsets/1", "commits/1", "sources/0/1"])
def test_a_checkpoint_of_a_stream(checkpoint, damage, file):
    if damage is remove and not file.startswith(("metadata", "offsets")):
        return  # a batch that was not finished, or a source that keeps fewer files
    damage(checkpoint / file)
    error = str(find_damage([], [checkpoint]))
    assert error.startswith(f"{checkpoint / file} is damaged: ") and "--full-refresh sales" in error


def test_a_stream_that_has_not_begun_is_well(checkpoint):
    for folder in ("offsets", "commits", "sources/0"):
        for file in (checkpoint / folder).iterdir():
            file.unlink()
    (checkpoint / "metadata").unlink()
    assert find_damage([], [checkpoint]) is None


def test_the_first_line_of_what_a_library_says(storage):
    path = storage.root / "tables/main/default/sales/x.json"
    said = str(damaged_file_error(path, RuntimeError("Json error: truncated\n   0: <unknown>\n   1: clone")))
    assert said.startswith(f"{path} is damaged: Json error: truncated; restore it")


def test_a_table_that_is_opened_names_its_damaged_commit(storage, table):
    commit = table / "_delta_log/00000000000000000001.json"
    commit.write_text(json.dumps({"add": {}})[:-1])
    with pytest.raises(PipelineError, match=f"{commit} is damaged"):
        open_table(storage, TableName("main", "default", "sales"))
