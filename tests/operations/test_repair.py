"Damaged rows of AUTO CDC targets, mended from their source: equal to an undamaged run, others untouched, updates go on."

import json
from dataclasses import replace

import pytest

pytest.importorskip("pyspark")
from delta.tables import DeltaTable
from deltalake import DeltaTable as Files

from cdc_local.dataflow.graph import Dataset, Flow, Graph
from cdc_local.delta.rows import Rows
from cdc_local.engines.spark.session import local_spark
from cdc_local.errors import PipelineError, UsageError
from cdc_local.operations import repair as repairing
from cdc_local.operations.repair import (
    Choice,
    Repaired,
    persist_rows,
    prepare_aside,
    repair_table,
    repaired_flows,
)
from cdc_local.storage import Storage, TableName, lock_storage
from cdc_local.update.event_log import read_events
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

PIPELINE = """
from pyspark import pipelines as dp
@dp.table
def landed():
    files = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
    return files.option('cloudFiles.schemaHints', 'at int').load('/Volumes/main/default/raw/moves')
@dp.temporary_view
def wanted(): return spark.readStream.table('landed').where("city is null or city <> 'Nowhere'")
@dp.temporary_view
def keyed(): return spark.readStream.table('wanted').where('id is not null')
common = dict(keys=['id'], sequence_by='at', apply_as_deletes="op = 'D'", except_column_list=['op', 'at', '_rescued_data'])
for target in ('now', 'history', 'direct'): dp.create_streaming_table(target)
dp.create_auto_cdc_flow('now', 'wanted', apply_as_truncates="op = 'T'", **common)
dp.create_auto_cdc_flow('history', 'keyed', stored_as_scd_type=2, **common)
@dp.temporary_view
def files(): return landed_files().where('id is not null')
def landed_files():
    return spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json').load('/Volumes/main/default/raw/moves')
dp.create_auto_cdc_flow('direct', source='files', keys=['id'], sequence_by='int(at)', except_column_list=['at', 'op', '_rescued_data'])
"""
FIRST = [
    ("7", "Bern", 10, "U"),
    ("7", "Oslo", 12, "U"),
    ("8", "Rome", 10, "U"),
    ("8", "Rome", 13, "D"),
    ("9", "Nowhere", 1, "U"),
    ("9", "Kyiv", 11, "U"),
    ("6", "Gone", 3, "U"),
    (None, None, 5, "T"),
]


class Moves:
    "A pipeline with an SCD type 1, a type 2 and a file-fed target, after one update; `right` is what their files then held."

    def __init__(self, folder, first=FIRST, told=(8, 7, 6, 7)):
        self.sources, self.storage = folder / "transformations", Storage(folder / "storage")
        self.sources.mkdir()
        (self.sources / "moves.py").write_text(PIPELINE.lstrip())
        self.request = UpdateRequest((str(self.sources),), self.storage.root, master="local[2]")
        self.land("1", *first)
        assert self.update() == dict(zip(("landed", "now", "history", "direct"), told))
        self.right = {table: self.stored(table) for table in ("now", "history", "direct")}

    def land(self, name, *events):
        landing = self.storage.root / "Volumes/main/default/raw/moves"
        landing.mkdir(parents=True, exist_ok=True)
        (landing / f"{name}.json").write_text(
            "".join(json.dumps(dict(zip(("id", "city", "at", "op"), event))) + "\n" for event in events)
        )

    def update(self):
        result = run_update(self.request)
        assert result.state == "COMPLETED", result.error
        return {flow.dataset.split(".")[-1]: flow.num_output_rows for flow in result.flows}

    def path(self, table):
        return str(self.storage.table_path(TableName("main", "default", table)))

    def stored(self, table):
        return sorted(map(str, Files(self.path(table)).to_pyarrow_table().to_pylist()))

    def version(self, table):
        return Files(self.path(table)).version()

    def delta(self, table):
        return DeltaTable.forPath(local_spark(), self.path(table))

    def repair(self, table, where=None, since=None, until=None, force=False, **options):
        return repair_table(replace(self.request, **options), table, Choice(where, since, until), force)


@pytest.fixture(scope="module")
def moves(tmp_path_factory):
    return Moves(tmp_path_factory.mktemp("repair"))


def test_damaged_rows_are_as_if_undamaged_and_others_are_not_touched(moves):
    history = moves.delta("history")
    history.update("id = '7' and __sequence = 10", {"city": "'Paris'", "__END_AT": "null"})
    history.delete("id = '7' and __sequence = 12")
    history.toDF().where("id = '7'").write.format("delta").mode("append").save(
        moves.path("history")
    )  # and doubled
    history.update("id = '9'", {"city": "'Lviv'"})  # damage of a key that is not chosen stays
    other, version = (
        [row for row in moves.stored("history") if "'id': '7'" not in row],
        moves.version("history"),
    )
    done = moves.repair("history", "id in ('7', '8')")
    assert (done.keys, done.rows_before, done.rows_after, done.removed, done.added) == (2, 3, 3, 2, 2)
    assert moves.version("history") == version + 1  # one commit
    assert [row for row in moves.stored("history") if "'id': '7'" not in row] == other
    assert [row for row in moves.stored("history") if "'id': '7'" in row] == [
        row for row in moves.right["history"] if "'id': '7'" in row
    ]
    moves.repair("history", since="11", until="11")  # id 9, by its one event of that sequence
    assert moves.stored("history") == moves.right["history"]
    assert moves.version("history") == version + 2


def test_a_lost_tombstone_and_a_lost_key_come_back_but_not_what_a_truncate_removed(moves):
    assert "Gone" not in str(moves.right["now"])
    moves.delta("now").delete("id <> '9'")
    assert moves.repair("now", "id <> '9'").added == 2
    assert moves.stored("now") == moves.right["now"]
    with pytest.raises(UsageError, match="no key has an event since 5 and"):
        moves.repair("now", since="5", until="5")  # but the truncate, which has no key
    moves.delta("now").delete("id is null")  # the truncate is lost as well: it is in the source
    assert (moves.repair("now", "id = '6'").rows_after, "Gone" in str(moves.stored("now"))) == (0, False)


def test_a_flow_that_reads_files_reads_them_all_again(moves):
    moves.delta("direct").update("id = '7'", {"city": "null"})
    schemas = {
        path: path.read_text()
        for path in (moves.storage.root / "checkpoints").glob("*/*/*/*/schemas/*/*")
        if path.is_file()
    }
    assert schemas and moves.repair("direct", "id = '7'").changes.values == [
        ("-", None, "7"),
        ("+", "Oslo", "7"),
    ]
    assert moves.stored("direct") == moves.right["direct"]
    assert schemas == {path: path.read_text() for path in schemas}


def test_wrong_use_changes_nothing(moves):
    version = moves.version("history")
    with pytest.raises(UsageError, match="--where"):
        moves.repair("history", "id = '7")
    with pytest.raises(UsageError, match="no key has an event since 99"):
        moves.repair("history", since="99")
    assert moves.version("history") == version and not list(moves.storage.state_path.glob("repair-*"))


def test_a_held_storage_and_a_changed_declaration_are_refused(moves):
    with lock_storage(moves.storage), pytest.raises(UsageError, match="in use"):
        moves.repair("history", "true")
    (moves.sources / "moves.py").write_text(PIPELINE.replace("stored_as_scd_type=2, ", "").lstrip())
    with pytest.raises(PipelineError, match="stored_as_scd_type"):
        moves.repair("history", "true")
    (moves.sources / "moves.py").write_text(
        PIPELINE.replace("where('id is not null')", "selectExpr('*', '1 AS country')", 1).lstrip()
    )
    with pytest.raises(
        UsageError, match="history: its source has other columns than at the last update; run an update first"
    ):
        moves.repair("history", "true")
    (moves.sources / "moves.py").write_text(PIPELINE.lstrip())


def test_a_repair_that_dies_changes_nothing_and_leaves_nothing_to_the_next(moves, monkeypatch):
    moves.delta("history").update("id = '7'", {"city": "'Paris'"})
    before = moves.stored("history")
    left = moves.storage.state_path / "repair-killed"
    left.mkdir()

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(repairing, "replace_rows", dies)
    with pytest.raises(KeyboardInterrupt):
        moves.repair("history", "id = '7'")
    monkeypatch.undo()
    assert moves.stored("history") == before
    assert moves.repair("history", "id = '7'").changed and moves.stored("history") == moves.right["history"]
    assert not left.exists() and not list(moves.storage.state_path.glob("repair-*"))
    told = [event["message"] for event in read_events(moves.storage.event_log_path, event_type="user_action")]
    assert told[-1] == "main.default.history: 1 keys repaired, 2 stored rows replaced by 2." and any(
        "nothing was changed" in text for text in told
    )


def test_updates_go_on_where_they_were(moves):
    moves.land("2", ("7", "Ulm", 11, "U"))
    assert moves.update() == {"landed": 1, "now": 1, "history": 1, "direct": 1}
    versions = [
        row for row in Files(moves.path("history")).to_pyarrow_table().to_pylist() if row["id"] == "7"
    ]
    assert sorted((row["city"], row["__START_AT"], row["__END_AT"]) for row in versions) == [
        ("Bern", 10, 11),
        ("Oslo", 12, None),
        ("Ulm", 11, 12),
    ]


def test_what_the_source_has_lost_is_not_thrown_away(moves):
    before = moves.stored("history")
    moves.delta("landed").delete("city = 'Ulm'")
    with pytest.raises(
        UsageError, match="1 stored events of .*history are not in its source, as id 7, sequence 11"
    ):
        moves.repair("history", "id = '7'")
    assert moves.stored("history") == before
    assert moves.repair("history", "id = '7'", force=True).rows_after == 2
    assert moves.stored("history") == moves.right["history"]


# --- parts, without the pipeline ----------------------------------------------------------------------------------------------------------


def table(name):
    return TableName("main", "default", name)


def test_which_tables_can_be_repaired(tmp_path):
    storage, graph = Storage(tmp_path), Graph("main", "default")
    for name in ("moves", "moved", "totals", "people"):
        graph.add_dataset(Dataset(table(name), "view" if name == "people" else "streaming_table"))
    for name, target, kind in (
        ("one", "moves", "auto_cdc"),
        ("two", "moves", "auto_cdc"),
        ("three", "moved", "auto_cdc"),
        ("four", "totals", "complete"),
    ):
        graph.add_flow(Flow(name, table(target), kind))
    for name in ("moves", "totals", "people"):
        (storage.table_path(table(name)) / "_delta_log").mkdir(parents=True)
        (storage.table_path(table(name)) / "_delta_log/00000000000000000000.json").touch()
    assert [flow.name for flow in repaired_flows(graph, storage, "default.moves")] == ["one", "two"]
    for name, words in (
        ("totals", "its flow is complete"),
        ("people", "its flow is missing"),
        ("moved", "has no rows to repair yet"),
        ("mved", "did you mean moved?"),
        ("x", "it has moved, moves, people, totals"),
    ):
        with pytest.raises(UsageError, match=words.replace("?", r"\?")):
            repaired_flows(graph, storage, name)


def test_the_folder_aside_has_the_schemas_and_goes(tmp_path):
    storage = Storage(tmp_path / "cdc").create()
    schemas, left = (
        storage.flow_path(table("moves"), "flow") / "schemas" / "0",
        storage.state_path / "repair-killed",
    )
    for folder in (schemas, left):
        folder.mkdir(parents=True)
    (schemas / "1").write_text("id int")
    for dry_run in (True, False):
        with prepare_aside(storage, dry_run) as there:
            assert there.table_path(table("moves")) == storage.table_path(table("moves"))
            assert (there.flow_path(table("moves"), "flow") / "schemas" / "0" / "1").read_text() == "id int"
            assert there.aside.is_relative_to(storage.root) != dry_run and left.exists() == dry_run
        assert not there.aside.exists()


def test_rows_that_are_kept_are_computed_once(tmp_path):
    read = tmp_path / "read.txt"
    read.write_text("Bern\n")
    once = persist_rows(local_spark().read.text(str(read)), tmp_path / "kept")
    read.unlink()
    assert [row.value for row in once.collect()] == ["Bern"]


def test_rows_that_only_go_or_only_come_are_a_change():
    def changed(removed, added):
        return Repaired("moves", 1, removed, added, removed, added, Rows((), [])).changed

    assert (changed(0, 0), changed(1, 0), changed(0, 1)) == (False, True, True)
