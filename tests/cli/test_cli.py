"""The `cdc` command: exit statuses, what goes where, pipes."""

import json
import os
import signal
import subprocess
import sys
import time
import types
from datetime import UTC, datetime, timezone
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from cdc_local.cli.main import app
from cdc_local.cli.exit_status import INTERRUPTED
from cdc_local.dataflow.dp import LakeflowModule
from cdc_local.dataflow.graph import Graph
from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.storage import Storage, TableName
from cdc_local.update.event_log import EventLog

MOMENT = datetime(2024, 5, 1, 10, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    storage = Storage(tmp_path_factory.mktemp("cli") / "cdc").create()
    people = pa.table({"id": [str(number) for number in range(30)], "city": ["Oslo", None, "Rome"] * 10})
    write_deltalake(str(storage.table_path(TableName("main", "default", "customers"))), people)
    values = pa.table(
        {
            "id": ["007"],
            "at": pa.array([MOMENT], pa.timestamp("us", tz="UTC")),
            "price": pa.array([Decimal("1.10")], pa.decimal128(10, 2)),
            "tags": [["a", None]],
            "raw": [b"xyz"],
            "n": [float("nan")],
            "gone": pa.array([None], pa.string()),
        }
    )
    write_deltalake(str(storage.table_path(TableName("main", "default", "kinds"))), values)
    hidden = pa.table(
        {
            "id": ["1", "2"],
            "city": ["old", "x"],
            "__deleted": [False, True],
            "__latest": [{"city": "new"}, {"city": "x"}],
        }
    )
    path = str(storage.table_path(TableName("main", "sales", "cities")))
    DeltaTable.create(
        path,
        hidden.schema,
        raise_if_key_not_exists=False,
        configuration={
            "cdc.columns": '["id", "city"]',
            "cdc.visible": "__deleted = false",
            "cdc.latest": '["city"]',
        },
    )
    write_deltalake(path, hidden, mode="append")
    with EventLog(storage.event_log_path, "customers", "u1") as log:
        log.record("create_update", "Update u1 started.")
    return storage


def shell(*typed, storage=None, **options):
    environ = {
        key: value
        for key, value in os.environ.items()
        if key not in ("COLUMNS", "CDC_STORAGE", "FORCE_COLOR")
    }
    if storage:
        environ["CDC_STORAGE"] = str(storage.root)
    return subprocess.run(
        [sys.executable, "-c", "from cdc_local.cli.main import main; main()", *typed],
        capture_output=True,
        text=True,
        env=environ,
        **options,
    )


# --- processes -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed, status, told",
    [
        (["--version"], 0, "cdc_utils "),
        (["show", "customers"], 0, "20 of 30 rows"),
        (["show", "custmers"], 2, "error: no table main.default.custmers"),
        (["show", "customers", "--where", "nme = 1"], 2, 'Referenced column "nme" not found'),
        (["show", "customers", "--limit", "many"], 2, "'--limit'"),
        (["show", "cities", "--schema", "sales", "--format", "csv"], 0, "1,new"),
        (["events"], 0, "Update u1 started."),
        (["nonsense"], 2, "No such command"),
        (["run"], 2, "Missing argument"),
        (["run", "x.py", "--conf", "novalue"], 2, "is not key=value"),
        (["feed", "/tmp/none", "--rows", "0"], 2, "error: "),
    ],
)
def test_exit_status_and_stream(storage, typed, status, told):
    done = shell(*typed, storage=storage)
    assert done.returncode == status
    right, wrong = (done.stdout, done.stderr) if status == 0 else (done.stderr, done.stdout)
    assert told in right and wrong == ""
    assert (
        "Traceback" not in done.stderr
        and "nanobind" not in done.stderr
        and "\x1b" not in done.stdout + done.stderr
    )


def test_help_needs_no_spark_and_loads_nothing_heavy(tmp_path):
    script = """if True:
        import sys
        for name in ('pyspark', 'duckdb', 'deltalake', 'pyarrow', 'pandas'): sys.modules[name] = None # importing it fails
        from typer.testing import CliRunner
        from cdc_local.cli.main import app
        for typed in ([], ['run'], ['show'], ['events'], ['feed'], ['demo'], ['replay'], ['repair']):
            done = CliRunner().invoke(app, [*typed, '--help'])
            assert done.exit_code == 0 and 'Usage' in done.stdout, (typed, done.exception)
        done = CliRunner().invoke(app, ['feed', sys.argv[1], '--rows', '50', '--format', 'json'])
        assert done.exit_code == 0, done.stderr"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "feed")], check=True)


def test_show_and_events_load_neither_spark_nor_pandas(storage):
    script = """if True:
        import sys
        from typer.testing import CliRunner
        from cdc_local.cli.main import app
        for typed in (['show', 'kinds'], ['show'], ['events'], ['show', 'cities', '--schema', 'sales']):
            assert CliRunner().invoke(app, [*typed, '--storage', sys.argv[1]]).exit_code == 0
        print([name for name in ('pyspark', 'pandas', 'numpy', 'pyarrow') if name in sys.modules])"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(storage.root)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_reader_who_leaves_is_no_fault(storage):
    command = f"{sys.executable} -c 'from cdc_local.cli.main import main; main()' show customers --format json --storage {storage.root} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["id"] == "0" and done.stderr == ""
    assert not (storage.root / "tracebacks").exists()


def test_ctrl_c_exits_130_and_says_that_the_next_run_goes_on(tmp_path):
    script = """if True:
        import sys, time, types
        update, request = types.ModuleType('cdc_local.update.run'), types.ModuleType('cdc_local.update.request')
        class UpdateRequest:
            def __init__(self, **_): pass
        def run_update(request, listener):
            print('running', flush=True)
            time.sleep(300)
        update.run_update, request.UpdateRequest = run_update, UpdateRequest
        sys.modules |= {'cdc_local.update.run': update, 'cdc_local.update.request': request}
        sys.argv = ['cdc', 'run', 'x.py', '--storage', sys.argv[1]]
        from cdc_local.cli.main import main
        main()"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "running\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130 and "the next run goes on from there" in told and "Traceback" not in told


# --- in this process -------------------------------------------------------------------------------------------------------------------


def typed(*words):
    return CliRunner().invoke(app, list(words))


def test_json_says_exactly_what_is_in_the_table(storage):
    done = typed("show", "kinds", "--format", "json", "--storage", str(storage.root))
    assert done.stdout == (
        '{"id": "007", "at": "2024-05-01T10:30:00Z", "price": 1.10, "tags": ["a", null], "raw": "eHl6", "n": "NaN", "gone": null}\n'
    )


def test_hidden_rows_and_columns_stay_hidden(storage):
    done = typed("show", "main.sales.cities", "--format", "json", "--storage", str(storage.root))
    assert done.stdout == '{"id": "1", "city": "new"}\n'
    listed = typed("show", "--format", "csv", "--storage", str(storage.root)).stdout.splitlines()
    assert listed == [
        "table,rows",
        "main.default.customers,30",
        "main.default.kinds,1",
        "main.sales.cities,1",
    ]


def test_limit_all_and_where(storage):
    def lines(*more):
        return len(
            typed(
                "show", "customers", "--format", "json", *more, "--storage", str(storage.root)
            ).stdout.splitlines()
        )

    assert (lines(), lines("--limit", "3"), lines("--limit", "0"), lines("--all")) == (20, 3, 0, 30)
    assert (lines("--where", "city is null"), lines("--all", "--where", "city = 'Rome'")) == (10, 10)
    told = typed(
        "show", "customers", "--limit", "2", "--where", "city is null", "--storage", str(storage.root)
    ).stdout
    assert told.splitlines()[-1] == "2 of 10 rows; --limit N or --all shows more"


def test_pipes_get_100_columns_and_lose_nothing(tmp_path):
    storage = Storage(tmp_path / "cdc").create()
    write_deltalake(
        str(storage.table_path(TableName("main", "default", "notes"))),
        pa.table({"id": ["1"], "note": ["word " * 60 + "end"]}),
    )
    out = typed("show", "notes", "--storage", str(storage.root)).stdout
    assert max(map(len, out.splitlines())) <= 100 and out.count("word") == 60 and "end" in out


def test_a_newer_storage_is_refused(tmp_path):
    (tmp_path / "storage.json").write_text('{"format": 99}')
    done = typed("show", "--storage", str(tmp_path))
    assert done.exit_code == 2 and "storage format 99" in done.stderr


@pytest.fixture
def update(monkeypatch):
    """A stand-in for the runner: it notes the request, tells three events, and ends as told."""
    module, requests = types.ModuleType("cdc_local.update.run"), types.ModuleType("cdc_local.update.request")
    module.ending = SimpleNamespace(update_id="u1", state="COMPLETED", flows=(), error=None, graph=None)

    class UpdateRequest(SimpleNamespace):
        pass

    def run_update(request, listener):
        module.request = request
        if isinstance(module.ending, BaseException):
            raise module.ending
        for status, rows in (("QUEUED", None), ("RUNNING", 20_000), ("COMPLETED", None)):
            details = {"flow_progress": {"status": status, "metrics": {"num_output_rows": rows}}}
            listener(
                {
                    "event_type": "flow_progress",
                    "origin": json.dumps({"flow_name": "customers"}),
                    "timestamp": MOMENT,
                    "level": "INFO",
                    "message": f"Flow 'customers' is {status}.",
                    "error": None,
                    "details": json.dumps(details),
                }
            )
        return module.ending

    module.run_update, requests.UpdateRequest = run_update, UpdateRequest
    monkeypatch.setitem(sys.modules, "cdc_local.update.run", module)
    monkeypatch.setitem(sys.modules, "cdc_local.update.request", requests)
    return module


def flow(**changes):
    return SimpleNamespace(
        **{
            "name": "customers",
            "dataset": "main.default.customers",
            "status": "COMPLETED",
            "num_output_rows": 20_000,
            "num_upserted_rows": None,
            "num_deleted_rows": None,
            "dropped_records": 0,
            "expectations": (),
            "seconds": 1.5,
            "error": None,
        }
        | changes
    )


def test_run_passes_its_options_on(update, tmp_path):
    done = typed(
        "run",
        "a.py",
        "b/",
        "--storage",
        str(tmp_path),
        "--catalog",
        "dev",
        "--schema",
        "s",
        "--conf",
        "x=1",
        "--conf",
        "cdc.schema=t",
        "--full-refresh",
        "a,b",
        "--full-refresh",
        "c",
        "--refresh",
        "d",
        "--master",
        "local[1]",
        "--root-path",
        "b",
        "--dry-run",
        "--wheel",
        "a-1.whl",
        "--wheel",
        "b-1.whl",
        "--name",
        "orders",
        "--update-id",
        "u1",
    )
    assert done.exit_code == 0, done.stderr
    assert vars(update.request) == {
        "sources": ("a.py", "b/"),
        "storage": tmp_path,
        "catalog": "dev",
        "schema": "s",
        "configuration": {"cdc.catalog": "dev", "cdc.schema": "t", "x": "1"},
        "full_refresh": ("a", "b", "c"),
        "full_refresh_all": False,
        "refresh": ("d",),
        "dry_run": True,
        "master": "local[1]",
        "root_path": Path("b"),
        "wheels": (Path("a-1.whl"), Path("b-1.whl")),
        "pipeline_name": "orders",
        "update_id": "u1",
    }
    typed("run", "a.py", "--full-refresh-all")
    assert (
        update.request.full_refresh_all
        and update.request.storage == Path(".cdc")
        and update.request.root_path is None
    )


def test_run_draws_its_graph(update, tmp_path):
    update.ending.graph = Graph("main", "shop")
    dp = LakeflowModule("pyspark.pipelines", update.ending.graph)
    dp.create_streaming_table("orders")
    dp.append_flow(target="orders", name="orders")(lambda: None)
    update.ending.reads = {"orders": [TableName("main", "shop", "landed")]}
    done = typed("run", "a.py", "--dry-run", "--graph", str(tmp_path / "flow.svg"), "--quiet")
    assert (done.exit_code, done.stdout) == (0, "")
    assert (
        "<title>Flow graph: landed (not of this pipeline); orders (streaming table) reads landed.</title>"
        in (tmp_path / "flow.svg").read_text()
    )
    (tmp_path / "full.svg").symlink_to("/dev/full")
    done = typed("run", "a.py", "--graph", str(tmp_path / "full.svg"))
    assert (
        done.exit_code == 2
        and done.stderr
        == f"error: --graph {tmp_path / 'full.svg'}: it cannot be written (No space left on device)\n"
    )


@pytest.mark.parametrize(
    "name, told",
    [
        ("flow.png", "only SVG is drawn; name it"),
        ("missing/flow.svg", "there is no folder"),
        ("folder.svg", "is a folder; name a file in it"),
    ],
)
def test_a_picture_that_cannot_be_written_runs_nothing(update, tmp_path, name, told):
    (tmp_path / "folder.svg").mkdir()
    done = typed("run", "a.py", "--graph", str(tmp_path / name))
    assert (
        done.exit_code == 2
        and done.stderr.startswith(f"error: --graph {tmp_path / name}")
        and told in done.stderr
    )
    assert not hasattr(update, "request")


def test_run_tells_lines_in_a_pipe(update):
    update.ending.flows = (
        flow(
            expectations=(
                SimpleNamespace(
                    dataset="main.default.customers", name="valid_id", passed_records=5, failed_records=2
                ),
            )
        ),
    )
    out = typed("run", "a.py").stdout
    lines = [line.split() for line in out.splitlines() if line.startswith("customers")]
    assert lines == [
        ["customers", "RUNNING"],
        ["customers", "COMPLETED", "20,000", "rows,", "0.0", "s"],
        ["customers", "COMPLETED", "20,000", "1.5"],
        ["customers", "valid_id", "5", "2"],
    ]
    assert out.splitlines()[-1] == "Update u1 is COMPLETED." and "\x1b" not in out


def test_run_tells_a_program_json_and_nothing_else(update):
    update.ending.flows = (flow(),)
    lines = typed("run", "a.py", "--format", "json").stdout.splitlines()
    assert [json.loads(json.loads(line)["details"])["flow_progress"]["status"] for line in lines] == [
        "QUEUED",
        "RUNNING",
        "COMPLETED",
    ]
    assert typed("run", "a.py", "--quiet").stdout == ""


@pytest.mark.parametrize(
    "ending, status, told",
    [
        (UsageError("no such path: x", hint="give a file"), 2, "error: no such path: x; give a file\n"),
        (PipelineError("no column idd", Location("a.py", 7)), 1, "error: a.py:7: no column idd\n"),
        (ValueError("keys is empty"), 2, "error: keys is empty\n"),
        (KeyboardInterrupt(), 130, INTERRUPTED + "\n"),
        (
            SimpleNamespace(update_id="u", state="FAILED", flows=(), error="customers: boom", graph=None),
            1,
            "error: customers: boom\n",
        ),
        (
            SimpleNamespace(
                update_id="u", state="FAILED", flows=(flow(error="idd?"),), error=None, graph=None
            ),
            1,
            "error: idd?\n",
        ),
        (
            SimpleNamespace(update_id="u", state="CANCELED", flows=(), error=None, graph=None),
            130,
            INTERRUPTED + "\n",
        ),
    ],
)
def test_how_a_run_can_end(update, ending, status, told):
    update.ending = ending
    done = typed("run", "a.py")
    assert (done.exit_code, done.stderr) == (status, told)


def test_our_own_fault_says_so_and_keeps_the_traceback(update, tmp_path):
    update.ending = KeyError("flow")
    done = typed("run", "a.py", "--storage", str(tmp_path))
    (kept,) = (tmp_path / "tracebacks").iterdir()
    assert done.exit_code == 1 and "this is a fault of cdc_utils" in done.stderr and str(kept) in done.stderr
    assert "Traceback" not in done.stderr and "KeyError: 'flow'" in kept.read_text()
    assert "Traceback" in typed("run", "a.py", "--storage", str(tmp_path), "--debug").stderr
    assert len(list((tmp_path / "tracebacks").iterdir())) == 1
    typed("run", "a.py", "--storage", str(tmp_path))
    assert len(list((tmp_path / "tracebacks").iterdir())) == 2
    away = typed("run", "a.py", "--storage", str(tmp_path / "none"))
    assert away.exit_code == 1 and not (tmp_path / "none").exists()


def test_demo_outside_a_clone_says_what_to_do(update, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = typed("demo")
    assert done.exit_code == 2 and "git clone the project" in done.stderr and not (tmp_path / ".cdc").exists()


def stand_in(monkeypatch, module, function, answer):
    "Put a function in the place of one that a command calls; what it was called with is in the list returned."
    calls, made = [], types.ModuleType(f"cdc_local.operations.{module}")

    def called(*args):
        calls.append(args)
        return answer

    setattr(made, function, called)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return calls, made


@pytest.mark.parametrize("state, status", [("COMPLETED", 0), ("FAILED", 1)])
def test_demo_passes_its_options_on_and_ends_as_its_update_did(monkeypatch, tmp_path, state, status):
    calls, _ = stand_in(
        monkeypatch, "demo", "run_demo", SimpleNamespace(update_id="u1", state=state, flows=(), error="boom")
    )
    done = typed(
        "demo", "--rows", "7", "--seed", "3", "--storage", str(tmp_path), "--catalog", "c", "--schema", "s"
    )
    assert (done.exit_code, done.stderr) == (status, "error: boom\n" if status else "")
    assert [call[:6] for call in calls] == [(Path.cwd(), tmp_path, 7, 3, "c", "s")]


@pytest.mark.parametrize("verdicts, status", [(["holds", "not applicable"], 0), (["holds", "breaks"], 1)])
def test_prove_passes_its_options_on_and_fails_for_a_broken_law(
    update, monkeypatch, tmp_path, verdicts, status
):
    finding = SimpleNamespace(law="order", table="t", cases=1, why="", events=(), expected=(), found=())
    calls, made = stand_in(
        monkeypatch,
        "prove",
        "prove_laws",
        [SimpleNamespace(**vars(finding), verdict=verdict) for verdict in verdicts],
    )
    made.LAWS = {}
    done = typed(
        "prove",
        "a.py",
        "--runs",
        "2",
        "--events",
        "50",
        "--seed",
        "9",
        "--feed",
        str(tmp_path),
        "--storage",
        str(tmp_path),
        "--catalog",
        "c",
        "--conf",
        "x=1",
    )
    assert done.exit_code == status, done.stderr
    request, *more = calls[0]
    assert (more[:-1], request.sources, request.storage) == ([2, 50, 9, tmp_path], ("a.py",), tmp_path)
    assert request.configuration == {"cdc.catalog": "c", "cdc.schema": "default", "x": "1"}


def test_replay_and_repair_pass_their_options_on(update, monkeypatch, storage):
    replayed, _ = stand_in(
        monkeypatch, "replay", "replay_rows", SimpleNamespace(landings=[], place=None, still_rescued=0)
    )
    for option in ("--skip-unchanged", "--force", "--dry-run"):
        assert (
            typed(
                "replay",
                "bin",
                "a.json",
                "b.json",
                "--to",
                "/Volumes/x",
                "--drop",
                "p,q",
                "--schema",
                "s",
                option,
                "--storage",
                str(storage.root),
            ).exit_code
            == 0
        )
    name, files = TableName("main", "s", "bin"), [Path("a.json"), Path("b.json")]
    assert [call[1:] for call in replayed] == [
        (name, files, "/Volumes/x", ("p", "q"), *flags)
        for flags in ((True, False, False), (False, True, False), (False, False, True))
    ]
    done = SimpleNamespace(
        table="t",
        keys=1,
        rows_before=1,
        rows_after=1,
        removed=0,
        added=0,
        changed=False,
        warnings=(),
        changes=SimpleNamespace(values=[]),
    )
    repaired, made = stand_in(monkeypatch, "repair", "repair_table", done)
    made.Choice = lambda *said: said
    answer = typed(
        "repair",
        "t",
        "a.py",
        "--where",
        "id = 7",
        "--since",
        "1",
        "--until",
        "2",
        "--force",
        "--dry-run",
        "--master",
        "local[1]",
        "--root-path",
        "b",
        "--storage",
        str(storage.root),
    )
    assert answer.exit_code == 0 and "nothing was written" in answer.stdout, answer.stderr
    request, *more = repaired[0]
    assert more == ["t", ("id = 7", "1", "2"), True]
    assert (request.dry_run, request.master, request.root_path, request.sources) == (
        True,
        "local[1]",
        Path("b"),
        ("a.py",),
    )


def test_levels_and_limits_of_events(tmp_path):
    storage = Storage(tmp_path / "cdc").create()
    with EventLog(storage.event_log_path, "customers", "u1") as log:
        for level in ("INFO", "WARN", "ERROR"):
            log.record("update_progress", f"a word of {level}", level)

    def levels(*more):
        return [
            json.loads(line)["level"]
            for line in typed(
                "events", "--format", "json", *more, "--storage", str(storage.root)
            ).stdout.splitlines()
        ]

    assert [levels("--level", level) for level in ("INFO", "WARN", "ERROR")] == [
        ["INFO", "WARN", "ERROR"],
        ["WARN", "ERROR"],
        ["ERROR"],
    ]
    assert [
        typed("events", "--format", "json", "--limit", "0", "--storage", str(storage.root)).stdout,
        levels("--limit", "2"),
    ] == ["", ["WARN", "ERROR"]]


def test_letters_that_a_terminal_does_not_have_are_shown_as_numbers(tmp_path):
    storage = Storage(tmp_path / "cdc").create()
    write_deltalake(
        str(storage.table_path(TableName("main", "default", "places"))), pa.table({"city": ["Zürich ☃"]})
    )
    command = [
        sys.executable,
        "-c",
        "from cdc_local.cli.main import main; main()",
        "show",
        "places",
        "--format",
        "csv",
        "--storage",
        str(storage.root),
    ]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stdout) == (0, b"city\nZ\xfcrich \\u2603\n")
