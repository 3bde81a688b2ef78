"The change feed of a table: played back, it is the table; each change is read once, whatever happened."

import random

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from cdc_local.delta.reader import read_rows
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, TableName
from cdc_local.update.progress import Progress
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update
from cdc_local.update.unread_versions import find_unread_versions

pytestmark = pytest.mark.sail

HEAD = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

def target(name, **more):
    dp.create_streaming_table(name)
    dp.create_auto_cdc_flow(
        target=name, source="main.ext.events", keys=["ID"], sequence_by="n", apply_as_deletes="op = 'D'",
        except_column_list=["op"], **more,
    )

def changes_of(name, **options):
    return spark.readStream.options(readChangeFeed="true", **options).table(name)
"""
TARGETS = """
KINDS = {
    "one": {"apply_as_truncates": "op = 'T'"},
    "two": {"stored_as_scd_type": 2, "track_history_column_list": ["city"]},
    "known": {"stored_as_scd_type": "bitemporal", "system_sequence_by": "at"},
    "partly": {"ignore_null_updates": True},
}
for kind, more in KINDS.items():
    target(kind, **more)

    @dp.table(name=f"changes_of_{kind}")
    def changes(kind=kind):
        return changes_of(kind)
"""
ONE = """
target("one")

@dp.table
def feed():
    return changes_of("one")
"""


class Pipeline:
    "One source file, a storage, and the events that come to it."

    def __init__(self, folder):
        self.folder, self.storage = folder, Storage(folder / "storage")
        self.events = self.storage.root / "tables/main/ext/events"

    def write(self, text, head=HEAD):
        (self.folder / "pipeline.py").write_text(head + text)
        return self

    def land(self, *rows):
        "Events, each an id, a city, a sequence, when it was known, an operation."
        schema = pa.schema(
            [
                ("id", pa.string()),
                ("city", pa.string()),
                ("n", pa.int64()),
                ("at", pa.int64()),
                ("op", pa.string()),
            ]
        )
        columns = [list(column) for column in zip(*rows, strict=True)]
        write_deltalake(str(self.events), pa.table(columns, schema=schema), mode="append")
        return self

    def run(self, **options):
        return run_update(UpdateRequest((str(self.folder / "pipeline.py"),), self.storage.root, **options))

    def update(self, **options):
        result = self.run(**options)
        assert result.state == "COMPLETED", result.error
        return self

    def error(self):
        try:
            result = self.run()
        except PipelineError as refused:
            return str(refused)
        assert result.state == "FAILED"
        return result.error

    def path(self, table):
        return self.storage.root / "tables/main/default" / table

    def rows(self, table):
        found = read_rows(self.storage, TableName("main", "default", table))
        return [dict(zip(found.columns, row, strict=True)) for row in found.values]

    def feed(self, table="feed", columns=("id", "city", "_change_type")):
        order = "_commit_version", "id", "_change_type"
        rows = sorted(self.rows(table), key=lambda row: [row.get(name) for name in order])
        return [tuple(row[name] for name in columns) for row in rows]


@pytest.fixture
def pipeline(tmp_path, spark):
    return Pipeline(tmp_path)


def play_back(changes):
    "The rows that a feed leaves; each change fits the rows before it."
    rows = []
    removes, adds = ("delete", "update_preimage"), ("insert", "update_postimage")
    for version in sorted({row["_commit_version"] for row in changes}):
        of_commit = [row for row in changes if row["_commit_version"] == version]
        assert len({row["_commit_timestamp"] for row in of_commit}) == 1
        said = {kind: [] for kind in (*removes, *adds)}
        for row in of_commit:
            values = tuple(value for name, value in row.items() if not name.startswith("_c"))
            said[row["_change_type"]].append(values)
        assert len(said["update_preimage"]) == len(said["update_postimage"])
        for values in (*said["delete"], *said["update_preimage"]):
            rows.remove(values)
        rows += [*said["insert"], *said["update_postimage"]]
        assert not set(said["update_preimage"]) & set(said["update_postimage"])
    return sorted(rows, key=repr)


def test_a_feed_that_is_played_back_is_its_table(pipeline):
    pipeline.write(TARGETS)
    choose = random.Random(7)
    for number in range(5):
        operations = "UUUUD" if number < 4 else "UUUUDT"
        pipeline.land(
            *[
                (
                    choose.choice("abcdef"),
                    choose.choice(["Oslo", "Rome", "Bern", None]),
                    choose.randint(1, 40),
                    choose.randint(1, 9),
                    choose.choice(operations),
                )
                for _ in range(8)
            ]
        ).update()
        for kind in ("one", "two", "known", "partly"):
            wanted = sorted((tuple(row.values()) for row in pipeline.rows(kind)), key=repr)
            assert play_back(pipeline.rows(f"changes_of_{kind}")) == wanted, (number, kind)


def test_a_feed_begins_with_what_is_there_and_goes_on_with_changes(pipeline):
    pipeline.write('target("one")').land(("a", "Oslo", 1, 1, "U"), ("b", "Rome", 1, 1, "U")).update()
    pipeline.write(ONE).land(
        ("a", "Bern", 2, 2, "U"), ("b", None, 2, 2, "D"), ("c", "Graz", 1, 1, "U")
    ).update()
    assert pipeline.feed() == [("a", "Bern", "insert"), ("c", "Graz", "insert")]
    pipeline.land(("a", "Lima", 3, 3, "U"), ("a", "late", 1, 4, "U"), ("c", None, 2, 2, "D")).update()
    changes = pipeline.feed(columns=("id", "city", "_change_type", "_commit_version"))[2:]
    assert changes == [
        ("a", "Lima", "update_postimage", 3),
        ("a", "Bern", "update_preimage", 3),
        ("c", "Graz", "delete", 3),
    ]
    pipeline.update()
    assert len(pipeline.feed()) == 5


@pytest.mark.parametrize(
    "options, wanted",
    [
        ("startingVersion=1", ["insert", "update_postimage", "update_preimage"]),
        ("startingVersion=2", ["update_postimage", "update_preimage"]),
        ("startingVersion='latest'", []),
        ("startingTimestamp='2020-01-01'", ["insert", "update_postimage", "update_preimage"]),
    ],
)
def test_a_feed_begins_where_it_is_told_to(pipeline, options, wanted):
    pipeline.write('target("one")').land(("a", "Oslo", 1, 1, "U")).update()
    pipeline.land(("a", "Rome", 2, 1, "U")).update()
    pipeline.write(ONE.replace('changes_of("one")', f'changes_of("one", {options})')).update()
    assert [kind for (kind,) in pipeline.feed(columns=("_change_type",))] == wanted
    pipeline.land(("b", "Bern", 1, 1, "U")).update()
    assert pipeline.feed()[len(wanted) :] == [("b", "Bern", "insert")]


def test_a_stream_of_rows_begins_where_it_is_told_to(pipeline):
    pipeline.land(("a", "Oslo", 1, 1, "U")).land(("b", "Rome", 1, 1, "U")).write(
        "@dp.table\ndef later():\n"
        '    return spark.readStream.option("startingVersion", 1).table("main.ext.events").select("id")\n'
    )
    pipeline.update().land(("c", "Bern", 1, 1, "U")).update()
    assert sorted(row["id"] for row in pipeline.rows("later")) == ["b", "c"]


def test_a_batch_that_was_planned_before_a_kill_is_read_again_as_planned(pipeline, monkeypatch):
    pipeline.write(ONE).land(("a", "Oslo", 1, 1, "U")).update()
    pipeline.land(("a", "Rome", 2, 1, "U"))
    finish = Progress.finish

    def die(progress, target=None):
        if "feed" in progress.stream:
            raise RuntimeError("killed here")
        finish(progress, target)

    with monkeypatch.context() as dying:
        dying.setattr(Progress, "finish", die)
        assert "killed here" in pipeline.error()
    assert len(pipeline.feed()) == 3  # it is written, and not noted
    pipeline.land(("a", "Bern", 3, 1, "U")).update()
    assert pipeline.feed() == [
        ("a", "Oslo", "insert"),
        ("a", "Rome", "update_postimage"),
        ("a", "Oslo", "update_preimage"),
        ("a", "Bern", "update_postimage"),
        ("a", "Rome", "update_preimage"),
    ]


def test_a_flow_that_is_told_to_read_changes_goes_on_where_it_was(pipeline):
    feed = ONE.replace(
        'changes_of("one")', 'spark.readStream.table("one").withColumn("_change_type", F.lit("row"))'
    )
    pipeline.write(feed).land(("a", "Oslo", 1, 1, "U")).update()
    pipeline.write(
        ONE.replace('"one")', '"one").drop("_commit_timestamp", "_commit_version")', 2).replace(
            'target("one").drop("_commit_timestamp", "_commit_version")', 'target("one")'
        )
    ).land(("a", "Rome", 2, 1, "U")).update()
    assert sorted(row["_change_type"] for row in pipeline.rows("feed")) == [
        "row",
        "update_postimage",
        "update_preimage",
    ]


def test_maintenance_keeps_what_a_feed_has_yet_to_show(pipeline):
    pipeline.write(ONE).land(("a", "Oslo", 1, 1, "U")).update()
    [unread] = [
        found.version
        for table, found in find_unread_versions(pipeline.storage).items()
        if table == str(DeltaTable(str(pipeline.path("one"))).metadata().id)
    ]
    assert unread == DeltaTable(str(pipeline.path("one"))).version()  # the files that the next commit removes


def test_changes_whose_files_are_gone_are_refused_with_what_mends_it(pipeline):
    pipeline.write(ONE).land(("a", "Oslo", 1, 1, "U")).update()
    pipeline.write('target("one")').land(("a", "Rome", 2, 1, "U")).update()
    DeltaTable(str(pipeline.path("one"))).vacuum(0, dry_run=False, enforce_retention_duration=False)
    error = pipeline.write(ONE).error()
    assert "has not read all of its source" in error and "--full-refresh feed" in error


def test_a_batch_reads_versions_and_moments(pipeline):
    pipeline.write('target("one")')
    for number, city in enumerate(("Oslo", "Rome", "Bern"), 1):
        pipeline.land(("a", city, number, 1, "U")).update()
    reads = {
        "then": 'spark.read.option("versionAsOf", 2).table("one")',
        "at": "spark.sql(\"SELECT * FROM table_changes('one', 2, 2)\")",
        "since": 'spark.read.options(readChangeFeed=True, startingVersion=2, endingVersion=3).table("one")',
        "file": 'spark.read.format("delta").options(readChangeFeed=True, startingVersion=3).load(PATH)',
    }
    views = "".join(
        f"@dp.materialized_view\ndef {name}():\n    return {read}\n" for name, read in reads.items()
    )
    pipeline.write(f'PATH = {str(pipeline.path("one"))!r}\ntarget("one")\n{views}').update()
    assert [row["city"] for row in pipeline.rows("then")] == ["Rome"]
    second = [("Rome", "update_postimage"), ("Oslo", "update_preimage")]
    third = [("Bern", "update_postimage"), ("Rome", "update_preimage")]
    for table, wanted in (("at", second), ("since", second + third), ("file", third)):
        assert pipeline.feed(table, ("city", "_change_type")) == wanted, table


@pytest.mark.parametrize(
    "read, says",
    [
        ('changes_of("plain")', "main.default.plain records no change feed"),
        ('changes_of("main.ext.events")', "events records no change feed at version 0"),
        ('changes_of("seen")', "seen is a view, which has no change feed"),
        (
            'spark.read.option("readChangeFeed", True).table("main.ext.events")',
            "without a version to begin with",
        ),
        (
            'spark.read.options(readChangeFeed=True, startingVersion=9).table("main.ext.events")',
            "startingVersion is 9, and events is at version 0",
        ),
        (
            'changes_of("one", startingVersion=0, startingTimestamp="2020-01-01")',
            "startingVersion and startingTimestamp are both given",
        ),
        (
            'spark.read.option("versionAsOf", 4).table("main.ext.events")',
            "versionAsOf is 4, and events is at",
        ),
    ],
)
def test_what_has_no_feed_is_refused_by_name(pipeline, read, says):
    plain = '@dp.table\ndef plain():\n    return spark.readStream.table("main.ext.events")\n'
    seen = '@dp.temporary_view\ndef seen():\n    return spark.readStream.table("main.ext.events")\n'
    of_one = (
        f"@dp.table\ndef of_it():\n    return {read}\n"
        if "changes_of" in read
        else (f"@dp.materialized_view\ndef of_it():\n    return {read}\n")
    )
    pipeline.land(("a", "Oslo", 1, 1, "U")).write(f'target("one")\n{plain}{seen}{of_one}')
    error = pipeline.error()
    assert says in error and "pipeline.py" in error, error
