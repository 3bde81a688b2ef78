"""The columns of a table as its author declared them, and rows completed by what they say.

Names, types, NOT NULL and comments are Spark's and Delta's. Generated columns, defaults and identities are
computed here, so that every engine and every way of writing gives the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from cdc_local.dataflow.graph import Dataset, Expectation
from cdc_local.sql_names import quote_for_spark


@dataclass(frozen=True)
class Identity:
    "A column that numbers the rows of its table."

    start: int = 1  # The first number
    step: int = 1  # From one to the next; not 0
    always: bool = True  # False: `BY DEFAULT`, a query may bring numbers of its own


@dataclass(frozen=True)
class DeclaredColumn:
    "One column of a declared schema."

    name: str  # Its name, without backticks
    type: str = ""  # Its type in Spark's DDL; empty where the author gives none
    not_null: bool = False  # Whether each row must have a value
    comment: str | None = None  # Its description
    generated: str | None = None  # `GENERATED ALWAYS AS (…)`: SQL over the other columns
    default: str | None = None  # `DEFAULT …`: SQL for rows of a query that does not bring the column
    identity: Identity | None = None  # `GENERATED … AS IDENTITY`

    @property
    def computed(self) -> str | None:
        "SQL that gives the column its value where a query does not bring it; None where nothing does."
        if self.generated is not None:
            return self.generated
        return None if self.default is None else f"CAST(({self.default}) AS {self.type})"


@dataclass(frozen=True)
class TableSchema:
    "The declared columns of a table."

    columns: tuple[DeclaredColumn, ...]  # In order

    @property
    def ddl(self) -> str:
        "Names and types as Spark's DDL; empty where the columns have no types."
        if not all(column.type for column in self.columns):
            return ""
        return ", ".join(f"{quote_for_spark(column.name)} {column.type}" for column in self.columns)

    def types(self) -> StructType:  # Raises what the engine's parser raises
        "The columns as Spark has them."
        parsed = cast(StructType, StructType.fromDDL(self.ddl))
        return StructType([_describe_field(*pair) for pair in zip(self.columns, parsed, strict=True)])

    def describe(
        self,
        found: StructType,  # Columns that a query brings
    ) -> StructType:  # The same, with the declared comments
        "Take the comments of columns that are declared without types."
        declared = {column.name.lower(): column for column in self.columns}
        return StructType(
            [
                _describe_field(declared[field.name.lower()], field)
                if field.name.lower() in declared
                else field
                for field in found
            ]
        )

    def columns_with(
        self,
        part: str,  # A field of `DeclaredColumn`: generated, default, identity
    ) -> list[DeclaredColumn]:
        "Columns of which something is declared."
        return [column for column in self.columns if getattr(column, part) is not None]


def _describe_field(
    column: DeclaredColumn,  # As declared
    field: StructField,  # Its name and type
) -> StructField:
    metadata = dict(field.metadata or {}) | ({"comment": column.comment} if column.comment else {})
    return StructField(field.name, field.dataType, field.nullable and not column.not_null, metadata)


def missing_columns(
    declared: Any,  # `Dataset.schema`, read
    brought: Iterable[str],  # Names of the columns that a query brings
) -> list[DeclaredColumn]:  # Those that it does not bring and that are computed
    "Find the columns that a table computes for the rows of a query."
    if not isinstance(declared, TableSchema):
        return []
    given = {name.lower() for name in brought}
    computed = (column for column in declared.columns if column.computed or column.identity)
    return [column for column in computed if column.name.lower() not in given]


def complete_rows(
    frame: DataFrame,  # Rows of a query
    declared: Any,  # `Dataset.schema` of their table, read
    next_number: Callable[[DeclaredColumn], int] | None = None,  # What an identity gives next; None: NULL
) -> DataFrame:  # The same rows, with the columns that the table computes
    "Compute generated columns, defaults and identities; generated ones see the defaults."
    missing = missing_columns(declared, frame.columns)
    for part in ("identity", "default", "generated"):
        values: dict[str, Column] = {}
        for column in (one for one in missing if getattr(one, part) is not None):
            values[column.name] = _value_of(column, next_number)
        if values:
            frame = frame.select("*", *[value.alias(name) for name, value in values.items()])
    return frame


def _value_of(
    column: DeclaredColumn,  # One that is computed
    next_number: Callable[[DeclaredColumn], int] | None,  # What an identity gives next; None: NULL
) -> Column:
    if column.identity is None:
        return F.expr(str(column.computed))
    if next_number is None:
        return F.lit(None).cast("bigint")
    place = F.row_number().over(Window.orderBy(F.lit(0))) - 1
    return F.lit(next_number(column)).cast("bigint") + place.cast("bigint") * column.identity.step


def with_declared_rules(
    dataset: Dataset,  # A table
    brought: Iterable[str],  # Names of the columns that a query brings
) -> Dataset:  # The same, with the rule that Delta Lake has: what is brought is what would be computed
    "Let a query bring a generated column, where its values are those of the column's expression."
    if not isinstance(dataset.schema, TableSchema):
        return dataset
    given = {name.lower() for name in brought}
    rules = [
        Expectation(
            f"{column.name} GENERATED ALWAYS AS",
            f"{quote_for_spark(column.name)} <=> ({column.generated})",
            "fail",
        )
        for column in dataset.schema.columns_with("generated")
        if column.name.lower() in given
    ]
    return replace(dataset, expectations=(*dataset.expectations, *rules)) if rules else dataset
