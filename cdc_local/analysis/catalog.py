"""What a pipeline's code may ask about tables. `catalog_methods.py` is `spark.catalog` over it, and
`catalog_statements.py` is `SHOW`, `DESCRIBE` and `information_schema`.

The catalog is the storage as the update found it. A table that this update makes is not in it before the next
one, as on Databricks, and a dataset function that asks twice gets the same answer twice.
"""

import difflib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from deltalake import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql.types import StructField, StructType

from cdc_local.dataflow.graph import DatasetKind, Graph
from cdc_local.delta.reader import read_visible_part
from cdc_local.engines.engine import engine_of
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, TableName

_TYPES: dict[DatasetKind, str] = {
    "streaming_table": "STREAMING_TABLE",
    "materialized_view": "MATERIALIZED_VIEW",
}


class UnknownTableError(PipelineError, AnalysisException):
    "A name that nothing has; code that asks for a table by reading it catches Spark's class of it."

    def getCondition(self) -> str:  # noqa: N802 (PySpark's own name for it)
        """Spark's name of the mistake."""
        return "TABLE_OR_VIEW_NOT_FOUND"


@dataclass(frozen=True)
class StoredTable:
    "A table as the catalog has it."

    name: TableName
    path: Path  # Its folder
    kind: str  # MANAGED, STREAMING_TABLE or MATERIALIZED_VIEW

    @cached_property
    def delta(self) -> DeltaTable:
        "The table, opened."
        return DeltaTable(str(self.path))

    @property
    def comment(self) -> str | None:
        "Its description."
        description: str | None = self.delta.metadata().description
        return description

    @property
    def created(self) -> datetime | None:
        "When it was made."
        moment = self.delta.metadata().created_time
        return None if moment is None else datetime.fromtimestamp(moment / 1000, UTC)

    @property
    def changed(self) -> datetime:
        "When it was committed to."
        return datetime.fromtimestamp(self.delta.history(1)[0]["timestamp"] / 1000, UTC)

    @property
    def partitions(self) -> list[str]:
        "Columns that split its files."
        return list(self.delta.metadata().partition_columns)

    @property
    def fields(self) -> list[StructField]:
        "The columns that it shows."
        stored = StructType.fromJson(json.loads(self.delta.schema().to_json()))
        shown = read_visible_part(stored.names, self.delta.metadata().configuration).columns
        return [stored[name] for name in shown]

    @property
    def properties(self) -> dict[str, str]:
        "Its table properties, without those of this project's own."
        found = self.delta.metadata().configuration
        return {key: value for key, value in found.items() if not key.startswith("cdc.")}


class PipelineCatalog:
    "Answers questions about the storage's tables; names are completed as the pipeline's are."

    def __init__(
        self,
        spark: SparkSession,  # Has temporary views of its own
        graph: Graph,  # Completes names, and knows what makes a table
        storage: Storage,  # Its tables
    ) -> None:
        self.spark, self.graph, self.storage = spark, graph, storage
        self._names = storage.tables()  # As the update finds them

    @property
    def tables(self) -> list[StoredTable]:
        "Every table that is no private one of this pipeline, by name."
        found = []
        for name in self._names:
            dataset = self.graph.datasets.get(name)
            if dataset is None or not dataset.private:
                kind = "MANAGED" if dataset is None else _TYPES.get(dataset.kind, "MANAGED")
                found.append(StoredTable(name, self.storage.table_path(name), kind))
        return found

    def find_table(
        self,
        text: str,  # A name as written
    ) -> StoredTable:
        "Find a table; `UnknownTableError` where the update found none."
        name = self.graph.name(text)
        for table in self.tables:
            if table.name == name:
                return table
        raise self.describe_unknown(text)

    def has_table(
        self,
        text: str,  # A name as written
    ) -> bool:
        "Whether the update found a table of that name, or the session has a view of it."
        name = self.graph.name(text)
        is_stored = any(table.name == name for table in self.tables)
        return is_stored or ("." not in text and engine_of(self.spark).has_session_table(self.spark, text))

    def catalogs(self) -> list[str]:
        "The catalogs that there are."
        return sorted({self.graph.catalog, *(table.name.catalog for table in self.tables)})

    def schemas(
        self,
        catalog: str,  # Where
    ) -> list[str]:
        "The schemas of a catalog; the pipeline's own is always there."
        own = {self.graph.schema} if catalog == self.graph.catalog else set()
        found = {table.name.schema for table in self.tables if table.name.catalog == catalog}
        return sorted(own | found)

    def split_schema(
        self,
        text: str | None,  # `schema` or `catalog.schema`, with backticks or not; None for that of the scope
    ) -> tuple[str, str]:  # Catalog and schema
        "Complete a schema's name."
        graph = self.graph
        if text is None:
            return graph.catalog, graph.schema
        parts = [quoted or bare for quoted, bare in re.findall(r"`([^`]+)`|([^.`]+)", text.strip())]
        if not 1 <= len(parts) <= 2:
            raise PipelineError(f"{text!r} is no schema", hint="write schema or catalog.schema")
        return (graph.catalog, parts[0]) if len(parts) == 1 else (parts[0], parts[1])

    def tables_of(
        self,
        schema: str | None,  # As written; None for that of the scope
    ) -> list[StoredTable]:
        "The tables of a schema; `PipelineError` where there is no such schema."
        catalog, name = self.split_schema(schema)
        if name not in self.schemas(catalog):
            raise PipelineError(
                f"there is no schema {catalog}.{name}", hint=f"there are {', '.join(self.schemas(catalog))}"
            )
        return [table for table in self.tables if (table.name.catalog, table.name.schema) == (catalog, name)]

    def describe_unknown(
        self,
        text: str,  # A name as written
    ) -> UnknownTableError:
        "Describe a name that nothing has, with the nearest one that there is."
        known = [str(name) for name in (*self.graph.datasets, *self.storage.tables())]
        near = difflib.get_close_matches(str(self.graph.name(text)), known, 1)
        return UnknownTableError(
            f"table {text} is neither in this pipeline nor in the storage {self.storage.root}",
            hint=f"did you mean {near[0]}?"
            if near
            else "declare it, or run the pipeline that makes it on the same --storage",
        )


def join_names(
    table: str,  # A name of one part or more
    schema: str | None,  # What stands before it, if that is given apart
) -> str:  # One name
    "Put a table's name behind its schema's."
    return table if schema is None else f"{schema}.{table}"


def matches(
    name: str,  # Of a table, a schema or a catalog
    pattern: str | None,  # `*` for any signs, `|` between patterns; None for all
) -> bool:
    "Whether a name is like a pattern of `SHOW … LIKE`, in whatever case."
    if pattern is None:
        return True
    parts = [".*".join(map(re.escape, part.strip().split("*"))) for part in pattern.split("|")]
    return re.fullmatch("|".join(parts), name, re.I) is not None
