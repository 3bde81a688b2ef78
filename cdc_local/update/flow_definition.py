"""What the event log tells of a flow: target, sources, columns, where and how it was declared."""

import ast
import re
from bisect import bisect_left
from functools import lru_cache
from pathlib import Path
from typing import Any

from cdc_local.analysis.runtime import Runtime
from cdc_local.dataflow.graph import Dataset, Flow
from cdc_local.errors import Location, PipelineError
from cdc_local.sql.lexer import tokenize

_LONGEST_TEXT = 20_000  # Characters of a declaration that an event keeps

_MOST_FILES = 64  # Whose statements are kept: many flows stand in one file


def describe_definition(
    runtime: Runtime,  # Analysed
    flow: Flow,  # One of its flows
) -> dict[str, Any]:  # Details of a `flow_definition` event
    "Describe a flow; `declared` has what Databricks' event log does not."
    reads, views = runtime.analysed[flow.name].reads, runtime.view_reads
    columns = runtime.schemas.get(flow.target)
    dataset = runtime.graph.datasets[flow.target]
    return {
        "output_dataset": str(flow.target),
        "input_datasets": sorted(map(str, reads)),
        "schema": [
            {"name": column.name, "data_type": column.dataType.simpleString()} for column in columns or ()
        ],
        "comment": dataset.comment,
        "declared": _describe_dataset(dataset)
        | _describe_place(flow.location or dataset.location)
        | {
            "flow": flow.kind,
            "auto_cdc": _describe_auto_cdc(flow),
            "views": {
                str(view): _describe_dataset(runtime.graph.datasets[view])
                | _describe_place(runtime.graph.datasets[view].location)
                | {"input_datasets": sorted(map(str, views[view]))}
                for view in sorted(reads & views.keys())
            },
        },
    }


def _describe_dataset(
    dataset: Dataset,  # What a flow fills, or a view
) -> dict[str, Any]:
    return {
        "kind": dataset.kind,
        "properties": dataset.table_properties,
        "expectations": [
            {"name": rule.name, "constraint": str(rule.constraint), "action": rule.action}
            for rule in dataset.expectations
        ],
    }


def _describe_auto_cdc(
    flow: Flow,  # One of a pipeline
) -> dict[str, Any] | None:  # None for a flow of another kind
    if flow.spec is None:
        return None
    spec = flow.spec
    return {
        "source": None if flow.snapshots else str(spec.source),
        "keys": list(spec.keys),
        "sequence_by": None if spec.sequence_by is None else str(spec.sequence_by),
        "stored_as_scd_type": spec.stored_as_scd_type,
    }


def _describe_place(
    location: Location | None,  # Where something was declared
) -> dict[str, Any]:
    if location is None:
        return {}
    return {"file": location.file, "line": location.line, "text": declaration_text(location)}


def declaration_text(
    location: Location,  # A line of a source file
) -> str:  # Empty where it stands in a notebook's cell, or cannot be found
    "Read the statement that a line belongs to."
    path = Path(location.file)
    if path.suffix not in (".py", ".sql") or not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        spans = _python_statements(text) if path.suffix == ".py" else _sql_statements(text)
    except (SyntaxError, PipelineError):
        return ""  # it was changed since it was read
    found = [span for span in spans if span[0] <= location.line <= span[1]]
    lines = text.splitlines()[found[0][0] - 1 : found[0][1]] if found else []
    return "\n".join(lines)[:_LONGEST_TEXT]


@lru_cache(maxsize=_MOST_FILES)
def _python_statements(
    text: str,  # Of a file
) -> list[tuple[int, int]]:  # First and last line of each statement, decorators included
    spans = []
    for statement in ast.parse(text).body:
        first = min([statement.lineno, *[one.lineno for one in getattr(statement, "decorator_list", ())]])
        spans.append((first, statement.end_lineno or first))
    return spans


@lru_cache(maxsize=_MOST_FILES)
def _sql_statements(
    text: str,  # Of a file
) -> list[tuple[int, int]]:  # First and last line of each statement
    ends = [found.start() for found in re.finditer("\n", text)]
    spans, begin = [], None
    for word in tokenize(text):
        line = bisect_left(ends, word.start) + 1
        begin = line if begin is None else begin
        if word.says(";"):
            spans.append((begin, line))
            begin = None
    return spans + ([(begin, text.count("\n") + 1)] if begin is not None else [])
