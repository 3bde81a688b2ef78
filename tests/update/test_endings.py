"What ends an update from outside is one sentence: a full disk, a Java that ended, a damaged file."

import errno
from types import SimpleNamespace

import pytest
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError
from pipelines import pipeline, table

from cdc_local.dataflow.graph import Flow
from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.storage import is_table
from cdc_local.update import endings
from cdc_local.update.endings import describe_ending, explain_endings, list_messages
from cdc_local.update.event_log import EventLog
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update
from cdc_local.update.scheduler import describe_failure


@pytest.fixture(autouse=True)
def java_runs(monkeypatch):
    monkeypatch.setattr("cdc_local.engines.spark.java._exit_status", lambda seconds: None)


@pytest.fixture
def sales(storage):
    "A table whose commit is cut short."
    import pyarrow

    path = storage.table_path(table("sales"))
    write_deltalake(str(path), pyarrow.table({"id": [1]}))
    [commit] = (path / "_delta_log").glob("*.json")
    commit.write_text('{"add":')
    return commit


def of_spark(*messages):
    "An error of Spark's, whose causes are known to Java alone."
    java = None
    for message in reversed(messages[1:]):
        java = SimpleNamespace(getMessage=lambda said=message: said, getCause=lambda cause=java: cause)
    error = DeltaError(messages[0])
    error._origin = SimpleNamespace(getMessage=lambda: messages[0], getCause=lambda: java)
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        of_spark("[TASK_WRITE_FAILED] Task failed", "Job aborted", "No space left on device"),
        DeltaError("Generic LocalFileSystem error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk(storage, error):
    said = str(describe_ending(error, storage))
    assert said.startswith("the disk is full; there are ") and f"MiB in {storage.root} and" in said


def test_a_java_without_memory(storage, monkeypatch):
    monkeypatch.setenv("CDC_MEMORY", "2g")
    said = str(describe_ending(of_spark("Job aborted", "java.lang.OutOfMemoryError: x"), storage))
    assert "ran out of memory, it has 2 GB; give it more by --memory, e.g. --memory 4g; then run" in said


def test_an_error_that_java_took_along_says_what_it_can(storage, monkeypatch):
    def gone():
        raise ConnectionRefusedError("Connection refused")

    class JavaError(Exception):
        "As py4j's: its text is asked of Java."

        def __str__(self):
            gone()

    error = JavaError()
    assert list_messages(error) == ["ConnectionRefusedError: Connection refused"]
    monkeypatch.setattr("cdc_local.engines.spark.java._exit_status", lambda seconds: 52 if seconds else None)
    assert "ran out of memory" in str(describe_ending(error, storage))


def test_a_damaged_file_is_looked_for_where_a_library_failed(storage, sales):
    folder = sales.parents[1]
    assert str(describe_ending(DeltaError("Json error"), storage, [folder])).startswith(f"{sales} is damaged")
    assert str(describe_ending(Exception("Parquet error"), storage, [folder])).startswith(f"{sales} is ")
    assert describe_ending(ZeroDivisionError("x"), storage, [folder]) is None  # of the pipeline's own code


def test_what_is_said_already_stays(storage, sales):
    for error in (UsageError("use"), ZeroDivisionError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, explain_endings(storage):
            raise error
        assert caught.value is error
    with pytest.raises(PipelineError, match="is damaged"), explain_endings(storage):
        raise DeltaError("Json error")


def test_a_flow_that_failed_says_so_at_its_line(storage, sales, monkeypatch):
    run = pipeline()
    run.runtime.storage, run.runtime.analysed = storage, {"f": SimpleNamespace(reads={table("sales")})}
    flow = Flow("f", table("t"), "append", location=Location("t.py", 3))
    said = describe_failure(flow, DeltaError("Json error"), set(), run)
    assert said.startswith(f"t.py:3: {sales} is damaged") and said.endswith("--full-refresh sales")
    rule = RuntimeError("x [USER_RAISED_EXCEPTION] EXPECTATION_VIOLATION rule r SQLSTATE: P0001\nat x")
    monkeypatch.setattr(endings, "find_damage", None)  # a known reason looks at no file
    assert describe_failure(flow, rule, set(), run).endswith("EXPECTATION_VIOLATION rule r")


def test_a_log_that_has_no_room_is_not_begun(storage, monkeypatch):
    monkeypatch.setattr("cdc_local.storage.shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    log = EventLog(storage.event_log_path, "p", "u")
    log.record("user_action", "x")
    with pytest.raises(PipelineError, match="the disk is full; there are 0 MiB in .*event_log"):
        log.flush()
    assert not is_table(storage.event_log_path)


def test_a_damaged_event_log_has_a_way_out(storage, tmp_path):
    with EventLog(storage.event_log_path, "p", "u") as log:
        log.record("user_action", "x")
    [commit] = (storage.event_log_path / "_delta_log").glob("*.json")
    commit.write_text("{")
    (tmp_path / "p.py").write_text("")
    with pytest.raises(PipelineError, match=f"{commit} is damaged: .*; move {storage.event_log_path} away"):
        run_update(UpdateRequest((str(tmp_path / "p.py"),), storage.root))
