"""One unit test: its updates are run, and what they did is compared with what it expects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql.pandas.types import from_arrow_schema

from cdc_local.errors import Location, PipelineError
from cdc_local.storage import TableName
from cdc_local.unit_tests.declarations import (
    Expected,
    ExpectedRows,
    ExpectedRule,
    GivenTable,
    UnitTest,
)
from cdc_local.unit_tests.difference import Line, compare, is_different, render, rows_of
from cdc_local.unit_tests.nodes import Node, UnitTestError, suggest
from cdc_local.unit_tests.pipeline import FailedUpdateError, ModelName, PipelineUnderTest
from cdc_local.unit_tests.values import to_arrow
from cdc_utils.results import ExpectationCount, UpdateResult


class UnitTestFailure(AssertionError):  # noqa: N818 (a test that fails is no error)
    "An update did something else than a test expects."


@dataclass(frozen=True)
class RowsDiffer:
    "Rows of a dataset that are not those that a test expects."

    expected: ExpectedRows  # What the test says
    columns: Sequence[str]  # That were compared
    lines: Sequence[Line]  # All rows, marked


@dataclass(frozen=True)
class CountDiffers:
    "A count that is not the one that a test expects."

    node: Node  # What the test says
    text: str  # What is counted
    actual: int


Mismatch = RowsDiffer | CountDiffers


def run_test(
    test: UnitTest,  # The test
    pipeline: PipelineUnderTest,  # With a storage of its own
    folder: Path,  # Of the file of the test
    on_mismatch: Callable[[Mismatch], bool] = lambda mismatch: False,  # Tells whether to go on
) -> None:
    "Run a test; `UnitTestFailure` where an update does something else, `UnitTestError` for a mistake in it."
    for given in (*test.given, *(each for step in test.steps for each in step.given)):
        if isinstance(given, GivenTable):
            pipeline.announce(given)
    for given in test.given:
        pipeline.arrive(given)
    for number, step in enumerate(test.steps, 1):
        for given in step.given:
            pipeline.arrive(given)
        at = f" in step {number}" if len(test.steps) > 1 else ""
        found = _run_step(test, step.expected, pipeline, folder, at)
        remaining = [mismatch for mismatch in found if not on_mismatch(mismatch)]
        if remaining:
            raise UnitTestFailure("\n\n".join(_describe_mismatch(mismatch, at) for mismatch in remaining))


def _run_step(
    test: UnitTest,  # The test
    expected: Expected,  # What the update does
    pipeline: PipelineUnderTest,  # Its pipeline
    folder: Path,  # Of the file of the test
    at: str,  # Which step it is, where there are several
) -> list[Mismatch]:
    "Run one update and compare."
    model = ModelName(test.model, test.callable, folder, test.location)
    datasets = [
        model if rows.dataset is None else ModelName(rows.dataset, None, folder, rows.node.location)
        for rows in expected.rows
    ]
    result, error = None, None
    try:
        result = pipeline.update(model, *datasets)
    except UnitTestError:
        raise
    except FailedUpdateError as failed:
        result, error = failed.result, str(failed)
    except PipelineError as wrong:
        error = str(wrong)
    _check_error(expected, error, at)
    if not pipeline.models.keys() >= set(datasets):
        message = f"{test.name} expects rows of an update that fails before it knows its tables"
        raise UnitTestError(message, expected.location, "expect the error alone")
    found: list[Mismatch] = []
    for rows, dataset in zip(expected.rows, datasets, strict=True):
        found += _check_rows(pipeline, pipeline.models[dataset], rows)
    if result is not None:
        found += _check_counts(expected, result, str(pipeline.models[model]))
    return found


def _check_error(
    expected: Expected,  # What the test says
    error: str | None,  # What the update ended with
    at: str,  # Which step it is, where there are several
) -> None:
    "Compare an error; `UnitTestFailure` where there is another one, or none."
    if expected.error is None and error is None:
        return
    if expected.error is None:
        raise UnitTestFailure(f"{expected.location}: the update failed{at}: {error}")
    if error is None:
        wanted = f"expected an error: {expected.error}"
        raise UnitTestFailure(f"{expected.location}: the update completed{at}; {wanted}")
    if _words(expected.error) not in _words(error):
        raise UnitTestFailure(
            f"{expected.location}: the update failed otherwise{at}\n"
            f"-  expected  {expected.error}\n+  actual    {error}"
        )


def _words(text: str) -> str:
    "A text whose blanks and line ends do not count."
    return " ".join(text.split())


def _check_rows(
    pipeline: PipelineUnderTest,  # Updated
    name: TableName,  # A dataset
    expected: ExpectedRows,  # Its rows
) -> list[Mismatch]:
    "Compare the rows of a dataset, in the columns that the test names."
    table = pipeline.read(name)
    written = list(dict.fromkeys(column for row in expected.rows for column in row.values))
    wanted = to_arrow(expected.rows, from_arrow_schema(table.schema), name.table)
    folded = {column.lower(): column for column in table.column_names}
    columns = [folded[column.lower()] for column in written] or table.column_names
    wanted, table = wanted.select(columns), table.select(columns)
    lines = compare(rows_of(wanted.cast(table.schema)), rows_of(table))
    return [RowsDiffer(expected, columns, lines)] if is_different(lines) else []


def _check_counts(
    expected: Expected,  # What the test says
    result: UpdateResult,  # What the update did
    model: str,  # Full name of the dataset under test
) -> list[Mismatch]:
    "Compare how many rows expectations kept, broke and dropped."
    found: list[Mismatch] = []
    for rule in expected.rules:
        counted = _find_rule(rule, result, model)
        for measure, node in rule.counts.items():
            actual = counted.passed_records if measure == "passed" else counted.failed_records
            if actual != node.value:
                found.append(CountDiffers(node, f"rows that {_VERBS[measure]} {rule.name}", actual))
    if expected.dropped is not None:
        dropped = sum(flow.dropped_records for flow in result.flows if flow.dataset == model)
        if dropped != expected.dropped.value:
            found.append(CountDiffers(expected.dropped, "rows that were dropped", dropped))
    return found


_VERBS = {"passed": "keep", "failed": "break"}


def _find_rule(
    rule: ExpectedRule,  # As the test names it
    result: UpdateResult,  # What the update did
    model: str,  # Full name of the dataset under test
) -> ExpectationCount:
    "Find the counts of an expectation: that of the dataset under test comes first."
    counts = [count for flow in result.flows for count in flow.expectations]
    named = [
        count for count in counts if rule.name in (count.name, f"{count.dataset.split('.')[-1]}.{count.name}")
    ]
    own = [count for count in named if count.dataset == model] or named
    if len({count.dataset for count in own}) == 1:
        return ExpectationCount(
            own[0].dataset,
            own[0].name,
            sum(count.passed_records for count in own),
            sum(count.failed_records for count in own),
        )
    known = sorted({f"{count.dataset.split('.')[-1]}.{count.name}" for count in counts})
    what = "no expectation" if not own else f"{len(own)} expectations"
    raise UnitTestError(f"{what} {rule.name!r} in this update", rule.location, suggest(rule.name, known))


def _describe_mismatch(
    mismatch: Mismatch,  # What differs
    at: str,  # Which step it is, where there are several
) -> str:
    "Write what differs, at its line."
    if isinstance(mismatch, CountDiffers):
        counts = f"expected {mismatch.node.value}, actual {mismatch.actual}"
        return f"{mismatch.node.location}: {mismatch.text}{at}: {counts}"
    rows = f"rows of {mismatch.expected.dataset}" if mismatch.expected.dataset else "rows"
    return f"{_line_of(mismatch.expected)}: {rows} differ{at}\n{render(mismatch.lines, mismatch.columns)}"


def _line_of(
    expected: ExpectedRows,  # What the test says
) -> Location:
    node = expected.node
    return node.child("rows").location if "rows" in node.value else node.location
