"Faults chosen by hand still belong to the code, and name a test that is there; `make prove` tries them."

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tools"))

import faults  # noqa: E402
from faults import Fault, FaultError  # noqa: E402

CHAPTERS = {"scd1", "scd2", "bronze", "quality", "silver", "snapshots", "gold", "feed", "job", "checks"}
ROOMS = {folder.parent.name for folder in (ROOT / "cdc_local").glob("*/__init__.py")}
FAULTS = list(faults.all_faults())


def defined_in(path: Path) -> set[str]:
    "Names of the tests of a file: `test_this`, and `TestThat::test_this` of a class"
    body = ast.parse(path.read_text()).body
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    methods = {
        f"{each.name}::{node.name}"
        for each in classes
        for node in each.body
        if isinstance(node, ast.FunctionDef)
    }
    return functions | methods


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_belongs_to_the_code(fault):
    file, broken = faults.broken_source(fault)
    assert broken != file.read_text()
    compile(broken, file.name, "exec")


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_names_a_test_that_is_there(fault):
    file, _, test = fault.caught_by.partition("::")
    name = test.partition("[")[0]
    if not (ROOT / file).is_file() or (name and name not in defined_in(ROOT / file)):
        lie = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if name in defined_in(path)]
        others = ", ".join(path.relative_to(ROOT).as_posix() for path in lie) or "nowhere"
        pytest.fail(f"{fault}: {file} has no {test}; a test of that name lies in: {others}")


def test_every_room_and_chapter_has_faults():
    without = sorted((ROOMS | CHAPTERS) - {fault.room for fault in FAULTS})
    assert not without, (
        f"write tests/mutants/{without[0]}.toml: its most dangerous faults; also for {without[1:]}"
    )


def test_each_file_is_called_after_the_room_of_its_faults():
    for fault in FAULTS:
        package, first, *_ = fault.function.split(".")
        assert package in ("cdc_local", "cdc_utils"), fault
        assert package == "cdc_utils" or first == fault.room, f"{fault} stands in the wrong file"


@pytest.fixture
def tree(tmp_path):
    "A tree with one module and its test"
    (tmp_path / "room").mkdir()
    (tmp_path / "room/clock.py").write_text(
        "def hours(minutes):\n    if minutes < 0:\n        raise ValueError(minutes)\n"
        "    return minutes // 60\n"
        "\n\nclass Clock:\n    def strike(self):\n        if True:\n            a = 1\n            b = 2\n"
        "        return a + b\n"
    )
    return tmp_path


def fault(function, replace, replacement):
    return Fault("room", "it is wrong", function, replace, replacement, "tests/test_clock.py")


def test_text_is_replaced_within_its_function(tree):
    file, broken = faults.broken_source(fault("room.clock.hours", "minutes // 60", "minutes"), tree)
    assert file == tree / "room/clock.py"
    assert broken == file.read_text().replace("return minutes // 60", "return minutes")


def test_several_lines_are_replaced_at_any_indentation(tree):
    _, broken = faults.broken_source(fault("room.clock.Clock.strike", "a = 1\nb = 2", "a = 2\nb = 1"), tree)
    assert "            a = 2\n            b = 1\n" in broken


@pytest.mark.parametrize(
    "function, replace, why",
    [
        ("room.clock.hours", "minutes", "stands there 4 times"),
        ("room.clock.hours", "seconds", "stands there 0 times"),
        ("room.clock.hours", "a + b", "stands there 0 times"),  # it stands in another function
        ("room.clock.days", "minutes", "no definition `days`"),
        ("room.calendar.hours", "minutes", "no module of that name"),
    ],
)
def test_a_fault_that_no_longer_belongs_to_the_code_says_why(tree, function, replace, why):
    with pytest.raises(FaultError, match=why):
        faults.broken_source(fault(function, replace, "None"), tree)


def test_a_field_too_few_or_too_many_is_refused(tmp_path):
    path = tmp_path / "room.toml"
    path.write_text('[[fault]]\nwhat = "it is wrong"\nfunction = "room.clock.hours"\nwidth = "x"\n')
    with pytest.raises(FaultError, match="caught_by.*replace.*width"):
        faults.read_faults(path)


def test_a_fault_is_caught_by_a_test_that_fails(tree):
    (tree / "test_clock.py").write_text(
        "from room.clock import hours\n\n\ndef test_an_hour():\n    assert hours(60) == 1\n"
    )
    before = (tree / "room/clock.py").read_text()
    caught = Fault(
        "room", "an hour has 61 minutes", "room.clock.hours", "60", "61", "test_clock.py::test_an_hour"
    )
    missed = Fault(
        "room", "time runs backwards", "room.clock.hours", "< 0", "< -9", "test_clock.py::test_an_hour"
    )
    stale = Fault("room", "it is gone", "room.clock.hours", "seconds", "60", "test_clock.py::test_an_hour")
    assert [faults.try_fault(each, tree).caught for each in (caught, missed, stale)] == [True, False, False]
    assert (tree / "room/clock.py").read_text() == before


@pytest.fixture
def project(tmp_path):
    "A clone with a package of one module, of which a test leaves something open"
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / "cdc_local/room").mkdir(parents=True)
    (tmp_path / "tests/room").mkdir(parents=True)
    (tmp_path / "cdc_local/room/clock.py").write_text(
        "def hours(minutes: int | None = 0) -> int:\n    return minutes // 60\n"
        "\n\ndef unused(words):\n    return words.strip().lower()\n"
    )
    (tmp_path / "tests/room/test_clock.py").write_text(
        "from cdc_local.room.clock import hours\n\n\ndef test_an_hour():\n    assert hours(119) == 1\n"
    )
    return tmp_path


def prove(project, *arguments):
    command = [sys.executable, "tools/prove.py", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True)


def test_survivors_are_named_and_results_are_kept(project):
    done = prove(project, "mutants", "cdc_local/room/clock.py::hours", "--sample", "50")
    assert done.returncode == 0, done.stdout + done.stderr
    survivor = done.stdout.partition("SURVIVED  cdc_local/room/clock.py:1  hours")[2]
    assert "- def hours(minutes: int | None = 0) -> int:" in survivor and "unused" not in done.stdout
    assert "core/ReplaceBinaryOperator_BitOr" not in done.stdout  # nothing runs an annotation
    assert "cdc_local/room/clock.py:2  hours  core/ReplaceBinaryOperator" in done.stdout
    count = done.stdout.strip().splitlines()[-1]
    again = prove(project, "mutants", "cdc_local/room/clock.py::hours", "--sample", "50", "--minutes", "0")
    assert again.stdout.strip().splitlines()[-1] == count and "unfinished" not in again.stdout
    assert not (project / "cdc_local/room/__pycache__").exists()


def test_a_test_that_is_red_anyway_judges_nothing(project):
    (project / "tests/room/test_clock.py").write_text("def test_it():\n    assert False\n")
    done = prove(project, "mutants", "cdc_local/room", "--sample", "3")
    assert done.returncode == 1 and "its tests fail without any mutant" in done.stdout


@pytest.mark.parametrize("name", ["cdc_local/hall", "cdc_local/room/clock.py::days", "tests"])
def test_a_selection_of_nothing_is_refused(project, monkeypatch, name):
    import mutants

    monkeypatch.setattr(mutants, "ROOT", project)
    assert mutants.select_modules(["cdc_local"]) == {"cdc_local/room/clock.py": ""}
    with pytest.raises(mutants.SelectionError, match=name.split("::")[0]):
        mutants.select_modules([name])


def test_our_own_mutations_do_as_their_examples_say():
    import mutation_operators
    from cosmic_ray.mutating import mutate_code

    for operator in mutation_operators.OPERATORS.values():
        for example in operator.examples():
            changed = mutate_code(example.pre_mutation_code, operator(), example.occurrence)
            assert changed == example.post_mutation_code, operator.__name__
