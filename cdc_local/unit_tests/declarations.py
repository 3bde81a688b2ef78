"""What a file of unit tests may say, as data."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cdc_local.errors import Location
from cdc_local.unit_tests.nodes import Node, read_document

_FILE_KEYS = ("pipeline", "tests", "log_level")
PIPELINE_KEYS = (
    "sources",
    "root_path",
    "catalog",
    "schema",
    "configuration",
    "parameters",
    "bundle",
    "name",
    "target",
    "variables",
)
_TEST_KEYS = (
    "name",
    "description",
    "model",
    "callable",
    "given",
    "expect",
    "steps",
    "configuration",
    "log_level",
)
_STEP_KEYS = ("given", "expect")
_TABLE_KEYS = ("table", "rows", "format", "fixture", "schema", "mode")
_LANDED_KEYS = ("path", "rows", "text")
_EXPECTED_TABLE_KEYS = ("table", "rows", "format", "fixture")
_EXPECT_KEYS = ("rows", "format", "fixture", "tables", "expectations", "dropped", "error")
_RULE_KEYS = ("passed", "failed")
_FORMATS = ("dict", "csv", "sql")
_MODES = ("append", "overwrite")


@dataclass(frozen=True)
class LocatedRow:
    "One row that a test gives or expects."

    values: Mapping[str, Any]  # Column -> value as YAML or Python has it
    locate: Callable[[str], Location | None] = field(default=lambda column: None, compare=False)  # By column


@dataclass(frozen=True)
class GivenTable:
    "Rows that arrive in a table before an update."

    table: str  # Its name; `${key}` is a key of the pipeline's configuration
    rows: tuple[LocatedRow, ...] = ()  # The rows, unless a query gives them
    query: str | None = None  # SQL that gives the rows
    schema: str | None = None  # Its columns as DDL; those that the pipeline says by default
    overwrites: bool = False  # Whether the rows replace those that are there
    location: Location | None = None  # Where it stands


@dataclass(frozen=True)
class GivenFile:
    "A file that lands before an update."

    path: str  # Where, as the pipeline names it: `/Volumes/…/1.json`
    rows: tuple[LocatedRow, ...] = ()  # Its rows, as lines of JSON or CSV by the path's suffix
    text: str | None = None  # All of it, where it has no rows
    location: Location | None = None  # Where it stands


Given = GivenTable | GivenFile


@dataclass(frozen=True)
class ExpectedRows:
    "All rows of a dataset after an update, in any order."

    dataset: str | None  # Its name; None for the dataset under test
    rows: tuple[LocatedRow, ...]  # The rows; only columns that one of them has are compared
    node: Node  # What holds `rows`
    format: str = "dict"  # `dict` or `csv`
    is_inline: bool = True  # Whether the rows stand in the test file


@dataclass(frozen=True)
class ExpectedRule:
    "How many rows keep and break an expectation in an update."

    name: str  # Of the rule; `dataset.rule` where several datasets have one of that name
    counts: Mapping[str, Node]  # `passed`, `failed` or both
    location: Location  # Where it stands


@dataclass(frozen=True)
class Expected:
    "What an update does."

    location: Location  # Where it stands
    rows: tuple[ExpectedRows, ...] = ()  # Rows of datasets
    rules: tuple[ExpectedRule, ...] = ()  # Counts of expectations
    dropped: Node | None = None  # Number of rows that expectations drop
    error: str | None = None  # Words of the error that it ends with


@dataclass(frozen=True)
class Step:
    "One update: what arrives before it, what it does."

    given: tuple[Given, ...]
    expected: Expected


@dataclass(frozen=True)
class UnitTest:
    "One test."

    name: str  # Unique within its file
    model: str  # The dataset under test, or the source file that declares it
    callable: str | None  # The function that declares it, where the file declares several
    given: tuple[Given, ...]  # What is there before the first update
    steps: tuple[Step, ...]  # Updates, one after the other
    configuration: Mapping[str, str]  # Adds to the pipeline's
    location: Location  # Where it stands


@dataclass(frozen=True)
class UnitTests:
    "All that a file says."

    pipeline: Node | None  # What it says of the pipeline
    tests: tuple[UnitTest, ...]


def read_unit_tests(
    path: Path,  # A file of unit tests
) -> UnitTests:
    "Read a file; `UsageError` names the line, the key and what is allowed."
    entries = read_document(path).mapping("a file of unit tests", _FILE_KEYS, ("tests",))
    tests = tuple(_read_test(node, path.parent) for node in entries["tests"].entries())
    first: dict[str, Location] = {}
    for test, node in zip(tests, entries["tests"].entries(), strict=True):
        if test.name in first:
            message = f"a second test is named {test.name!r}, the first at {first[test.name]}"
            raise node.error(message, "give each its own name")
        first[test.name] = test.location
    if "pipeline" in entries:
        entries["pipeline"].mapping("a pipeline", PIPELINE_KEYS)
    return UnitTests(entries.get("pipeline"), tests)


def _read_test(
    node: Node,  # An entry of `tests`
    folder: Path,  # Of the file
) -> UnitTest:
    "Read one test."
    keys = node.mapping("a test", _TEST_KEYS, ("name", "model"))
    name, before = keys["name"].text(), _read_givens(keys.get("given"), folder)
    if "steps" in keys:
        if "expect" in keys:
            raise keys["expect"].error(f"test {name!r} has steps, which expect", "move it into a step")
        steps = tuple(_read_step(step, folder) for step in keys["steps"].entries())
        if not steps:
            raise keys["steps"].error(f"test {name!r} has no steps", "write given and expect, a step each")
    elif "expect" in keys:
        steps = (Step((), _read_expected(keys["expect"], folder)),)
    else:
        raise node.error(f"test {name!r} expects nothing", "write expect: rows: …, or steps")
    return UnitTest(
        name,
        keys["model"].text(),
        keys["callable"].text() if "callable" in keys else None,
        before,
        steps,
        keys["configuration"].pairs() if "configuration" in keys else {},
        node.location,
    )


def _read_step(
    node: Node,  # An entry of `steps`
    folder: Path,  # Of the file
) -> Step:
    "Read one step."
    keys = node.mapping("a step", _STEP_KEYS, ("expect",))
    return Step(_read_givens(keys.get("given"), folder), _read_expected(keys["expect"], folder))


def _read_givens(
    node: Node | None,  # A list of what is given, if there is one
    folder: Path,  # Of the file
) -> tuple[Given, ...]:
    "Read what is given."
    return () if node is None else tuple(_read_given(entry, folder) for entry in node.entries())


def _read_given(
    node: Node,  # An entry of `given`
    folder: Path,  # Of the file
) -> Given:
    "Read rows of a table, or a file."
    if isinstance(node.value, dict) and "path" in node.value:
        return _read_file(node)
    keys = node.mapping("what is given", (*_TABLE_KEYS, *_LANDED_KEYS[::2]), ("table",))
    if "text" in keys:
        raise keys["text"].error("a table is given as text", "write rows; text is of a file, with `path`")
    schema = keys["schema"].text() if "schema" in keys else None
    mode = keys["mode"].choice(_MODES) if "mode" in keys else "append"
    kind, content = _read_content(node, keys, folder)
    query = content.value if kind == "sql" else None
    rows = () if kind == "sql" else _read_rows(content, kind)
    return GivenTable(keys["table"].text(), rows, query, schema, mode == "overwrite", node.location)


def _read_file(
    node: Node,  # An entry of `given` that has a `path`
) -> GivenFile:
    "Read a file that lands."
    keys = node.mapping("a given file", _LANDED_KEYS, ("path",))
    if ("rows" in keys) == ("text" in keys):
        raise node.error("a given file has neither rows nor text, or both", "write rows, or text: |")
    path = keys["path"].text()
    if "text" in keys:
        return GivenFile(path, text=keys["text"].text(), location=node.location)
    if not path.endswith((".json", ".jsonl", ".csv")):
        raise keys["path"].error(
            f"rows are given for {path!r}, whose suffix names no format",
            "let it end in .json or .csv, or write text: |",
        )
    return GivenFile(path, _read_rows(keys["rows"], "dict"), location=node.location)


def _read_content(
    node: Node,  # What holds `rows`, or names a file that does
    keys: Mapping[str, Node],  # Its entries
    folder: Path,  # Of the test file
) -> tuple[str, Node]:  # Format; the rows, as a list or a text
    "Find the rows of a table, in the test file or in one beside it."
    kind = keys["format"].choice(_FORMATS) if "format" in keys else None
    if "fixture" in keys:
        if "rows" in keys:
            raise keys["fixture"].error("there are rows and a fixture", "write one of them")
        return _read_fixture(keys["fixture"], kind, folder)
    rows = keys.get("rows") or Node(node.document, (*node.path, "rows"), [])
    found = kind or ("dict" if isinstance(rows.value, list) else "csv")
    if found == "dict":
        return found, rows
    rows.text()
    return found, rows


def _read_fixture(
    node: Node,  # Names a file
    kind: str | None,  # Its format, if it is said
    folder: Path,  # Where relative paths begin
) -> tuple[str, Node]:  # Format; its text
    "Read a file of rows."
    path = folder / node.text()
    found = kind or path.suffix.removeprefix(".")
    if found not in ("csv", "sql"):
        raise node.error(
            f"fixture {node.value!r} is neither CSV nor SQL", "name a file that ends in .csv or .sql"
        )
    try:
        return found, Node(node.document, node.path, path.read_text())
    except OSError as missing:
        raise node.error(f"fixture {path}: {missing.strerror}", "name a file beside this one") from None


def _read_rows(
    node: Node,  # A list of rows, or a text of CSV
    kind: str,  # `dict` or `csv`
) -> tuple[LocatedRow, ...]:
    "Read rows."
    if kind == "csv":
        return _read_csv(node)
    rows = []
    for entry in node.entries():
        if not isinstance(entry.value, dict):
            raise entry.error(f"a row is {entry.value!r}", "write column: value, or {column: value, …}")
        rows.append(LocatedRow(entry.value, partial(_locate, entry)))
    return tuple(rows)


def _locate(
    row: Node,  # A row
    column: str,  # One of its columns, or one that it does not have
) -> Location:
    "Find the line of a value."
    return row.child(column).location if column in row.value else row.location


def _read_csv(
    node: Node,  # A text: a line of columns, then a line a row
) -> tuple[LocatedRow, ...]:
    "Read rows of CSV; blanks around a value do not count, and a value that is empty is NULL."
    lines = [line for line in node.value.splitlines() if line.strip()]
    records = list(csv.reader(io.StringIO("\n".join(lines)), skipinitialspace=True, strict=True))
    if not records:
        raise node.error("there is no line of columns", "write the columns in the first line: id,city")
    columns = [name.strip() for name in records[0]]
    rows = []
    for number, record in enumerate(records[1:], 1):
        if len(record) != len(columns):
            raise node.error(
                f"row {number} of the CSV has {len(record)} values for {len(columns)} columns",
                "put a value that has a comma into double quotes",
            )
        values = {name: text.strip() or None for name, text in zip(columns, record, strict=True)}
        rows.append(LocatedRow(values, lambda column: node.location))
    return tuple(rows)


def _read_expected(
    node: Node,  # What is expected
    folder: Path,  # Of the file
) -> Expected:
    "Read what an update is expected to do."
    keys = node.mapping("what is expected", _EXPECT_KEYS)
    if not keys:
        raise node.error("nothing is expected", f"write one of: {', '.join(_EXPECT_KEYS)}")
    if "dropped" in keys:
        keys["dropped"].count()
    rows = []
    if "rows" in keys or "fixture" in keys:
        rows.append(_read_expected_rows(node, {key: keys[key] for key in keys if key in _TABLE_KEYS}, folder))
    for entry in keys["tables"].entries() if "tables" in keys else ():
        table = entry.mapping("an expected table", _EXPECTED_TABLE_KEYS, ("table",))
        rows.append(_read_expected_rows(entry, table, folder))
    return Expected(
        node.location,
        tuple(rows),
        _read_rules(keys["expectations"]) if "expectations" in keys else (),
        keys.get("dropped"),
        keys["error"].text() if "error" in keys else None,
    )


def _read_expected_rows(
    node: Node,  # What holds `rows`
    keys: Mapping[str, Node],  # Its entries
    folder: Path,  # Of the file
) -> ExpectedRows:
    "Read the rows of a dataset."
    kind, content = _read_content(node, keys, folder)
    if kind == "sql":
        raise node.error("rows are expected as SQL", "write them as rows, or with format: csv")
    dataset = keys["table"].text() if "table" in keys else None
    return ExpectedRows(dataset, _read_rows(content, kind), node, kind, "fixture" not in keys)


def _read_rules(
    node: Node,  # Rule -> counts
) -> tuple[ExpectedRule, ...]:
    "Read counts of expectations."
    if not isinstance(node.value, dict):
        raise node.error(f"'expectations' is {node.value!r}", "write rule: {passed: 2, failed: 1}")
    rules = []
    for name in node.value:
        counts = node.child(name).mapping(f"the count of {name!r}", _RULE_KEYS)
        for count in counts.values():
            count.count()
        rules.append(ExpectedRule(name, counts, node.child(name).location))
    return tuple(rules)
