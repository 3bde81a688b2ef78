"`cdc run`: its options, its picture, its progress, and how it ends."

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from typed_commands import flow, typed

from cdc_local.cli.exit_status import INTERRUPTED
from cdc_local.cli.options import Lines
from cdc_local.cli.run import list_datasets, print_graph, suggest_command
from cdc_local.dataflow.dp import LakeflowModule
from cdc_local.dataflow.graph import Graph
from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.reports.tables import make_console
from cdc_local.storage import TableName


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
        "parameters": {},
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
    assert out.splitlines()[-1].startswith("Update u1 is COMPLETED: 20,000 rows into 1 table")
    assert "\x1b" not in out


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
            SimpleNamespace(
                update_id="u",
                state="FAILED",
                flows=(
                    flow(error="idd?"),
                    flow(error="no shop"),
                    flow(error="skipped, since …", status="SKIPPED"),
                ),
                error="idd?",
                graph=None,
            ),
            1,
            "error: idd?\nalso: no shop\n",
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


def test_a_picture_may_be_named_in_capitals(update, tmp_path):
    update.ending.graph, update.ending.reads = Graph("main", "shop"), {}
    dp = LakeflowModule("pyspark.pipelines", update.ending.graph)
    dp.create_streaming_table("orders")
    dp.append_flow(target="orders", name="orders")(lambda: None)
    assert typed("run", "a.py", "--graph", str(tmp_path / "flow.SVG")).exit_code == 0
    assert (tmp_path / "flow.SVG").exists()
    done = typed("run", "a.py", "--graph", "flow.png")
    assert done.stderr == "error: --graph flow.png: only SVG is drawn; name it flow.svg\n"


def test_wrong_configuration_is_refused_before_anything_runs(update):
    done = typed("run", "transformations", "--conf", "cdc.catalog")
    assert (done.exit_code, done.stderr) == (
        2,
        "error: --conf 'cdc.catalog' is not key=value; write e.g. --conf cdc.catalog=main\n",
    )
    assert typed("run").exit_code == 2 and not hasattr(update, "request")


CUSTOMERS = TableName("main", "default", "customers")
GRAPH = SimpleNamespace(
    catalog="main",
    schema="default",
    datasets={
        CUSTOMERS: SimpleNamespace(
            name=CUSTOMERS, kind="streaming_table", expectations=[SimpleNamespace(name="valid_id")]
        )
    },
    flows={
        name: SimpleNamespace(name=name, target=CUSTOMERS, kind="auto_cdc")
        for name in (str(CUSTOMERS), "backfill")
    },
)
READS = {str(CUSTOMERS): {"main.default.customers_cdc_clean"}}


def test_the_graph_of_a_dry_run_as_values():
    assert list_datasets(GRAPH, READS) == [
        {
            "dataset": "main.default.customers",
            "kind": "streaming_table",
            "flows": [
                {
                    "name": "main.default.customers",
                    "kind": "auto_cdc",
                    "reads": ["main.default.customers_cdc_clean"],
                },
                {"name": "backfill", "kind": "auto_cdc", "reads": []},
            ],
            "expectations": ["valid_id"],
        }
    ]


def test_datasets_stand_in_the_order_of_their_rows():
    names = ["gold", "clean", "bronze", "alone"]
    datasets = {name: SimpleNamespace(name=name, kind="streaming_table", expectations=[]) for name in names}
    flows = {name: SimpleNamespace(name=name, target=name, kind="append") for name in names}
    graph = SimpleNamespace(datasets=datasets, flows=flows)
    reads = {"gold": {"clean", "bronze"}, "clean": {"bronze", "raw.outside"}, "bronze": {"bronze"}}
    assert [each["dataset"] for each in list_datasets(graph, reads)] == ["bronze", "alone", "clean", "gold"]


@pytest.mark.parametrize(
    "storage, command",
    [
        (Path(".cdc"), "cdc show customers"),
        (Path("my data"), "cdc show customers --storage 'my data'"),
    ],
)
def test_the_next_command_shows_the_table_that_was_filled_last(storage, command):
    assert suggest_command((flow(dataset="main.default.clean"), flow()), storage) == command
    assert suggest_command((), Path(".cdc")) == "cdc show"


def test_the_graph_of_a_dry_run_for_the_eye():
    file = io.StringIO()
    print_graph(GRAPH, READS, make_console(file), Lines.table)
    rows = " ".join(file.getvalue().split()).split("─ ")[1]
    assert rows == "customers streaming_table auto_cdc from customers_cdc_clean valid_id backfill (auto_cdc)"
