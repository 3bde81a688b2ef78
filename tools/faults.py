"""Faults chosen by hand: the mistakes that would cost most, each with the test that must catch it.

`tests/mutants/ROOM.toml` names them, a `[[fault]]` each:

    what = "…"                            what goes wrong, in a few words
    function = "cdc_local.delta.log.…"    a function, method, class, or a module for what is in none
    replace = "exact text"                stands there once; the indentation of all lines is ignored
    with = "other text"
    caught_by = "tests/…/test_….py::…"    a test, a file of tests, or a notebook

Text, not line numbers: a fault goes with its function wherever that moves."""

import ast
import subprocess
import textwrap
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scratch_tree import FAILED, PASSED, ROOT, chapter_of, run_test, scratch_tree, write_into_chapter

FAULTS = ROOT / "tests/mutants"
FIELDS = {"what", "function", "replace", "with", "caught_by"}
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class FaultError(ValueError):
    "A fault that can't be made; the message says where it stands and what to do."


@dataclass(frozen=True)
class Fault:
    "One small mistake in one function, and the test that must catch it."

    room: str  # name of the file in tests/mutants, without its suffix
    what: str  # what goes wrong
    function: str  # dotted name of a function, method, class or module
    replace: str  # text that stands in it exactly once
    replacement: str  # text to put there
    caught_by: str  # a pytest node id or a notebook, from the tree's top

    def __str__(self) -> str:
        return f"{self.room}: {self.function}: {self.what}"


def read_faults(
    path: Path,  # a file of tests/mutants
) -> list[Fault]:  # in the file's order
    "Read the faults of a room; `FaultError` for a field that is missing, unknown or no text."
    faults = []
    for number, entry in enumerate(tomllib.loads(path.read_text()).get("fault", []), 1):
        wrong = FIELDS ^ set(entry) or {
            name for name, value in entry.items() if not isinstance(value, str) or not value.strip()
        }
        if wrong - {"with"} or not isinstance(entry.get("with"), str):
            raise FaultError(
                f"{path.name}: fault {number} must have {', '.join(sorted(FIELDS))}, each a text;"
                f" see {sorted(wrong)}"
            )
        faults.append(
            Fault(
                path.stem,
                entry["what"],
                entry["function"],
                entry["replace"],
                entry["with"],
                entry["caught_by"],
            )
        )
    return faults


def find_module(
    function: str,  # dotted name of a function, method, class or module
    tree: Path,  # top of a tree with the packages
) -> tuple[Path, list[str]]:  # the module's file, and the names below it that are left: ['Program', 'stop']
    "Find the file in which a function stands; `FaultError` where there is none."
    names = function.split(".")
    for length in range(len(names), 0, -1):
        path = tree.joinpath(*names[:length])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file, names[length:]
    raise FaultError(f"{function}: no module of that name; write package.room.module.function")


def find_definition(
    source: str,  # a module's text
    names: list[str],  # ['Program', 'stop']: a class, then its method; none for the whole module
) -> tuple[int, int]:  # first and last line of the definition, decorators included, from 1
    "Find where a function stands, within a function as well; `FaultError` where it is missing."
    body: list[ast.stmt] = ast.parse(source).body
    first, last = 1, source.count("\n") + 1
    for name in names:
        found = next((node for node in body if isinstance(node, DEFINITIONS) and node.name == name), None)
        if found is None:
            raise FaultError(f"no definition `{name}` between lines {first} and {last}")
        first = min([found.lineno, *(decorator.lineno for decorator in found.decorator_list)])
        last, body = found.end_lineno or first, found.body
    return first, last


def indentations(
    text: str,  # a definition
) -> list[str]:  # the whitespace that its lines begin with, each once
    return sorted({line[: len(line) - len(line.lstrip())] for line in text.splitlines()}, key=len)


def put_in(
    text: str,  # a definition
    replace: str,  # what must stand there exactly once
    replacement: str,  # what stands there instead
) -> str:  # the definition with the fault
    "Replace a text that stands there exactly once, at whatever indentation; `FaultError` otherwise."
    wanted, other = textwrap.dedent(replace).strip("\n"), textwrap.dedent(replacement).strip("\n")

    def indented(lines: str, by: str) -> str:
        first, *rest = lines.split("\n")
        return "\n".join([first, *(by + line if line else line for line in rest)])

    ways = indentations(text) if "\n" in wanted or "\n" in other else [""]
    if "\n" in wanted:
        found = [by for by in ways if indented(wanted, by) in text]
        count = sum(text.count(indented(wanted, by)) for by in found)
    else:
        count = text.count(wanted)
        line = next((line for line in text.splitlines() if wanted in line), "")
        found = [line[: len(line) - len(line.lstrip())]]
    if count != 1:
        raise FaultError(f"`replace` must stand there once, and stands there {count} times: {wanted!r}")
    return text.replace(indented(wanted, found[0]), indented(other, found[0]))


def broken_source(
    fault: Fault,
    tree: Path = ROOT,  # top of a tree with the packages
) -> tuple[Path, str]:  # the module's file, and its text with the fault
    "Make a fault without writing it; `FaultError` where it no longer belongs to the code."
    file, names = find_module(fault.function, tree)
    source = file.read_text()
    try:
        first, last = find_definition(source, names)
        lines = source.splitlines(keepends=True)
        definition = "".join(lines[first - 1 : last])
        changed = put_in(definition, fault.replace, fault.replacement)
        ast.parse("".join([*lines[: first - 1], changed, *lines[last:]]))
    except (FaultError, SyntaxError) as error:
        raise FaultError(f"{fault.room}.toml: {fault.function}: {error}; write the fault anew") from error
    return file, "".join([*lines[: first - 1], changed, *lines[last:]])


@dataclass(frozen=True)
class Verdict:
    "What came of one fault."

    fault: Fault
    caught: bool
    line: str  # what to print


def try_fault(
    fault: Fault,
    tree: Path,  # the scratch tree
) -> Verdict:  # caught where its test went red
    "Put a fault into the scratch tree, run its test, take the fault out."
    began = time.monotonic()
    try:
        file, broken = broken_source(fault, tree)
    except FaultError as error:
        return Verdict(fault, False, f"STALE     {error}")
    chapter = chapter_of(file)
    touched = {path: path.read_bytes() for path in [file, *([tree / chapter] if chapter else [])]}
    try:
        file.write_text(broken)
        if fault.caught_by.endswith(".ipynb"):
            write_into_chapter(file.relative_to(tree).as_posix(), tree)
        status, printed = _judge(fault.caught_by, tree)
    finally:
        for path, content in touched.items():
            path.write_bytes(content)
    word = {PASSED: "SURVIVED", FAILED: "caught"}.get(status, "NOT RUN")
    line = f"{word:<9} {fault}  [{fault.caught_by}]  {time.monotonic() - began:.0f} s"
    return Verdict(
        fault,
        status == FAILED,
        line if word != "NOT RUN" else f"{line}\n{textwrap.indent(printed[-600:], ' ' * 10)}",
    )


def _judge(test: str, tree: Path) -> tuple[int, str]:
    "Exit status and output of a test; one that hangs is red"
    try:
        done = run_test(test, tree)
    except subprocess.TimeoutExpired:
        return FAILED, "it took too long"
    return done.returncode, done.stdout


def red_tests(
    tests: list[str],  # node ids and notebooks
    tree: Path,  # the scratch tree
) -> set[str]:  # those that fail without any fault
    "Run tests without a fault: those of pytest in one call, as they share what is slow to start."
    notebooks = [test for test in tests if test.endswith(".ipynb")]
    others = [test for test in tests if test not in notebooks]
    red = {test for test in notebooks if _judge(test, tree)[0] != PASSED}
    if not others:
        return red
    status, printed = _judge(" ".join(["--maxfail=0", "-rfE", *others]), tree)
    if status not in (PASSED, FAILED):  # a file that can't be read keeps the rest from running
        return red | {test for test in others if _judge(test, tree)[0] != PASSED}
    failed = [line.split()[1] for line in printed.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return red | {test for test in others if any(is_part_of(name, test) for name in failed)}


def is_part_of(
    name: str,  # a node id that pytest prints
    test: str,  # the node id of a test or of a file
) -> bool:
    "Tell whether a test is another, a case of it, or one of its file."
    return name == test or name.startswith((f"{test}[", f"{test}::"))


def try_faults(
    faults: Iterable[Fault],
    report: Callable[[str], None],  # prints a line
) -> list[str]:  # what is wrong: faults that were not caught, tests that can't catch any
    "Try faults one after the other; a test that is red without any fault can catch none."
    faults, wrong = list(faults), []
    with scratch_tree() as tree:
        tests = sorted({fault.caught_by for fault in faults})
        red = red_tests(tests, tree)
        wrong += [f"RED       {test} fails without any fault: it can catch none" for test in sorted(red)]
        for fault in faults:
            if fault.caught_by in red:
                continue
            verdict = try_fault(fault, tree)
            report(verdict.line)
            wrong += [] if verdict.caught else [verdict.line]
    return wrong


def all_faults() -> Iterator[Fault]:  # every fault of tests/mutants, room by room
    for path in sorted(FAULTS.glob("*.toml")):
        yield from read_faults(path)
