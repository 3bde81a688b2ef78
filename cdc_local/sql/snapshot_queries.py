"""The queries of `AUTO CDC … FROM SNAPSHOT (query) WITH VERSION (query)`.

The version query says which snapshot comes next, one row with one column, or that there is none; it may ask
`last_snapshot_version()`. The snapshot query reads that one, which `current_snapshot_version()` names.
"""

import re
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    MapType,
    NullType,
    StructField,
    StructType,
)

from cdc_local.errors import Location, PipelineError, locate
from cdc_local.sql.dialect import leave_paths_to_spark, translate
from cdc_local.sql.lexer import Token, tokenize
from cdc_local.sql.parameters import expand_identifiers
from cdc_local.sql.parser import Statement, skip_bracket, spanned_text
from cdc_local.sql.positions import find_position
from cdc_local.sql.relations import find_relations
from cdc_local.sql.scope import Reading

_FUNCTIONS = ("last_snapshot_version", "current_snapshot_version")


@dataclass(frozen=True)
class SnapshotQuery:
    "A query in brackets; where it calls one of `_FUNCTIONS`, its text has a name instead."

    spark: SparkSession  # Runs it
    sql: str  # Its text
    calls: frozenset[str]  # Functions that it calls
    location: Location  # Where it is written

    def run(
        self,
        **versions: DataFrame,  # Function -> its row
    ) -> DataFrame:
        "Run the query."
        if not self.calls:
            return self.spark.sql(self.sql)
        text = self.sql.replace("{", "{{").replace("}", "}}")
        for function in self.calls:
            text = text.replace(_stand_in(function), "{" + function + "}")
        given: dict[str, Any] = {name: versions[name] for name in self.calls}
        return self.spark.sql(text, **given)


def read_bracketed_query(
    reading: Reading,  # Has the session
    statement: Statement,  # Stands before a bracket
) -> SnapshotQuery:
    "Read a query in brackets; `PipelineError` if it can't be parsed, or streams."
    words = skip_bracket(statement)
    sql = spanned_text(statement, words)
    origin = locate(statement.sql, words[0].start, statement.origin)
    position = find_position(statement.sql, words[0].start, statement.origin)
    sql = translate(sql, position)
    leave_paths_to_spark(reading.spark, sql, position)
    sql, calls = _replace_calls(expand_identifiers(reading.spark, sql, origin))
    if any(relation.streaming for relation in find_relations(reading.spark, sql, origin)):
        raise PipelineError("a snapshot is no stream", origin, "read the table without STREAM")
    return SnapshotQuery(reading.spark, sql, calls, origin)


def _replace_calls(sql: str) -> tuple[str, frozenset[str]]:
    "Put a name where a function of the snapshots' versions is called."
    words, calls = tokenize(sql), set()
    for at in reversed(range(len(words) - 2)):
        name = words[at].text.lower()
        if name in _FUNCTIONS and words[at + 1].says("(") and words[at + 2].says(")"):
            calls.add(name)
            sql = sql[: words[at].start] + _stand_in(name) + sql[words[at + 2].stop :]
    return sql, frozenset(calls)


def _stand_in(function: str) -> str:
    return f"__{function}"


@dataclass(frozen=True)
class VersionedSnapshots:
    "Finds the next snapshot of a flow."

    flow: str
    snapshot: SnapshotQuery
    version: SnapshotQuery
    location: Location

    def __post_init__(self) -> None:
        for query, function in ((self.snapshot, _FUNCTIONS[0]), (self.version, _FUNCTIONS[1])):
            if function in query.calls:
                clause = "WITH VERSION" if function == _FUNCTIONS[0] else "FROM SNAPSHOT"
                raise PipelineError(f"{function}() stands in {clause} (…) alone", query.location)

    def find_next(
        self,
        latest: Any,  # The latest version that was taken, or None
    ) -> tuple[DataFrame, Any] | None:  # The next snapshot and its version; None where there is none
        "Ask for the next version, and read its snapshot."
        field = self._find_field()
        asked = self.version.run(last_snapshot_version=self._row(field, [] if latest is None else [latest]))
        rows = asked.limit(2).collect()
        if not rows:
            return None
        if len(rows) > 1:
            raise self._refuse("returns more than one row", "ORDER BY the version and LIMIT 1")
        [version] = rows[0]
        if version is None:
            raise self._refuse("returns NULL", "return no row where there is no newer snapshot")
        return self.snapshot.run(current_snapshot_version=self._row(field, [version])), version

    def find_columns(self) -> tuple[DataFrame, DataType, DataFrame]:
        "A snapshot without rows, the type of its version, and the query of the version."
        field = self._find_field()
        version = self.version.run(last_snapshot_version=self._row(field, []))
        return self.snapshot.run(current_snapshot_version=self._row(field, [])), field.dataType, version

    def _find_field(self) -> StructField:
        "The column that the version query returns; `PipelineError` where it is not one with a name."
        unknown = StructField(self._find_name(), NullType())
        columns = self.version.run(last_snapshot_version=self._row(unknown, [])).schema
        if len(columns) != 1:
            raise self._refuse(f"returns {len(columns)} columns", "SELECT one")
        if isinstance(columns[0].dataType, ArrayType | MapType | StructType | BooleanType | BinaryType):
            kind = columns[0].dataType.simpleString()
            hint = "here a version is a number, a text, a date or a timestamp"
            raise self._refuse(f"returns a {kind}", hint)
        return columns[0]

    def _find_name(self) -> str:
        "The name of the column, which its own text asks for: the last word of what it selects."
        depth, last = 0, Token("end", "", 0, 0)
        for word in tokenize(self.version.sql):
            depth += word.says("(") - word.says(")")
            if depth == 0 and word.says("FROM"):
                break
            last = word
        if not re.fullmatch(r"\w+|`[^`]+`", last.text):
            raise self._refuse("has no name for its column", "write SELECT … AS version")
        return last.text.strip("`")

    def _row(
        self,
        field: StructField,  # The version's column
        values: list[Any],  # One version or none
    ) -> DataFrame:
        return self.version.spark.createDataFrame([(value,) for value in values], StructType([field]))

    def _refuse(self, what: str, hint: str) -> PipelineError:
        return PipelineError(f"the version query of flow {self.flow} {what}", self.version.location, hint)
