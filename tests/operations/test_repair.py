"Damaged rows of AUTO CDC targets are mended from their source: equal to an undamaged run, others untouched."

import pytest
from deltalake import DeltaTable as Files
from moves_pipeline import PIPELINE, Moves
from pyspark.sql.types import StructType

from cdc_local.dataflow.graph import Dataset, Flow, Graph
from cdc_local.errors import PipelineError, UsageError
from cdc_local.operations import repair as repairing
from cdc_local.operations.repair import (
    KeyChoice,
    find_target_flows,
    key_condition,
    sequence_condition,
)
from cdc_local.operations.repair_source import open_repair_storage, persist_rows
from cdc_local.storage import Storage, TableName, lock_storage
from cdc_local.update.event_log import read_events


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


def test_a_dry_run_says_what_a_repair_does_and_writes_nothing(moves):
    moves.delta("history").update("id = '7' and __sequence = 12", {"city": "'Olso'"})
    damaged, version = moves.stored("history"), moves.version("history")
    planned = moves.repair("history", "id = '7'", dry_run=True)
    assert (planned.keys, planned.rows_before, planned.rows_after) == (1, 2, 2)
    assert (planned.removed, planned.added) == (1, 1)
    shown = [[row[0], row[planned.changes.columns.index("city")]] for row in planned.changes.values]
    assert shown == [["-", "Olso"], ["+", "Oslo"]]
    assert (moves.stored("history"), moves.version("history")) == (damaged, version)
    assert moves.repair("history", "id = '7'") == planned
    assert moves.stored("history") == moves.right["history"]
    again = moves.repair("history", since="12", until="12")
    assert (again.keys, again.changed, moves.version("history")) == (1, False, version + 1)


@pytest.mark.parametrize(
    "table, where, message",
    [
        ("hsitory", "id = '7'", r"no table hsitory in this pipeline; did you mean history\?"),
        ("landed", "id = '7'", r"main.default.landed is no AUTO CDC target \(its flow is append\)"),
        ("history", "city = 'Oslo'", "write a condition on the key columns: id"),
        ("history", None, "no keys are chosen"),
    ],
)
def test_what_cannot_be_repaired_is_refused(moves, table, where, message):
    with pytest.raises(UsageError, match=message):
        moves.repair(table, where)


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


# --- parts, without the pipeline ----------------------------------------------------------------------------


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
    assert [flow.name for flow in find_target_flows(graph, storage, "default.moves")] == ["one", "two"]
    for name, words in (
        ("totals", "its flow is complete"),
        ("people", "its flow is missing"),
        ("moved", "has no rows to repair yet"),
        ("mved", "did you mean moved?"),
        ("x", "it has moved, moves, people, totals"),
    ):
        with pytest.raises(UsageError, match=words.replace("?", r"\?")):
            find_target_flows(graph, storage, name)


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
        with open_repair_storage(storage, dry_run) as there:
            assert there.table_path(table("moves")) == storage.table_path(table("moves"))
            assert (there.flow_path(table("moves"), "flow") / "schemas" / "0" / "1").read_text() == "id int"
            assert there.folder.is_relative_to(storage.root) != dry_run and left.exists() == dry_run
        assert not there.folder.exists()


def test_rows_that_are_kept_are_computed_once(spark, tmp_path):
    read = tmp_path / "read.txt"
    read.write_text("Bern\n")
    once = persist_rows(spark.read.text(str(read)), tmp_path / "kept")
    read.unlink()
    assert [row.value for row in once.collect()] == ["Bern"]


def test_a_choice_is_described_in_words():
    assert str(KeyChoice(until="2026-01-03")) == "an event until 2026-01-03"
    choice = KeyChoice("country = 'CH'", since="2026-01-02")
    assert str(choice) == "country = 'CH' and an event since 2026-01-02"


def test_a_condition_on_keys_names_key_columns_only(spark):
    keys = StructType.fromDDL("id INT, country STRING")
    with pytest.raises(UsageError, match="write a condition on the key columns: id, country"):
        key_condition(KeyChoice("city = 'Bern'"), keys, spark)
    rows = spark.createDataFrame([(7, "CH"), (8, "CH")], keys)
    assert rows.where(key_condition(KeyChoice("id = 7"), keys, spark)).count() == 1
    assert rows.where(key_condition(KeyChoice(since="1"), keys, spark)).count() == 2


@pytest.mark.parametrize(
    "since, until, rows",
    [
        ("2026-01-02", None, 1),
        (None, "2026-01-02", 0),
        ("2026-01-02 10:00:00", "2026-01-02 10:00:00", 1),
    ],
)
def test_the_bounds_of_a_sequence_are_included(spark, since, until, rows):
    events = spark.sql("SELECT timestamp '2026-01-02 10:00:00' AS __sequence")
    assert events.where(sequence_condition(KeyChoice(since=since, until=until), events)).count() == rows


def test_a_bound_that_is_no_value_of_the_sequence_is_refused(spark):
    events = spark.sql("SELECT timestamp '2026-01-02 10:00:00' AS __sequence")
    with pytest.raises(UsageError, match="--since 'soon' is no timestamp"):
        sequence_condition(KeyChoice(since="soon"), events)
    pairs = spark.sql("SELECT struct(1 AS a, 2 AS b) AS __sequence")
    with pytest.raises(UsageError, match="choose the keys with --where"):
        sequence_condition(KeyChoice(since="1"), pairs)
    assert sequence_condition(KeyChoice("id = 7"), pairs) is None
