"Updates that are wrong, interrupted or repeated: the right words, nothing written, nothing lost."

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from deltalake import DeltaTable

from cdc_local.delta.reader import read_table
from cdc_local.errors import PipelineError, UsageError
from cdc_local.storage import Storage, TableName, lock_storage
from cdc_local.update.event_log import read_events
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update
from cdc_local.update.source_environment import deployed_wheels
from cdc_utils.pictures import flow_graph

pytestmark = pytest.mark.sail

LANDED = """
from pyspark import pipelines as dp
@dp.table
def landed():
    files = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
    return files.schema('id int, city string, at int, op string').load('/Volumes/main/default/raw/moves')
"""
HISTORY = """
from pyspark import pipelines as dp
dp.create_streaming_table('moves')
dp.create_auto_cdc_flow('moves', 'landed', ['id'], 'at', apply_as_deletes="op = 'D'",
    except_column_list=['op', 'at'], stored_as_scd_type=2)
"""


class Pipeline:
    "A folder of sources and a storage folder."

    def __init__(self, folder):
        self.sources, self.storage = folder / "transformations", Storage(folder / "storage")
        self.sources.mkdir()

    def write(self, **files):
        for name, text in files.items():
            (self.sources / f"{name}.py").write_text(text.lstrip())
        return self

    def land(self, name, *events):
        landing = self.storage.root / "Volumes/main/default/raw/moves"
        landing.mkdir(parents=True, exist_ok=True)
        (landing / f"{name}.json").write_text(
            "".join(
                json.dumps(dict(zip(("id", "city", "at", "op"), event, strict=True))) + "\n"
                for event in events
            )
        )
        return self

    def request(self, **options):
        return UpdateRequest((str(self.sources),), self.storage.root, **options)

    def run(self, **options):
        return run_update(self.request(**options))

    def rows(self, table):
        found = read_table(self.storage, TableName("main", "default", table))
        return sorted((tuple(row.values()) for row in found.to_pylist()), key=str)


@pytest.fixture
def pipeline(tmp_path):
    return Pipeline(tmp_path)


MISTAKES = {
    "a cycle": (
        """
from pyspark import pipelines as dp
@dp.materialized_view
def first(): return spark.read.table('second')
@dp.materialized_view
def second(): return spark.read.table('first')
""",
        "wrong.py:2: a cycle: main.default.first reads main.default.second reads main.default.first",
    ),
    "two declarations": (
        """
import dlt
@dlt.table
def one(): return spark.range(1)
@dlt.table(name='one')
def again(): return spark.range(1)
""",
        "wrong.py:4: dataset main.default.one is declared twice, first at",
    ),
    "an unknown table": (
        """
import dlt
@dlt.table
def one(): return spark.read.table('ones')
""",
        "wrong.py:3: table ones is neither in this pipeline nor in the storage",
    ),
    "a misspelt parameter": (
        """
import dlt
@dlt.table(commnet='x')
def one(): return spark.range(1)
""",
        "wrong.py:2: table() has no parameter `commnet`; did you mean `comment`?",
    ),
    "a misspelt CDC parameter": (
        """
from pyspark import pipelines as dp
dp.create_streaming_table('t')
dp.create_auto_cdc_flow('t', 's', ['id'], 'at', stored_as_scd_typ=2)
""",
        "wrong.py:3: create_auto_cdc_flow() has no parameter `stored_as_scd_typ`; "
        "did you mean `stored_as_scd_type`?",
    ),
    "a script that fails": ("x = 1\n\nprint(y)\n", "wrong.py:3: NameError: name 'y' is not defined"),
    "a syntax error": ("import dlt\ndef one(:\n", "wrong.py:2: SyntaxError"),
    "a missing module": ("import no_such_module\n", "wrong.py:1: ModuleNotFoundError"),
    "a write": (
        """
import dlt
@dlt.table
def one():
    spark.range(3).write.mode('overwrite').saveAsTable('elsewhere')
    return spark.range(3)
""",
        "wrong.py:4: DataFrame.write is a write",
    ),
    "an expectation Spark cannot read": (
        """
import dlt
@dlt.table
@dlt.expect('positive', 'amuont > 0')
def one(): return spark.range(1)
""",
        "wrong.py:2: expectation 'positive' of main.default.one",
    ),
    "a flow without target": (
        """
from pyspark import pipelines as dp
@dp.append_flow(target='nowhere')
def f(): return spark.readStream.format('rate').load()
""",
        "wrong.py:2: flow f writes to main.default.nowhere, which is not declared",
    ),
    "a stream from a materialized view": (
        """
import dlt
@dlt.table
def batch(): return spark.range(1)
@dlt.table
def stream(): return dlt.read_stream('batch')
""",
        "wrong.py:5: main.default.batch is a materialized view",
    ),
    "partitioned by every column": (
        """
import dlt
@dlt.table(partition_cols=['id'])
def one(): return spark.range(1)
""",
        "wrong.py:2: main.default.one: `partition_cols` names every column",
    ),
    "a bitemporal table without system time": (
        """
from pyspark import pipelines as dp
dp.create_streaming_table('t')
dp.create_auto_cdc_flow('t', 's', ['id'], 'at', stored_as_scd_type='bitemporal')
""",
        "wrong.py:3: t: `system_sequence_by` is None; a bitemporal table needs it",
    ),
    "a bitemporal table of snapshots": (
        """
from pyspark import pipelines as dp
dp.create_streaming_table('t')
dp.create_auto_cdc_from_snapshot_flow('t', 's', ['id'], stored_as_scd_type='bitemporal')
""",
        "wrong.py:3: t: `stored_as_scd_type` is 'bitemporal'; a snapshot has one time",
    ),
}


def assert_refused(pipeline, text, words):
    pipeline.write(wrong=text)
    with pytest.raises(PipelineError) as raised:
        pipeline.run()
    assert words in str(raised.value)
    assert raised.value.exit_code == 1
    assert pipeline.storage.tables() == [] and not (pipeline.storage.root / "checkpoints").exists()


@pytest.mark.parametrize("text, words", MISTAKES.values(), ids=list(MISTAKES))
def test_mistakes_name_file_and_line_and_write_nothing(pipeline, text, words):
    assert_refused(pipeline, text, words)


def test_every_mistake_is_listed(pipeline):
    pipeline.write(
        wrong="""
import dlt
@dlt.table
def one(): return spark.read.table('nobody')
@dlt.table
def two(): return spark.range(1).write
"""
    )
    with pytest.raises(PipelineError, match="2 mistakes in this pipeline") as raised:
        pipeline.run()
    assert "table nobody" in str(raised.value) and "write is a write" in str(raised.value)


def test_a_file_sees_no_names_of_another(pipeline):
    pipeline.write(first="limit = 3\n", second="print(limit)\n")
    with pytest.raises(PipelineError, match="second.py:1: NameError: name 'limit' is not defined"):
        pipeline.run(dry_run=True)


def test_a_module_beside_the_sources_is_found_before_one_of_its_name(pipeline):
    (pipeline.sources.parent / "this.py").write_text("ROWS = 3\n")  # Python has one, too
    result = pipeline.write(
        first="import this, dlt\n@dlt.table\ndef t(): return spark.range(this.ROWS)\n"
    ).run(dry_run=True)
    assert list(result.reads) == ["main.default.t"]


def test_the_next_update_of_a_process_reads_the_users_modules_again_and_libraries_once(pipeline, monkeypatch):
    monkeypatch.delitem(sys.modules, "tabnanny", raising=False)  # a library that the first update loads
    (pipeline.sources.parent / "shared").mkdir()
    (pipeline.sources.parent / "shared" / "sizes.py").write_text("ROWS = 3\n")
    pipeline.write(
        first="import dlt, tabnanny\nfrom shared import sizes\n"
        "@dlt.table\ndef t(): return spark.range(sizes.ROWS)\n"
    ).run(dry_run=True)
    library, path = sys.modules["tabnanny"], list(sys.path)
    assert not {"shared", "shared.sizes", "dlt"} & sys.modules.keys()
    (pipeline.sources.parent / "shared" / "sizes.py").write_text("NOTHING = 3\n")
    with pytest.raises(PipelineError, match="module 'shared.sizes' has no attribute 'ROWS'"):
        pipeline.run(dry_run=True)
    assert sys.modules["tabnanny"] is library and sys.path == path


def test_a_mistake_in_a_view_that_nobody_reads_is_one(pipeline):
    pipeline.write(
        wrong="""
import dlt
@dlt.view
def seen(): return spark.range(1)
@dlt.view
def unseen(): return spark.read.table('nobody')
@dlt.table
def t(): return dlt.read('seen')
"""
    )
    with pytest.raises(PipelineError, match="wrong.py:5: table nobody") as raised:
        pipeline.run(dry_run=True)
    assert "mistakes" not in str(raised.value)  # the other view and its reader are right


def test_a_view_tells_what_it_reads(pipeline):
    views = """
import dlt
@dlt.view
def inner(): return dlt.read('landed')
@dlt.view
def outer(): return dlt.read('inner')
@dlt.table
def t(): return dlt.read('outer')
"""
    result = pipeline.write(landed=LANDED, views=views).land("1", (1, "Bern", 1, "U")).run(dry_run=True)
    assert {name.split(".")[-1]: [table.table for table in read] for name, read in result.reads.items()} == {
        "landed": [],
        "t": ["inner", "landed", "outer"],
        "outer": ["inner", "landed"],
        "inner": ["landed"],
    }
    drawn = flow_graph(result.graph, result.reads).alt
    assert (
        "t (materialized view) reads outer." in drawn
        and "outer (view) reads inner;" in drawn
        and "inner (view) reads landed;" in drawn
    )


def test_missing_path_is_wrong_use(pipeline):
    with pytest.raises(UsageError, match="no_such_folder"):
        run_update(UpdateRequest(("no_such_folder",), pipeline.storage.root))
    assert not pipeline.storage.root.exists()


def test_dry_run_touches_nothing(pipeline):
    result = pipeline.write(landed=LANDED, moves=HISTORY).land("1", (1, "Bern", 1, "U")).run(dry_run=True)
    assert {name: [str(table) for table in tables] for name, tables in result.reads.items()} == {
        "main.default.landed": [],
        "main.default.moves": ["main.default.landed"],
    }
    assert sorted(path.name for path in pipeline.storage.root.iterdir()) == ["Volumes"]


def test_a_dry_run_may_leave_its_events(pipeline):
    "As an update of the workspace that only validates: clients ask the event log what came out."
    pipeline.write(landed=LANDED, moves=HISTORY).land("1", (1, "Bern", 1, "U"))
    update_id = pipeline.run(dry_run=True, keeps_events=True).update_id
    events = read_events(pipeline.storage.event_log_path, update_id=update_id)
    assert json.loads(events[0]["details"])["create_update"]["dry_run"] is True
    defined = [event for event in events if event["event_type"] == "flow_definition"]
    assert [json.loads(event["origin"])["flow_name"] for event in defined] == [
        "main.default.landed",
        "main.default.moves",
    ]
    assert json.loads(events[-1]["details"])["update_progress"]["state"] == "COMPLETED"
    assert pipeline.storage.tables() == []


def test_an_update_killed_while_it_creates_tables(pipeline):
    "What is left is a log without commits: nobody takes it for a table, and the next update creates one."
    pipeline.write(landed=LANDED, moves=HISTORY).land("1", (1, "Ulm", 1, "U"))
    logs = [
        pipeline.storage.table_path(TableName("main", "default", name)) / "_delta_log"
        for name in ("landed", "moves")
    ]
    for log in logs:
        log.mkdir(parents=True)
        (log / ".00000000000000000000.json.2f1e.tmp").touch()
    assert pipeline.storage.tables() == []
    assert pipeline.run(dry_run=True).state == "COMPLETED" and all(log.is_dir() for log in logs)
    assert pipeline.run().state == "COMPLETED"
    assert pipeline.rows("moves") == [(1, "Ulm", 1, None)]


def test_storage_in_use_is_refused(pipeline):
    pipeline.write(landed=LANDED).land("1", (1, "Bern", 1, "U"))
    with (
        lock_storage(pipeline.storage.create()),
        pytest.raises(UsageError, match="is in use by another update"),
    ):
        pipeline.run()


def test_a_declared_schema_that_fits(pipeline):
    declared = "city string, id int, __START_AT int, __END_AT int"
    pipeline.write(landed=LANDED, moves=HISTORY.replace("'moves')", f"'moves', schema='{declared}')", 1))
    pipeline.land("1", (1, "Ulm", 1, "U"), (1, "Bonn", 2, "U"))
    assert pipeline.run().state == "COMPLETED"
    assert pipeline.rows("moves") == [("Bonn", 1, 2, None), ("Ulm", 1, 1, 2)]  # in the declared order


def test_late_events_in_a_later_update(pipeline):
    pipeline.write(landed=LANDED, moves=HISTORY).land(
        "1", (7, "Lyon", 10, "U"), (7, "Oslo", 12, "U"), (8, "Rome", 10, "U")
    )
    assert pipeline.run().state == "COMPLETED"
    pipeline.land("2", (7, "Bern", 11, "U"), (8, None, 13, "D"), (9, None, 5, "D"))
    result = pipeline.run()
    assert pipeline.rows("moves") == [
        (7, "Bern", 11, 12),
        (7, "Lyon", 10, 11),
        (7, "Oslo", 12, None),
        (8, "Rome", 10, 13),
    ]
    flow = next(flow for flow in result.flows if flow.dataset == "main.default.moves")
    assert (flow.num_upserted_rows, flow.num_deleted_rows) == (1, 2)
    pipeline.land("3", (9, "Kyiv", 4, "U"))
    pipeline.run()
    assert (9, "Kyiv", 4, 5) in pipeline.rows("moves")
    result = pipeline.run()  # nothing new
    assert {
        (flow.num_output_rows, flow.num_upserted_rows, flow.num_deleted_rows) for flow in result.flows
    } == {(0, None, None), (0, 0, 0)}


@pytest.mark.parametrize("event", [(None, "Bern", 1, "U"), (1, "Bern", None, "U")], ids=["key", "sequence"])
def test_null_key_or_sequence_fails_and_writes_nothing(pipeline, event):
    pipeline.write(landed=LANDED, moves=HISTORY).land("1", (2, "Oslo", 1, "U"), event)
    result = pipeline.run()
    assert result.state == "FAILED" and "moves.py:" in result.error and "is NULL in the row" in result.error
    assert pipeline.rows("moves") == []


def test_changed_declaration_is_refused_and_full_refresh_mends_it(pipeline):
    pipeline.write(landed=LANDED, moves=HISTORY).land("1", (1, "Bern", 1, "U"), (1, "Oslo", 2, "U")).run()
    before = pipeline.rows("moves")
    pipeline.write(
        moves=HISTORY.replace("stored_as_scd_type=2", "stored_as_scd_type=1"),
        extra="import dlt\n@dlt.table\ndef extra(): return spark.range(1)\n",
    )
    with pytest.raises(PipelineError, match="--full-refresh moves"):
        pipeline.run()
    assert (
        pipeline.rows("moves") == before
        and TableName("main", "default", "extra") not in pipeline.storage.tables()
    )
    assert pipeline.run(full_refresh=("moves",)).state == "COMPLETED"
    assert pipeline.rows("moves") == [(1, "Oslo")]


def test_reset_not_allowed(pipeline):
    protected = LANDED.replace(
        "@dp.table", "@dp.table(table_properties={'pipelines.reset.allowed': 'false'})"
    )
    pipeline.write(landed=protected, moves=HISTORY).land("1", (1, "Bern", 1, "U")).run()
    with pytest.raises(UsageError, match="pipelines.reset.allowed"):
        pipeline.run(full_refresh=("landed",))
    result = pipeline.run(full_refresh_all=True)
    assert {flow.dataset.split(".")[-1]: flow.num_output_rows for flow in result.flows} == {
        "landed": 0,
        "moves": 1,
    }


def test_changed_row_in_a_streaming_source_is_refused(pipeline):
    reader = "import dlt\n@dlt.table\ndef reader(): return dlt.read_stream('landed')\n"
    pipeline.write(landed=LANDED, reader=reader).land("1", (1, "Bern", 1, "U")).run()
    path = str(pipeline.storage.table_path(TableName("main", "default", "landed")))
    DeltaTable(path).update(new_values={"city": "'Oslo'"})
    result = pipeline.run()
    assert result.state == "FAILED" and "a streaming source must only grow" in result.error


def test_new_column_reaches_the_history(pipeline):
    pipeline.write(landed=LANDED, moves=HISTORY).land("1", (1, "Bern", 1, "U")).run()
    pipeline.write(landed=LANDED.replace("op string", "op string, country string"))
    landing = pipeline.storage.root / "Volumes/main/default/raw/moves"
    (landing / "2.json").write_text('{"id": 1, "city": "Oslo", "at": 2, "op": "U", "country": "NO"}\n')
    assert pipeline.run().state == "COMPLETED"
    assert pipeline.rows("moves") == [(1, "Bern", None, 1, 2), (1, "Oslo", "NO", 2, None)]


MEANWHILE = """
import dlt
from pathlib import Path
folder, evaluations = Path({folder!r}), []
@dlt.table
def landed():
    evaluations.append(1)
    if len(evaluations) == 2:  # the flow begins, after its columns were found
        (folder / '2.json').write_text('{{"id": 2, "new": "x"}}')
    return spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json').load({folder!r})
@dlt.table
def copied(): return dlt.read_stream('landed')
"""


def test_a_column_that_arrives_while_the_update_runs_needs_no_retry(pipeline, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "1.json").write_text('{"id": 1}')
    pipeline.write(landed=MEANWHILE.format(folder=str(folder)))
    assert pipeline.run().state == "COMPLETED"

    def rows(name):
        path = pipeline.storage.table_path(TableName("main", "default", name))
        found = DeltaTable(str(path)).to_pyarrow_table().to_pylist()
        return sorted((row["id"], row["new"], row["_rescued_data"]) for row in found)

    assert rows("landed") == rows("copied") == [("1", None, None), ("2", "x", None)]


BACKFILL = """
from pyspark import pipelines as dp
dp.create_streaming_table('moves')
dp.create_auto_cdc_flow('moves', 'landed', ['id'], 'at', apply_as_deletes="op = 'D'",
    except_column_list=['op', 'at'], stored_as_scd_type=2)
@dp.temporary_view
def old():
    return spark.read.schema('id int, city string, at int, op string').json('/Volumes/main/default/raw/old')
dp.create_auto_cdc_flow('moves', 'old', ['id'], 'at', apply_as_deletes="op = 'D'",
    except_column_list=['op', 'at'], stored_as_scd_type=2, name='backfill', once=True)
"""


def test_a_backfill_and_a_stream_give_the_same_history_in_either_order(tmp_path):
    histories, moves = [], [(1, "Bern", 5, "U"), (1, None, 9, "D"), (2, "Oslo", 7, "U")]
    old = [(1, "Lyon", 1, "U"), (1, "Rome", 7, "U"), (2, "Kyiv", 2, "U"), (3, "Bonn", 1, "U")]
    for first in ("stream", "backfill"):
        (tmp_path / first).mkdir()
        pipeline = Pipeline(tmp_path / first).write(
            landed=LANDED, moves=HISTORY if first == "stream" else BACKFILL
        )
        folder = pipeline.storage.root / "Volumes/main/default/raw/old"
        folder.mkdir(parents=True)
        (folder / "old.json").write_text(
            "".join(
                json.dumps(dict(zip(("id", "city", "at", "op"), event, strict=True))) + "\n" for event in old
            )
        )
        pipeline.land("0") if first == "backfill" else pipeline.land("1", *moves)
        results = [pipeline.run()]
        pipeline.land("1", *moves).write(moves=BACKFILL)
        (folder / "later.json").write_text(
            '{"id": 4, "city": "Riga", "at": 1, "op": "U"}\n'
        ) if first == "backfill" else None
        results.append(pipeline.run())
        histories.append(pipeline.rows("moves"))
        counts = [
            flow.num_upserted_rows for result in results for flow in result.flows if flow.name == "backfill"
        ]
        assert counts == ([4] if first == "stream" else [4, 0]), [result.error for result in results]
    assert (
        histories[0]
        == histories[1]
        == [
            (1, "Bern", 5, 7),
            (1, "Lyon", 1, 5),
            (1, "Rome", 7, 9),
            (2, "Kyiv", 2, 7),
            (2, "Oslo", 7, None),
            (3, "Bonn", 1, None),
        ]
    )
    pipeline.run(full_refresh=("moves",))
    assert (4, "Riga", 1, None) in pipeline.rows("moves")  # a full refresh reads the backfill again


COMMAND = [str(Path(sys.executable).with_name("cdc")), "run"]


def wait_for(condition, seconds):
    "Wait until something is there; fails the test when it does not come."
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come in time"
        time.sleep(0.2)


def interrupt(pipeline, sign):
    "Stop an update by a signal once a batch of several is there; the next one does the rest."
    pipeline.write(
        landed=LANDED.replace("'json')", "'json').option('cloudFiles.maxFilesPerTrigger', 1)"), moves=HISTORY
    )
    events = [(key, f"city {number}", number, "U") for number in range(6) for key in range(20)]
    for number in range(6):
        pipeline.land(f"{number:02}", *events[number * 20 : (number + 1) * 20])
    update = subprocess.Popen(
        [*COMMAND, str(pipeline.sources), "--storage", str(pipeline.storage.root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    progress = pipeline.storage.root / "checkpoints/main/default/landed/main.default.landed/progress.jsonl"
    try:
        wait_for(lambda: progress.exists() and '"done": 1' in progress.read_text(), 240)
        if sign == signal.SIGINT:
            update.send_signal(sign)
        else:
            os.killpg(update.pid, sign)
        update.wait(120)
    finally:
        if update.poll() is None:
            os.killpg(update.pid, signal.SIGKILL)
    if sign == signal.SIGINT:
        assert update.returncode == 130, update.stderr.read().decode()[-2000:]
    assert pipeline.run().state == "COMPLETED"
    assert len(pipeline.rows("landed")) == len(events)
    assert pipeline.rows("moves") == sorted(
        ((key, city, at, at + 1 if at < 5 else None) for key, city, at, _ in events), key=str
    )


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_update_is_continued_by_the_next(pipeline, sign):
    interrupt(pipeline, sign)


def test_an_update_interrupted_before_it_wrote_is_canceled_and_wrote_nothing(pipeline):
    pipeline.write(landed=LANDED, stopped="raise KeyboardInterrupt").land("a", (1, "Rome", 1, "I"))
    with pytest.raises(KeyboardInterrupt):
        pipeline.run()
    ended = read_events(pipeline.storage.event_log_path)[-1]
    assert (ended["event_type"], ended["message"].split()[-1]) == ("update_progress", "CANCELED.")
    assert pipeline.storage.tables() == []
    pipeline.write(stopped="").run()
    assert pipeline.rows("landed") == [(1, "Rome", 1, "I")]


def test_an_update_that_died_as_it_planned_its_first_batch_is_begun_again(pipeline):
    pipeline.write(landed=LANDED, moves=HISTORY).land("1", (1, "Oslo", 1, "U"))
    for flow in ("landed", "moves"):
        offsets = (
            pipeline.storage.root / f"checkpoints/main/default/{flow}/main.default.{flow}/checkpoint/offsets"
        )
        offsets.mkdir(parents=True)
        for name in (".0.8db62e5f.tmp", "..0.8db62e5f.tmp.crc"):
            (offsets / name).write_text("v1")
    result = pipeline.run()
    assert result.state == "COMPLETED", result.error
    assert pipeline.rows("moves") == [(1, "Oslo", 1, None)]


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_wheels_of_an_update_are_unpacked_in_its_storage_unless_it_writes_nothing(
    pipeline, tmp_path, dry_run
):
    wheel = tmp_path / "shop-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("rates_of_the_shop.py", "VAT = 0.19")
    with deployed_wheels(pipeline.request(wheels=(wheel,), dry_run=dry_run)):
        assert importlib.import_module("rates_of_the_shop").VAT == 0.19
        del sys.modules["rates_of_the_shop"]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("rates_of_the_shop")
    assert (pipeline.storage.root / "wheels").is_dir() != dry_run


SALES = """
import dlt
@dlt.table
@dlt.expect_or_drop('positive', 'at > 0')
def sales(): return dlt.read_stream('landed')
"""
TOTALS = """
import dlt
@dlt.table
def a_totals(): return dlt.read('sales').groupBy('city').sum('at').withColumnRenamed('sum(at)', 'total')
"""


def written(result):
    return {flow.dataset.rsplit(".")[-1]: flow.num_output_rows for flow in result.flows}


def test_flows_run_in_the_order_of_what_they_read_and_count_what_they_write(pipeline):
    pipeline.write(a_totals=TOTALS, b_sales=SALES, c_landed=LANDED)
    pipeline.land("1", (1, "Bern", 10, "U"), (2, "Bern", -3, "U"), (3, "Oslo", 5, "U"))
    first = pipeline.run()
    assert list(written(first).items()) == [("landed", 3), ("sales", 2), ("a_totals", 2)]
    assert [flow.dropped_records for flow in first.flows] == [0, 1, 0]
    second = pipeline.land("2", (4, "Oslo", 7, "U")).run()  # streams take the new row, the view all
    assert written(second) == {"landed": 1, "sales": 1, "a_totals": 2}
    assert pipeline.rows("a_totals") == [("Bern", 10), ("Oslo", 12)]
    assert written(pipeline.run(full_refresh_all=True)) == {"landed": 4, "sales": 3, "a_totals": 2}
    with pytest.raises(UsageError, match="no table slaes in this pipeline"):
        pipeline.run(refresh=("slaes",))


def test_a_view_that_would_come_out_the_same_is_planned_as_a_no_op(pipeline):
    pipeline.write(a_totals=TOTALS, b_sales=SALES, c_landed=LANDED).land("1", (1, "Bern", 10, "U"))
    plans = []
    for _ in range(2):
        update_id = pipeline.run().update_id
        plans += read_events(
            pipeline.storage.event_log_path, update_id=update_id, event_type="planning_information"
        )
    assert [plan["message"].split()[-1] for plan in plans] == ["COMPLETE_RECOMPUTE.", "NO_OP."]


def test_a_type_that_the_stored_tables_cannot_keep_is_refused_until_they_are_rebuilt(pipeline):
    pipeline.write(b_sales=SALES, c_landed=LANDED).land("1", (1, "Bern", 10, "U")).run()
    pipeline.write(c_landed=LANDED.replace("at int", "at double"))
    with pytest.raises(PipelineError) as raised:
        pipeline.run()
    assert str(raised.value).removeprefix(f"{pipeline.sources}/") == (
        "b_sales.py:2: sales.at is double now and int in the stored table; "
        "landed.at is double now and int in the stored table: values would be changed; "
        "rebuild: cdc run … --full-refresh sales,landed"
    )
    assert pipeline.run(full_refresh=("landed", "sales")).state == "COMPLETED"
    assert pipeline.rows("sales") == [(1, "Bern", 10.0, "U")]
