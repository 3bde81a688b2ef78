"Every fault in tests/mutants still applies, lies in the function that its file is named after, and names a test that is there; `make prove` sees whether the test catches it."

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = ROOT / "tests/mutants"
PATCHES = sorted(MUTANTS.rglob("*.patch"))


def functions(module):
    "Name of each top-level function or class of a module, with its first and last line"
    return {
        node.name: (node.lineno, node.end_lineno)
        for node in ast.parse(module.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: str(patch.relative_to(MUTANTS).with_suffix("")))
def test_a_mutant_applies_and_names_its_test(patch):
    done = subprocess.run(
        ["git", "apply", "--check", "--unidiff-zero", "-C1", str(patch)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{patch.name} does not fit the code any more: write it anew\n{done.stderr}"
    text, module = patch.read_text(), patch.parent.relative_to(MUTANTS).as_posix()
    assert re.findall(r"^\+\+\+ b/(\S+)", text, re.M) == [f"cdc_utils/{module}.py"]
    named = [
        line.removeprefix("Caught-by:").strip() for line in text.splitlines() if line.startswith("Caught-by:")
    ]
    assert len(named) == 1 and (ROOT / named[0].split("::")[0]).is_file(), named
    test = named[0].partition("::")[2]
    assert f"def {test}(" in (ROOT / named[0].split("::")[0]).read_text() if test else True


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: str(patch.relative_to(MUTANTS).with_suffix("")))
def test_a_mutant_is_named_after_the_function_it_breaks(patch):
    module = ROOT / "cdc_utils" / patch.parent.relative_to(MUTANTS).with_suffix(".py")
    lines, removed = (
        module.read_text().splitlines(),
        [line[1:] for line in patch.read_text().splitlines() if re.match("-(?!--)", line)],
    )
    function = patch.stem.partition("-")[0]  # FUNCTION-what.patch where a function has several
    first, last = functions(module)[function]
    body = lines[first - 1 : last]
    assert removed and all(line in body for line in removed), f"{patch}: {removed} is not all in {function}"


PLAIN = {
    "local/lakeflow/Evaluation",
    "local/statements/Clauses",
    "local/workspace_runs/Execution",
}  # records without rules of their own, made by keyword: no small fault shows


@pytest.mark.parametrize(
    "module", sorted((ROOT / "cdc_utils").rglob("[a-z0-9]*.py")), ids=lambda path: path.stem
)
def test_every_public_function_has_a_mutant(module):
    folder = MUTANTS / module.relative_to(ROOT / "cdc_utils").with_suffix("")
    broken = {patch.stem.partition("-")[0] for patch in folder.glob("*.patch")}
    whole = {
        name
        for name in functions(module)
        if not name.startswith("_") and f"{folder.relative_to(MUTANTS)}/{name}" not in PLAIN
    } - broken
    assert not whole, (
        f"write {folder.relative_to(ROOT)}/{min(whole)}.patch: a fault, and the test or notebook that catches it"
    )
