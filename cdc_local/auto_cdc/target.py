"""AUTO CDC, incrementally: an update reads the keys that its new events touch, computes them anew with the chapters' own rules, and commits once."""

import json
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from cdc_local.dataflow.graph import Flow
from cdc_local.delta.writer import create_table
from cdc_local.errors import PipelineError
from cdc_local.storage import clear_unfinished, is_table
from cdc_utils import scd1, scd2
from cdc_utils.spec import COLUMN_LISTS, CdcSpec, SpecError, folded, resolved


@dataclass(frozen=True)
class Target:
    "One AUTO CDC target: its spec over the columns of its source."

    spec: CdcSpec  # What the flow declares
    columns: tuple  # Columns the table shows, without `__START_AT` and `__END_AT`
    tracked: tuple | None  # Columns whose change opens a version; None for all, and for SCD type 1
    ignoring_nulls: tuple = ()  # Columns in which a NULL leaves the value as it is

    @classmethod
    def of(
        cls,
        flow: Flow,  # An AUTO CDC flow
        source: StructType,  # Columns of its source
    ) -> "Target":
        "Resolve a spec's lists against its source; `PipelineError` for an unknown column or one of the wrong type."
        spec = flow.spec
        try:
            columns = tuple(spec.visible_columns(source.names))
            lists = spec.track_history_column_list or spec.track_history_except_column_list
            check_columns_to_update(spec, source)
            return cls(
                spec,
                columns,
                tuple(spec.tracked_columns(source.names)) if lists else None,
                tuple(spec.columns_ignoring_nulls(source.names)),
            )
        except ValueError as wrong:
            raise PipelineError(str(wrong), flow.location) from None

    @property
    def history(self) -> bool:
        return self.spec.stored_as_scd_type == 2

    @property
    def keeps_events(self) -> bool:
        return bool(self.history or self.ignoring_nulls or self.spec.columns_to_update)

    @property
    def keys(self) -> list[str]:
        return [
            name for key in self.spec.keys for name in self.columns if folded(name) == folded(key)
        ]  # As `columns` spells them

    @property
    def identity(self) -> list[str]:
        return [
            *self.keys,
            *([scd1.SEQUENCE] if self.keeps_events else []),
        ]  # Tells the rows of the backing table apart

    @property
    def shown(self) -> list[str]:
        return [*self.columns, *((scd2.START_AT, scd2.END_AT) if self.history else ())]


def latest_columns(
    target: Target,  # The target
) -> list[str]:  # In the table's order
    "Columns that a row shows from `__latest`: the untracked, and those that an event may leave unsaid."
    carried = (
        [name for name in target.columns if name not in target.spec.keys]
        if target.spec.columns_to_update
        else target.ignoring_nulls
    )
    untracked = (
        scd2.untracked_columns(target.columns, target.spec.keys, target.tracked) if target.history else []
    )
    return [name for name in target.columns if name in (*carried, *untracked)]


def check_columns_to_update(
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


def backing_properties(
    target: Target,  # The target
    sequence_type: str,  # Type of its sequence
) -> dict[str, str]:  # Delta table properties
    "What readers of the backing table, and later updates, must know."
    declaration = {
        "keys": list(target.spec.keys),
        "stored_as_scd_type": target.spec.stored_as_scd_type,
        "sequence_type": sequence_type,
        "tracked": None if target.tracked is None else sorted(target.tracked),
    }
    spec = target.spec
    partial = {
        "ignore_null_updates": spec.ignore_null_updates,
        "columns_to_update": spec.columns_to_update,
    } | {
        field: sorted(getattr(spec, field) or ())
        for field in COLUMN_LISTS
        if field.startswith("ignore_null_updates_")
    }
    visible = f"{scd2.START_AT} IS NOT NULL" if target.keeps_events else f"NOT {scd1.DELETED}"
    if target.keeps_events and not target.history:
        visible += f" AND {scd2.END_AT} IS NULL"
    return {
        "cdc.columns": json.dumps(target.shown),
        "cdc.latest": json.dumps(latest_columns(target)),
        "cdc.visible": visible,
        "cdc.declaration": json.dumps(
            declaration | {field: value for field, value in partial.items() if value}
        ),
    }


def change_events(
    changes: DataFrame,  # Rows of the source, batch or streaming
    target: Target,  # The target
) -> DataFrame:  # The target's columns, `__sequence`, `__deleted`, perhaps `__writes`
    "Reduce the source to events."
    spec = target.spec
    return scd1.events(
        changes,
        spec.keys,
        spec.sequence_by,
        spec.apply_as_deletes,
        target.columns,
        spec.apply_as_truncates,
        spec.columns_to_update,
    )


def compute_rows(
    events: DataFrame,  # Events, old and new
    target: Target,  # The target
) -> DataFrame:  # Rows of the backing table
    "Apply the rules of SCD type 1 or 2, as their chapters define them."
    keys = target.spec.keys
    if target.spec.apply_as_truncates is not None:
        events = scd1.truncated(events, keys)
    return (
        scd2.versions(events, keys, target.tracked, target.ignoring_nulls)
        if target.keeps_events
        else scd1.newest_events(events, keys)
    )


def visible_schema(
    spark: SparkSession,  # Makes an empty frame
    flow: Flow,  # An AUTO CDC flow
    source: StructType,  # Columns of its source
) -> StructType:  # Columns its target shows
    "The columns of an AUTO CDC target."
    target = Target.of(flow, source)
    events = change_events(spark.createDataFrame([], source), target)
    types = {field.name: field for field in compute_rows(events, target).schema}
    return StructType([types[name] for name in target.shown])


def create_backing_table(
    spark: SparkSession,  # Makes the table
    path: Path,  # Its folder
    target: Target,  # The target
    source: StructType,  # Columns of its source
    comment: str | None = None,  # What the table holds
    extra: dict[str, str] = None,  # Further table properties
) -> None:
    "Create the backing table if it is missing, or bring its properties up to date; `PipelineError` if the declaration changed."
    rows = compute_rows(change_events(spark.createDataFrame([], source), target), target).schema
    wanted = backing_properties(target, rows[scd1.SEQUENCE].dataType.simpleString())
    if not is_table(path):
        clear_unfinished(path)
        create_table(spark, path, rows, comment, (extra or {}) | wanted)
    elif added := check_declaration(path, target, wanted):
        spark.createDataFrame([], rows).write.format("delta").mode("append").option(
            "mergeSchema", "true"
        ).save(str(path))
        spark.sql(
            f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ({', '.join(f'{key!r} = {value!r}' for key, value in added.items())})"
        )


def check_declaration(
    path: Path,  # The backing table
    target: Target,  # The target as declared now
    wanted: dict[str, str],  # Its properties
) -> dict[
    str, str
]:  # Properties to change since the source has other columns now; a column that it lost stays
    "Refuse to continue a table that was computed by another declaration."
    from deltalake import DeltaTable as Files

    found = Files(str(path)).metadata().configuration
    before, now = json.loads(found.get("cdc.declaration", "{}")), json.loads(wanted["cdc.declaration"])
    for field in now | before:
        if before.get(field) != now.get(field):
            raise PipelineError(
                f"{target.spec.target}: `{field}` changed from {before.get(field)!r} to {now.get(field)!r}, but the stored rows follow the old one",
                hint=f"rebuild the table: cdc run … --full-refresh {target.spec.target}",
            )
    lost = [name for name in json.loads(found["cdc.columns"]) if name not in target.shown]
    shown = json.dumps([*target.columns, *lost, *target.shown[len(target.columns) :]])
    return {"cdc.columns": shown, "cdc.latest": wanted["cdc.latest"]} if shown != found["cdc.columns"] else {}
