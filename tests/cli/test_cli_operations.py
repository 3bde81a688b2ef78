"`cdc demo`, `prove`, `replay`, `repair` and `erase`: their options reach the operation; what they print."

import io
import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typed_commands import typed

from cdc_local.cli.erase import print_erasure
from cdc_local.cli.options import Lines
from cdc_local.cli.prove import print_findings
from cdc_local.cli.repair import print_repair
from cdc_local.delta.rows import Rows
from cdc_local.operations.erase import EraseResult, TableMatches
from cdc_local.operations.prove_laws import Finding
from cdc_local.operations.repair import KeyChoice
from cdc_local.operations.repair_rows import RepairResult
from cdc_local.reports.tables import make_console
from cdc_local.storage import TableName


def stand_in(monkeypatch, module, function, answer):
    """Put a function in the place of one that a command calls; what it was called with is in the list
    returned."""
    calls, made = [], types.ModuleType(f"cdc_local.operations.{module}")

    def called(*args):
        calls.append(args)
        return answer

    setattr(made, function, called)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return calls, made


def test_demo_outside_a_clone_says_what_to_do(update, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = typed("demo")
    assert done.exit_code == 2 and "git clone the project" in done.stderr and not (tmp_path / ".cdc").exists()


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


def test_replay_and_repair_pass_their_options_on(update, monkeypatch, filled_storage):
    replayed, _ = stand_in(
        monkeypatch, "replay", "replay_rows", SimpleNamespace(landings=[], folder=None, still_rescued=0)
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
                str(filled_storage.root),
            ).exit_code
            == 0
        )
    name, files = TableName("main", "s", "bin"), [Path("a.json"), Path("b.json")]
    assert [call[1:] for call in replayed] == [
        (name, files, "/Volumes/x", ("p", "q"), *flags)
        for flags in ((True, False, False), (False, True, False), (False, False, True))
    ]
    done = RepairResult("t", 1, 1, 1, 0, 0, Rows((), []))
    repaired, made = stand_in(monkeypatch, "repair", "repair_table", done)
    made.KeyChoice = KeyChoice
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
        str(filled_storage.root),
    )
    assert answer.exit_code == 0 and "nothing was written" in answer.stdout, answer.stderr
    request, *more = repaired[0]
    assert more == ["t", KeyChoice("id = 7", "1", "2"), True]
    assert (request.dry_run, request.master, request.root_path, request.sources) == (
        True,
        "local[1]",
        Path("b"),
        ("a.py",),
    )


def printed_lines(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_broken_law_is_printed_with_its_rows():
    rows = ('{"id": 1, "city": "Oslo", "at": 2}', '{"id": 1, "city": "Bern", "at": 1}')
    right, wrong = '{"id": 1, "city": "Oslo"}', '{"id": 1, "city": "Bern"}'
    findings = [
        Finding("order", "moves", "breaks", 1, "1 keys differ", (rows,), (right,), (wrong,)),
        Finding("repeats", "moves", "holds", 3),
        Finding("batches", "moves", "breaks", 1, "died"),
    ]
    file = io.StringIO()
    print_findings(findings, make_console(file), Lines.table)
    lines = printed_lines(file.getvalue())
    assert lines[2:5] == [
        "order moves breaks 1 1 keys differ",
        "repeats moves holds 3 with 15 % copies, in 2 updates",
        "batches moves breaks 1 died",
    ]
    assert [line for line in lines if "breaks for" in line] == ["order breaks for moves"]
    assert lines[-4:] == [
        *[f"arrives in batch 1 {row}" for row in rows],
        f"expected {right}",
        f"found {wrong}",
    ]


@pytest.fixture
def quarantine(storage, tmp_path):
    "Two rows that are set aside, of which one is mended; the mended file."
    arrived = storage.root / "Volumes/main/default/raw_data/orders"
    arrived.mkdir(parents=True)
    rows = pa.table(
        {
            "id": ["7", "8"],
            "state": ["shiped", "lost"],
            "source_file": [(arrived / "orders-1.json").as_uri()] * 2,
            "failed_rules": [["valid_state"]] * 2,
        }
    )
    write_deltalake(str(storage.table_path(TableName("main", "default", "orders_quarantine"))), rows)
    words = ("orders_quarantine", "--all", "--format", "json", "--storage", str(storage.root))
    (tmp_path / "mended.json").write_text(typed("show", *words).stdout.replace("shiped", "shipped"))
    return tmp_path / "mended.json"


def test_mended_rows_that_show_printed_land_once(storage, quarantine):
    def replay(*words):
        return typed("replay", "orders_quarantine", str(quarantine), *words, "--storage", str(storage.root))

    wrong = replay()
    assert wrong.exit_code == 2 and "1 of 2 rows are as they are in quarantine" in wrong.stderr
    done = replay("--skip-unchanged", "--format", "json")
    landed = json.loads(done.stdout)
    assert (done.exit_code, landed["status"], landed["rows"], landed["unchanged"]) == (0, "landed", 1, 1)
    assert Path(landed["path"]).name == "orders-1-replay-fb656e92c6f42166.json"
    assert Path(landed["path"]).read_text() == '{"id": "7", "state": "shipped"}\n'
    again = json.loads(replay("--skip-unchanged", "--dry-run", "--format", "json").stdout)
    assert again == {
        "mended": str(quarantine),
        "status": "landed before",
        "rows": 0,
        "landed_before": 1,
        "unchanged": 1,
        "path": None,
    }
    assert "landed before" in replay("--skip-unchanged").stdout


REPAIRED = RepairResult(
    "main.default.moves",
    keys=1,
    rows_before=2,
    rows_after=2,
    removed=1,
    added=1,
    changes=Rows(("", "id", "city", "__START_AT"), [("-", 7, "Olso", 2), ("+", 7, "Oslo", 2)]),
)


def test_a_repair_is_printed_with_rows_that_go_and_come(capsys):
    print_repair(REPAIRED, True, Lines.table)
    lines = printed_lines(capsys.readouterr().out)
    assert lines[0] == "Table Status Keys Rows before Rows after Stored rows out in"
    assert lines[2] == "main.default.moves would change 1 2 2 1 1"
    assert lines[3:] == [
        "Rows that go (-) and come (+)",
        "id city __START_AT",
        lines[5],
        "- 7 Olso 2",
        "+ 7 Oslo 2",
    ]
    print_repair(REPAIRED, False, Lines.json)
    assert json.loads(capsys.readouterr().out) == {
        "table": "main.default.moves",
        "status": "repaired",
        "keys": 1,
        "rows_before": 2,
        "rows_after": 2,
        "removed": 1,
        "added": 1,
        "warnings": [],
    }


def test_repair_refuses_wrong_use(storage):
    wrong = typed("repair", "moves", "no_such_folder", "--where", "id = 7", "--storage", str(storage.root))
    assert wrong.exit_code == 2 and "no_such_folder" in wrong.stderr
    wrong = typed("repair", "moves", "transformations", "--storage", str(storage.root))
    assert wrong.exit_code == 2 and "no keys are chosen" in wrong.stderr


def test_an_erasure_is_printed_table_by_table_with_the_files_that_stay(capsys):
    tables = [
        TableMatches("main.default.cities", 0, "id"),
        TableMatches("main.default.landed", 4),
        TableMatches("main.default.moves", 0),
    ]
    result = EraseResult(tables, [Path("raw/1.json")])
    print_erasure(result, False, Lines.table)
    lines = printed_lines(capsys.readouterr().out)
    assert lines[2:5] == [
        "main.default.cities no column id 0",
        "main.default.landed erased 4",
        "main.default.moves no such row 0",
    ]
    assert lines[-1] == "raw/1.json"
    print_erasure(result, True, Lines.json)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["status"] for row in rows] == ["no column id", "would be erased", "no such row"]


def test_erase_needs_a_condition(storage):
    wrong = typed("erase", "--storage", str(storage.root))
    assert wrong.exit_code == 2 and "Missing option" in wrong.stderr
