"The program `cdc` as a shell sees it: exit statuses, what goes where, pipes, signals, what it loads."

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typed_commands import shell, typed

from cdc_local.storage import Storage, TableName
from cdc_utils import __version__


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
def test_exit_status_and_stream(filled_storage, typed, status, told):
    done = shell(*typed, storage=filled_storage)
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
        for name in ('pyspark', 'duckdb', 'deltalake', 'pyarrow', 'pandas'):
            sys.modules[name] = None  # importing it fails
        from typer.testing import CliRunner
        from cdc_local.cli.main import app
        for typed in ([], ['run'], ['show'], ['events'], ['feed'], ['demo'], ['replay'], ['repair'],
                ['prove'], ['erase'], ['workspace'], ['bundle', 'run'], ['remote', 'update']):
            done = CliRunner().invoke(app, [*typed, '--help'])
            assert done.exit_code == 0 and 'Usage' in done.stdout, (typed, done.exception)
        done = CliRunner().invoke(app, ['feed', sys.argv[1], '--rows', '50', '--format', 'json'])
        assert done.exit_code == 0, done.stderr"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "feed")], check=True)


def test_show_and_events_load_neither_spark_nor_pandas(filled_storage):
    script = """if True:
        import sys
        from typer.testing import CliRunner
        from cdc_local.cli.main import app
        for typed in (['show', 'kinds'], ['show'], ['events'], ['show', 'cities', '--schema', 'sales']):
            assert CliRunner().invoke(app, [*typed, '--storage', sys.argv[1]]).exit_code == 0
        print([name for name in ('pyspark', 'pandas', 'numpy', 'pyarrow') if name in sys.modules])"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(filled_storage.root)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_reader_who_leaves_is_no_fault(filled_storage):
    cdc = f"{sys.executable} -c 'from cdc_local.cli.main import main; main()'"
    command = f"{cdc} show customers --format json --storage {filled_storage.root} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["id"] == "0" and done.stderr == ""
    assert not (filled_storage.root / "tracebacks").exists()


def test_ctrl_c_exits_130_and_says_that_the_next_run_goes_on(tmp_path):
    script = """if True:
        import sys, time, types
        update = types.ModuleType('cdc_local.update.run')
        request = types.ModuleType('cdc_local.update.request')
        class UpdateRequest:
            def __init__(self, **_): pass
        def run_update(request, listener):
            print('running', flush=True)
            time.sleep(300)
        update.run_update, request.UpdateRequest = run_update, UpdateRequest
        sys.modules |= {'cdc_local.update.run': update, 'cdc_local.update.request': request}
        sys.argv = ['cdc', 'run', sys.argv[1] + '/x.py', '--storage', sys.argv[1]]
        from cdc_local.cli.main import main
        main()"""
    (tmp_path / "x.py").touch()
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


def test_the_commands_are_listed_in_the_order_of_their_use():
    done = typed("--help")
    rows = [line.strip("│ ").split(" ")[0] for line in done.stdout.splitlines() if line.startswith("│")]
    commands = [name for name in rows if name and not name.startswith("-")]
    wanted = [
        "show",
        "events",
        "feed",
        "run",
        "demo",
        "prove",
        "replay",
        "repair",
        "erase",
        "workspace",
        "bundle",
        "remote",
    ]
    assert [name for name in commands if name in wanted] == wanted


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "show",
        "events",
        "feed",
        "demo",
        "prove",
        "replay",
        "repair",
        "erase",
        "workspace",
        "bundle run",
        "bundle check",
        "remote update",
        "remote job",
        "remote wheels put",
        "remote wheels list",
        "remote wheels prune",
    ],
)
def test_the_help_of_each_command_has_examples(command):
    done = typed(*command.split(), "--help")
    assert done.exit_code == 0 and "Examples" in done.stdout


def test_the_version_and_an_unknown_command():
    assert typed("--version").stdout == f"cdc_utils {__version__}\n"
    assert typed("shw").exit_code == 2
