"""A target of AUTO CDC: its declaration, resolved against its source; its events, rows and backing table."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from deltalake import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from cdc_local.dataflow.graph import Flow
from cdc_local.dataflow.table_schema import TableSchema
from cdc_local.delta.reader import VisiblePart
from cdc_local.delta.sail_writer import add_columns
from cdc_local.delta.writer import append_with_spark, create_table
from cdc_local.engines.engine import is_sail
from cdc_local.errors import PipelineError
from cdc_local.sql_names import quote_for_spark
from cdc_local.storage import is_table, remove_empty_log
from cdc_utils import bitemporal, scd1, scd2
from cdc_utils.events import (
    DELETED,
    SEQUENCE,
    SYSTEM_SEQUENCE,
    WRITES,
    build_events,
    exact_column,
    remove_truncated,
)
from cdc_utils.spec import (
    COLUMN_LISTS,
    CdcSpec,
    SpecError,
    columns_ignoring_nulls,
    folded,
    resolved,
    tracked_columns,
    visible_columns,
)


@dataclass(frozen=True)
class Target:
    """One AUTO CDC target: its spec, resolved against the columns of its source.

    `of` is the door: it finds names without regard to case; from there on they are spelled as in the source.
    """

    spec: CdcSpec  # What the flow declares, as its author wrote it
    keys: tuple[str, ...]  # Columns that identify a row
    columns: tuple[str, ...]  # Columns of the table, keys included, `bounds` left out
    tracked: tuple[str, ...] | None  # Columns whose change opens a version; None for all, and for SCD type 1
    ignoring_nulls: tuple[str, ...] = ()  # Columns in which a NULL leaves the value as it is
    computed: tuple[tuple[str, str], ...] = ()  # Columns that the table computes, and the SQL of each
    order: tuple[str, ...] = ()  # Columns as the table declares them; empty where it declares none

    @classmethod
    def of(
        cls,
        flow: Flow,  # An AUTO CDC flow
        source: StructType,  # Columns of its source
    ) -> "Target":
        "Resolve a flow's spec; raises `PipelineError` for an unknown column or one of the wrong type."
        spec = flow.cdc_spec
        try:
            columns = tuple(visible_columns(spec, source.names))
            spelling = {folded(name): name for name in columns}
            computed, order = _read_declared(flow.declared, columns)
            lists_tracked = spec.track_history_column_list or spec.track_history_except_column_list
            _check_columns_to_update(spec, source)
            return cls(
                spec,
                tuple(spelling[folded(key)] for key in spec.keys),
                columns,
                tuple(tracked_columns(spec, source.names)) if lists_tracked else None,
                tuple(columns_ignoring_nulls(spec, source.names)),
                computed,
                order,
            )
        except ValueError as wrong:
            raise PipelineError(str(wrong), flow.location) from None

    @property
    def is_history(self) -> bool:
        "Whether the table keeps every version of a row: SCD type 2, or bitemporal."
        return bool(self.spec.stored_as_scd_type != 1)

    @property
    def is_bitemporal(self) -> bool:
        "Whether the table keeps when each version was known, too."
        return bool(self.spec.stored_as_scd_type == "bitemporal")

    @property
    def bounds(self) -> tuple[str, ...]:
        "Columns that say when a version was so and, in a bitemporal table, when it was known."
        history = (scd2.START_AT, scd2.END_AT) if self.is_history else ()
        return (
            (*history, bitemporal.SYSTEM_START_AT, bitemporal.SYSTEM_END_AT)
            if self.is_bitemporal
            else history
        )

    @property
    def sequences(self) -> list[str]:
        "Hidden columns that order the events of a key."
        return [SEQUENCE, SYSTEM_SEQUENCE] if self.is_bitemporal else [SEQUENCE]

    @property
    def keeps_events(self) -> bool:
        "Whether the backing table has a row for each event, not for each key."
        return bool(self.is_history or self.ignoring_nulls or self.spec.columns_to_update)

    @property
    def identity(self) -> list[str]:
        "Columns that tell the rows of the backing table apart."
        known_since = [bitemporal.SYSTEM_START_AT] if self.is_bitemporal else []
        return [*self.keys, *([SEQUENCE] if self.keeps_events else []), *known_since]

    @property
    def identity_of_events(self) -> list[str]:
        "Columns that tell events apart."
        return [*self.keys, SEQUENCE]

    @property
    def visible_columns(self) -> list[str]:
        "Columns that readers see, in the order in which the table declares them."
        names = [*self.columns, *self.bounds, *[name for name, _ in self.computed]]
        places = {name.lower(): place for place, name in enumerate(self.order)}
        return sorted(names, key=lambda name: places.get(name.lower(), len(places)))

    @property
    def visible_part(self) -> VisiblePart:
        "What readers of the backing table see."
        if not self.keeps_events:
            predicate = f"NOT {DELETED}"
        elif self.is_history:
            predicate = f"{scd2.START_AT} IS NOT NULL"
        else:
            predicate = f"{scd2.START_AT} IS NOT NULL AND {scd2.END_AT} IS NULL"
        return VisiblePart(tuple(self.visible_columns), predicate, tuple(self.latest_columns))

    @property
    def latest_columns(self) -> list[str]:
        "Columns shown from `__latest`: the untracked, and those that an event may leave as they are."
        completed = self.ignoring_nulls
        if self.spec.columns_to_update:
            completed = tuple(name for name in self.columns if name not in self.keys)
        untracked = scd2.untracked_columns(self.columns, self.keys, self.tracked) if self.is_history else []
        return [name for name in self.columns if name in (*completed, *untracked)]


_EMPTIED = "cdc.emptied"  # Table property
_BOUNDS = (scd2.START_AT, scd2.END_AT, bitemporal.SYSTEM_START_AT, bitemporal.SYSTEM_END_AT)


def _read_declared(
    declared: object,  # Columns that the table declares: `TableSchema`, StructType or None
    brought: tuple[str, ...],  # Columns that its events bring
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:  # `computed` and `order` of a `Target`
    "Find the columns that a table declares and its events do not bring: computed ones, and NULL for others."
    known = {name.lower() for name in (*brought, *_BOUNDS)}
    if isinstance(declared, TableSchema) and declared.ddl:
        columns = [
            (column.name, column.computed or f"CAST(NULL AS {column.type})") for column in declared.columns
        ]
    elif isinstance(declared, StructType):
        columns = [(field.name, f"CAST(NULL AS {field.dataType.simpleString()})") for field in declared]
    else:
        columns = []
    computed = tuple((name, text) for name, text in columns if name.lower() not in known)
    return computed, tuple(name for name, _ in columns)


def extract_events(
    changes: DataFrame,  # Rows of the source, batch or streaming
    target: Target,  # The target
) -> DataFrame:  # The target's columns, and the hidden ones of `build_events`
    "Reduce rows of the source to events."
    spec = target.spec
    return build_events(
        changes,
        target.keys,
        cast("str | Column", spec.sequence_by),
        cast("str | Column | None", spec.apply_as_deletes),
        target.columns,
        cast("str | Column | None", spec.apply_as_truncates),
        spec.columns_to_update,
        cast("str | Column | None", spec.system_sequence_by),
    )


def restore_events(
    stored: DataFrame,  # Rows of the backing table
    target: Target,  # The target
) -> DataFrame:  # The target's columns as far as they are stored, and the hidden ones of `build_events`
    "Give back the events that rows were: what was computed is left out."
    names = [*target.columns, *target.sequences, DELETED]
    if target.spec.columns_to_update:
        names.append(WRITES)
    return stored.select(*[exact_column(name) for name in names if name in stored.columns])


def compute_rows(
    events: DataFrame,  # Events, old and new
    target: Target,  # The target
) -> DataFrame:  # Rows of the backing table
    "Apply the rules of SCD type 1, 2 or bitemporal tables, as their chapters define them."
    if target.spec.apply_as_truncates is not None:
        events = remove_truncated(events, target.keys)
    if target.is_bitemporal:
        rows = bitemporal.versions(events, target.keys, target.tracked, target.ignoring_nulls)
    elif target.keeps_events:
        rows = scd2.versions(events, target.keys, target.tracked, target.ignoring_nulls)
    else:
        rows = scd1.newest_events(events, target.keys)
    return _add_computed_columns(rows, target) if target.computed else rows


def _add_computed_columns(
    rows: DataFrame,  # Rows of the backing table, without the columns that the table computes
    target: Target,  # The target
) -> DataFrame:
    "Compute a row's generated columns from what readers see of it; a hidden row has NULL."
    part, stored = target.visible_part, "__row"
    computed = {name for name, _ in target.computed}
    shown = [_visible_column(name, part) for name in part.columns if name not in computed]
    is_visible = F.expr(part.predicate).alias("__is_visible")
    packed = rows.select(F.struct("*").alias(stored), is_visible, *shown)
    values = [F.when(F.col("__is_visible"), F.expr(text)).alias(name) for name, text in target.computed]
    return packed.select(F.col(f"{stored}.*"), *values)


def compute_from_changes(
    changes: DataFrame,  # Rows of the source
    target: Target,  # The target
) -> DataFrame:  # Rows of the backing table, as if nothing had come before
    "Put together all that is computed of a source's rows."
    return compute_rows(extract_events(changes, target), target)


def select_visible_rows(
    rows: DataFrame,  # Rows of a backing table, batch or streaming
    part: VisiblePart,  # What its readers see
) -> DataFrame:  # The rows and columns that readers see
    "Leave out what AUTO CDC hides."
    return rows.where(part.predicate).select(*[_visible_column(name, part) for name in part.columns])


def _visible_column(
    name: str,  # A visible column
    part: VisiblePart,  # What readers see
) -> Column:
    "A column as readers see it."
    if name in part.latest:
        return F.col(f"{scd2.LATEST}.{quote_for_spark(name)}").alias(name)
    return exact_column(name)


def find_visible_schema(
    spark: SparkSession,  # Makes an empty frame
    flow: Flow,  # An AUTO CDC flow
    source: StructType,  # Columns of its source
) -> StructType:  # Columns its target shows
    "Find the columns that readers of an AUTO CDC target see."
    target = Target.of(flow, source)
    types = {field.name: field for field in _backing_schema(spark, target, source)}
    return StructType([types[name] for name in target.visible_columns])


def create_backing_table(
    spark: SparkSession,  # Makes the table
    path: Path,  # Its folder
    target: Target,  # The target
    source: StructType,  # Columns of its source
    comment: str | None = None,  # What the table holds
    extra: dict[str, str] | None = None,  # Further table properties
) -> None:
    """Create the backing table if it is missing, or bring its columns and properties up to date.

    Raises `PipelineError` if the declaration changed.
    """
    schema = _backing_schema(spark, target, source)
    properties = backing_properties(target, schema)
    if not is_table(path):
        remove_empty_log(path)
        create_table(spark, path, schema, comment, (extra or {}) | properties)
    elif changed := check_declaration(path, target, properties):
        if is_sail(spark):
            add_columns(DeltaTable(str(path)), schema, changed)
            return
        append_with_spark(spark.createDataFrame([], schema), path)
        assignments = ", ".join(f"{key!r} = {value!r}" for key, value in changed.items())
        spark.sql(f"ALTER TABLE delta.{quote_for_spark(str(path))} SET TBLPROPERTIES ({assignments})")


def backing_properties(
    target: Target,  # The target
    schema: StructType,  # Columns of the backing table
) -> dict[str, str]:  # Delta table properties
    "Say what readers of the backing table, and later updates, must know."
    part = target.visible_part
    emptied = {} if target.spec.apply_as_truncates is None else {_EMPTIED: "true"}
    return emptied | {
        "cdc.columns": json.dumps(part.columns),
        "cdc.latest": json.dumps(part.latest),
        "cdc.visible": part.predicate,
        "cdc.declaration": json.dumps(_describe_declaration(target, schema)),
    }


def check_declaration(
    path: Path,  # The backing table
    target: Target,  # The target as declared now
    properties: dict[str, str],  # Its properties
) -> dict[
    str, str
]:  # Properties to change since the flow is another now; a column that its source lost stays
    "Refuse with `PipelineError` to continue a table that was computed by another declaration."
    stored = DeltaTable(str(path)).metadata().configuration
    before = json.loads(stored.get("cdc.declaration", "{}"))
    now = json.loads(properties["cdc.declaration"])
    for field in now | before:
        if before.get(field) != now.get(field):
            raise PipelineError(
                f"{target.spec.target}: `{field}` changed from {before.get(field)!r} to {now.get(field)!r}, "
                "but the stored rows follow the old one",
                hint=f"rebuild the table: cdc run … --full-refresh {target.spec.target}",
            )
    lost = [name for name in json.loads(stored["cdc.columns"]) if name not in target.visible_columns]
    changed = {key: value for key, value in properties.items() if key == _EMPTIED and key not in stored}
    visible = json.dumps(_insert_lost(target, lost))
    if visible != stored["cdc.columns"]:
        changed |= {"cdc.columns": visible, "cdc.latest": properties["cdc.latest"]}
    return changed


def may_be_emptied(
    table: DeltaTable,  # A backing table
) -> bool:
    """Whether something may empty it that is ordered among its events: a truncate, or a snapshot.

    It stays so when no flow does that any more: what was emptied remains an event."""
    return _EMPTIED in table.metadata().configuration


def stored_keys(
    path: Path,  # A backing table
) -> list[str]:  # Its columns that identify a row
    "Name the keys of a target as its table spells them."
    table = DeltaTable(str(path))
    declared = json.loads(table.metadata().configuration["cdc.declaration"])["keys"]
    spelling = {folded(field.name): field.name for field in table.schema().fields}
    return [spelling[folded(key)] for key in declared]


def computed_columns(
    path: Path,  # A backing table
) -> list[str]:
    "Name the columns of a backing table that no event brings."
    stored = DeltaTable(str(path)).metadata().configuration
    return list(json.loads(stored.get("cdc.declaration", "{}")).get("computed", {}))


def _insert_lost(
    target: Target,  # The target as declared now
    lost: list[str],  # Columns that its source has no more
) -> list[str]:  # All columns that readers see
    "Keep columns that the source lost, behind those that it has."
    names = target.visible_columns
    last = max(names.index(name) for name in target.columns) + 1
    return [*names[:last], *lost, *names[last:]]


def _check_columns_to_update(
    spec: CdcSpec,  # What the flow declares
    source: StructType,  # Columns of its source
) -> None:
    "Refuse a `columns_to_update` that is no array of names; raises `SpecError`."
    if spec.columns_to_update is None:
        return
    [name] = resolved(spec, "columns_to_update", source.names, spec.source)
    kind = source[name].dataType.simpleString()
    if kind != "array<string>":
        raise SpecError(
            spec.target, "columns_to_update", name, f"its type is {kind}; name a column of type array<string>"
        )


def _backing_schema(
    spark: SparkSession,  # Makes an empty frame
    target: Target,  # The target
    source: StructType,  # Columns of its source
) -> StructType:  # Columns of the backing table
    return compute_from_changes(spark.createDataFrame([], source), target).schema.toNullable()


def _describe_declaration(
    target: Target,  # The target
    schema: StructType,  # Columns of the backing table
) -> dict[str, object]:  # What the stored rows follow, as the author wrote it
    "Name all of a declaration that a later update may not change."
    spec = target.spec
    types = {name.strip("_"): schema[name].dataType.simpleString() for name in target.sequences}
    declaration = {
        "keys": list(spec.keys),
        "stored_as_scd_type": spec.stored_as_scd_type,
        **{f"{name}_type": kind for name, kind in types.items()},
        "tracked": None if target.tracked is None else sorted(target.tracked),
    }
    partial = {
        "ignore_null_updates": spec.ignore_null_updates,
        "columns_to_update": spec.columns_to_update,
    }
    if target.computed:
        partial["computed"] = dict(target.computed)
    for field in COLUMN_LISTS:
        if field.startswith("ignore_null_updates_"):
            partial[field] = sorted(getattr(spec, field) or ())
    return declaration | {field: value for field, value in partial.items() if value}
