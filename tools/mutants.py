"""Mutants made by Cosmic Ray: one small change at a time in a copy of the tree, judged by its module's tests.

Results are kept in `.cache/mutants`, one file a module, for as long as the module and its tests stay as they
are: the same call again goes on where it was interrupted. Survivors are named with file, line, function and
change; some behave like the original, which a person has to judge."""

import ast
import hashlib
import random
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import mutation_operators
from cosmic_ray.commands.init import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkItem, WorkResult
from faults import DEFINITIONS, FaultError, find_definition
from scratch_tree import PASSED, ROOT, chapter_of, scratch_tree

PACKAGES = ("cdc_local", "cdc_utils")
SESSIONS = ROOT / ".cache/mutants"
LEAST_TIMEOUT = 60  # seconds that the tests of a mutant get at least
SLOWER = 4  # times longer than without a mutant before the tests count as hanging
Report = Callable[[str], None]


class SelectionError(ValueError):
    "A selection that names nothing; the message says what to write."


@dataclass(frozen=True)
class Selection:
    "What to mutate, and how much of it."

    modules: dict[
        str, str
    ]  # path of a module from the tree's top -> dotted name of a definition in it, '' for all of it
    count: int | None = None  # mutants to try, None for every one
    seed: int = 0  # the same seed chooses the same mutants
    minutes: float | None = None  # begin no further mutant after so many minutes
    tests: tuple[str, ...] = ()  # tests to judge by instead of those of the module


@dataclass
class Tally:
    "What came of the mutants so far."

    caught: int = 0
    survivors: list[str] = field(default_factory=list)  # one text each, to print
    unfinished: list[str] = field(default_factory=list)  # modules that the time did not suffice for
    unjudged: list[str] = field(default_factory=list)  # what no test could judge, and why

    def conclusions(self) -> list[str]:  # lines to print at the end
        tried = self.caught + len(self.survivors)
        return [
            *(f"SURVIVED  {survivor}" for survivor in self.survivors),
            *(f"NOT JUDGED  {reason}" for reason in self.unjudged),
            *(f"unfinished  {module}: the time is up, the same call goes on" for module in self.unfinished),
            f"{self.caught} of {tried} mutants caught, {len(self.survivors)} survived",
        ]


def select_modules(
    names: list[
        str
    ],  # files, folders, or `FILE::function`, from the tree's top; none for all of both packages
) -> dict[str, str]:  # as `Selection.modules`
    "Read what a selection names; `SelectionError` where nothing lies there."
    chosen: dict[str, str] = {}
    for name in names or [package for package in PACKAGES if (ROOT / package).is_dir()]:
        path, _, definition = name.partition("::")
        file = (ROOT / path).resolve()
        found = [file] if file.is_file() else sorted(file.rglob("*.py"))
        modules = [
            module.relative_to(ROOT).as_posix()
            for module in found
            if module.is_relative_to(ROOT) and not module.name.startswith("_")
        ]
        modules = [module for module in modules if module.partition("/")[0] in PACKAGES]
        if not modules:
            raise SelectionError(
                f"{name}: no module of {' or '.join(PACKAGES)} lies there; write e.g. cdc_local/delta"
            )
        if definition:
            try:
                find_definition(file.read_text(), definition.split("."))
            except FaultError as error:
                raise SelectionError(f"{name}: {error}") from error
        chosen.update(dict.fromkeys(modules, definition))
    return chosen


def find_tests(
    module: str,  # path of a module, from the tree's top
    root: Path = ROOT,  # the tree's top
) -> list[str]:  # as for `test_command`, the most specific first
    "The tests of a module: those named like it, its chapter, then all of its room."
    path = Path(module)
    tests = [
        found.relative_to(root).as_posix() for found in sorted((root / "tests").rglob(f"test_{path.stem}.py"))
    ]
    chapter = chapter_of(root / path)
    if chapter:
        return [*tests, chapter]
    room = Path("tests", *path.parts[1:-1])
    if len(path.parts) < 3 or not (root / room).is_dir():
        return tests
    own = [test for test in tests if Path(test).is_relative_to(room)]
    others = [found.relative_to(root).as_posix() for found in sorted((root / room).rglob("test_*.py"))]
    rest = [test for test in others if test not in own]
    return [*own, " ".join(rest)] if rest else own


def count_per_module(
    selection: Selection,
) -> dict[str, int | None]:  # mutants to try of each module, None for all; modules that get none are left out
    "Share a sample among modules by their length."
    modules = sorted(selection.modules)
    if selection.count is None:
        return dict.fromkeys(modules)
    if len(modules) == 1:
        return {modules[0]: selection.count}
    lengths = [len((ROOT / module).read_text().splitlines()) for module in modules]
    drawn = Counter(random.Random(selection.seed).choices(modules, lengths, k=selection.count))
    return {module: drawn[module] for module in modules if module in drawn}


def unjudged_lines(
    source: str,  # a module's text
) -> Iterator[
    tuple[tuple[int, int], tuple[int, int]]
]:  # begin and end of what no test can judge, each (line, column)
    "Annotations, which nothing runs."
    for node in ast.walk(ast.parse(source)):
        annotations = [getattr(node, name, None) for name in ("annotation", "returns")]
        for found in annotations:
            if isinstance(found, ast.expr):
                yield (found.lineno, found.col_offset), (found.end_lineno or 0, found.end_col_offset or 0)


def function_at(
    source: str,  # a module's text
    line: int,  # from 1
) -> str:  # dotted name of the innermost definition around it, the module's top as '<module>'
    "Name the function in which a line stands."
    names, body = [], ast.parse(source).body
    while True:
        around = [node for node in ast.walk(ast.Module(body, [])) if isinstance(node, DEFINITIONS)]
        around = [node for node in around if node.lineno <= line <= (node.end_lineno or 0)]
        if not around:
            return ".".join(names) or "<module>"
        outermost = min(around, key=lambda node: node.lineno)
        names.append(outermost.name)
        body = outermost.body


def choose_mutants(
    items: list[WorkItem],  # all of a module
    source: str,  # the module's text
    definition: str,  # dotted name of a definition, '' for the module
    count: int | None,  # how many to choose, None for all
    seed: int,
) -> list[WorkItem]:  # in the order of their lines
    """Choose mutants of a module or a function.

    A sample has one mutant a place and kind of change: of eleven other operators for one `+`, one will do."""
    first, last = find_definition(source, definition.split(".") if definition else [])
    unjudged = list(unjudged_lines(source))

    def counts(mutation: MutationSpec) -> bool:
        column = len(source.splitlines()[mutation.start_pos[0] - 1][: mutation.start_pos[1]].encode())
        begin = (mutation.start_pos[0], column)
        return first <= begin[0] <= last and not any(start <= begin < end for start, end in unjudged)

    def key(item: WorkItem) -> tuple:
        mutation = item.mutations[0]
        return mutation.start_pos, mutation.operator_name, mutation.occurrence

    chosen = sorted((item for item in items if counts(item.mutations[0])), key=key)
    if count is None:
        return chosen
    draw, places = random.Random(seed), {}
    for item in chosen:
        mutation = item.mutations[0]
        places.setdefault((mutation.start_pos, mutation.operator_name.partition("_")[0]), []).append(item)
    alternatives = [draw.choice(same) for same in places.values()]
    return sorted(draw.sample(alternatives, min(count, len(alternatives))), key=key)


def open_session(
    module: str,  # path of the module, from the tree's top
    tests: list[str],  # by which its mutants are judged
) -> WorkDB:  # Cosmic Ray's record of the module's mutants and their results
    "Open the results for the module and the tests as they are now; older ones are deleted."
    digest = hashlib.sha256(f"{version('cosmic-ray')} {tests}".encode())
    paths = [Path(name) for test in tests for name in test.split() if not name.startswith("-")]
    files = [
        file
        for path in paths
        for file in ([ROOT / path] if (ROOT / path).is_file() else sorted((ROOT / path).rglob("*.py")))
    ]
    for file in [ROOT / module, ROOT / "tools/mutation_operators.py", *files]:
        digest.update(file.read_bytes())
    name = module.removesuffix(".py").replace("/", ".")
    path = SESSIONS / f"{name}-{digest.hexdigest()[:12]}.sqlite"
    SESSIONS.mkdir(parents=True, exist_ok=True)
    for other in SESSIONS.glob(f"{name}-*.sqlite"):
        if other != path:
            other.unlink()
    session = WorkDB(str(path), WorkDB.Mode.create)
    if not session.num_work_items:
        init([Path(module)], session, {})
    return session


def describe_mutant(
    mutation: MutationSpec,
    source: str,  # the module's text
    diff: str,  # what Cosmic Ray says it changed
) -> str:  # file, line, function; then the lines before and after
    "Name a mutant so that a reader can find it."
    changed = [line for line in diff.splitlines() if line[:1] in "-+" and not line.startswith(("---", "+++"))]
    changes = "".join(f"\n            {line[0]} {line[1:].strip()}" for line in changed)
    line = mutation.start_pos[0]
    return f"{mutation.module_path}:{line}  {function_at(source, line)}{changes}"


def judge_command(module: str, tests: list[str]) -> str:
    "What Cosmic Ray runs for each mutant, in the scratch tree"
    return shlex.join([sys.executable, str(ROOT / "tools/judge.py"), module, *tests])


def time_tests(
    module: str,
    tests: list[str],
) -> tuple[bool, float, str]:  # whether they pass, seconds, the end of what they printed
    "Run a module's tests without a mutant: only tests that pass can catch one."
    began = time.monotonic()
    done = subprocess.run(shlex.split(judge_command(module, tests)), capture_output=True, text=True)
    return done.returncode == PASSED, time.monotonic() - began, (done.stdout + done.stderr)[-600:]


def try_module(
    module: str,  # path of the module, from the tree's top, which is the current folder
    count: int | None,  # mutants to try, None for all
    selection: Selection,
    is_over: Callable[[], bool],  # whether the time is up
    tally: Tally,  # gets the results
    report: Report,
) -> None:
    "Try mutants of one module; results of before are taken over."
    tests = list(selection.tests) or find_tests(module)
    if not tests:
        tally.unjudged.append(f"{module}: no tests are named like it; say which with --tests")
        return
    source = Path(module).read_text()
    with closing(open_session(module, tests)) as session:
        known = {item.job_id: result for item, result in session.completed_work_items}
        chosen = choose_mutants(
            list(session.work_items), source, selection.modules[module], count, selection.seed
        )
        timeout = None
        done = sum(item.job_id in known for item in chosen)
        report(f"{module}: {len(chosen)} mutants, {done} known; tests: {', '.join(tests)}")
        for item in chosen:
            result = known.get(item.job_id)
            if result is None:
                if is_over():
                    tally.unfinished.append(module)
                    return
                if timeout is None:
                    passed, seconds, printed = time_tests(module, tests)
                    if not passed:
                        tally.unjudged.append(f"{module}: its tests fail without any mutant\n{printed}")
                        return
                    timeout = max(LEAST_TIMEOUT, SLOWER * seconds)
                result = try_mutant(item, judge_command(module, tests), timeout)
                session.set_result(item.job_id, result)
            add_result(item.mutations[0], source, result, tally, report)


def try_mutant(
    item: WorkItem,
    command: str,  # runs the tests
    timeout: float,  # seconds
) -> WorkResult:
    "Let Cosmic Ray make one mutant and run the tests; a chapter that got its code is put back as well."
    chapter = chapter_of(Path(item.mutations[0].module_path))
    before = Path(chapter).read_bytes() if chapter else b""
    try:
        return mutate_and_test(item.mutations, command, timeout)
    finally:
        if chapter:
            Path(chapter).write_bytes(before)


def add_result(mutation: MutationSpec, source: str, result: WorkResult, tally: Tally, report: Report) -> None:
    "Count a result and print it."
    text = describe_mutant(mutation, source, result.diff or "")
    if result.test_outcome == TestOutcome.KILLED:
        tally.caught += 1
        report(f"  caught    {text.splitlines()[0]}  {mutation.operator_name}")
    elif result.test_outcome == TestOutcome.SURVIVED:
        tally.survivors.append(text)
        report(f"  SURVIVED  {text}")
    else:
        tally.unjudged.append(f"{text.splitlines()[0]}: {(result.output or '').strip()[-300:]}")


def try_mutants(
    selection: Selection,
    report: Report,  # prints a line
) -> Tally:
    "Try a selection's mutants, module by module, in a scratch copy of the tree."
    mutation_operators.register()
    began, tally = time.monotonic(), Tally()

    def is_over() -> bool:
        return selection.minutes is not None and time.monotonic() - began > 60 * selection.minutes

    with scratch_tree():
        for module, count in count_per_module(selection).items():
            try_module(module, count, selection, is_over, tally, report)
    return tally
