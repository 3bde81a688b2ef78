"""The rows of chosen keys, as they are and as their source says: compared, and exchanged in one commit."""

from dataclasses import dataclass
from functools import reduce

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from cdc_local.auto_cdc.target import Target, select_visible_rows
from cdc_local.delta.rows import Rows
from cdc_local.errors import UsageError
from cdc_local.sql_names import quote_for_spark
from cdc_utils.events import RESERVED, comparable_value, exact_column

_MOST_EXAMPLES = 20  # Visible rows that a repair shows


@dataclass(frozen=True)
class RepairResult:
    "What a repair did, or would do."

    table: str  # The target
    keys: int  # Chosen keys
    rows_before: int  # Their rows, as readers see them
    rows_after: int  # The same, afterwards
    removed: int  # Stored rows that go, hidden ones included
    added: int  # Stored rows that come
    changes: Rows  # Some of the visible rows that go (`-`) and come (`+`)
    warnings: tuple[str, ...] = ()  # What the local runner left out

    @property
    def changed(self) -> bool:
        "Whether any stored row goes or comes."
        return bool(self.removed or self.added)

    @property
    def counts(self) -> dict[str, int]:
        "Name of a count -> its value, in the order of a report."
        return {
            name: getattr(self, name) for name in ("keys", "rows_before", "rows_after", "removed", "added")
        }


def compare_rows(
    before: DataFrame,  # The chosen keys' rows of the backing table
    after: DataFrame,  # As they should be, of the same columns
    keys: int,  # How many keys
    target: Target,  # The target
    limit: int = _MOST_EXAMPLES,  # Examples at most
) -> RepairResult:
    "Count what a repair changes, with examples."
    visible_before, visible_after = (
        select_visible_rows(before, target.visible_part),
        select_visible_rows(after, target.visible_part),
    )

    def count_signed(sign: int) -> Column:
        return F.coalesce(F.sum(F.greatest(F.lit(0), sign * F.col("__times"))), F.lit(0))

    [(removed, added)] = count_difference(before, after).agg(count_signed(-1), count_signed(1)).collect()
    examples = []
    if removed or added:
        difference = count_difference(visible_before, visible_after)
        examples = difference.orderBy(*target.keys, "__times").limit(limit).collect()
    values = [("-" if row["__times"] < 0 else "+", *row[:-1]) for row in examples]
    changes = Rows(("", *target.visible_columns), values)
    return RepairResult(
        target.spec.target, keys, visible_before.count(), visible_after.count(), removed, added, changes
    )


def count_difference(
    before: DataFrame,  # Rows
    after: DataFrame,  # Rows, of the same columns
) -> DataFrame:  # Rows that differ, and `__times`: how often one comes, or below zero goes
    "Compare two tables, whatever their types."

    def comparable(frame: DataFrame, times: int) -> DataFrame:
        columns = [
            comparable_value(exact_column(field.name), field.dataType).alias(field.name)
            for field in after.schema
        ]
        return frame.select(*columns, F.lit(times).alias("__times"))

    both = comparable(before, -1).unionAll(comparable(after, 1))
    times = F.sum("__times").alias("__times")
    return both.groupBy(*map(exact_column, after.columns)).agg(times).where("__times <> 0")


def refuse_lost_events(
    stored: DataFrame,  # The chosen keys' rows of the backing table
    events: DataFrame,  # Their events in the source
    target: Target,  # The target
) -> None:
    "`UsageError` if a stored event, or a stored column with values, is not in the source."
    hint = "a repair would lose it; --force repairs all the same"
    for name in stored.columns:
        if name in (*events.columns, *RESERVED):
            continue
        if not stored.where(exact_column(name).isNotNull()).isEmpty():
            raise UsageError(
                f"the source of {target.spec.target} has no column {name} any more, "
                "in which stored rows have values",
                hint=hint,
            )
    identity = [*target.keys, *target.sequences]
    missing = stored.select(*identity).distinct().join(events.select(*identity), identity, "left_anti")
    [(count, first)] = missing.agg(F.count("*"), F.min(F.struct(*map(exact_column, identity)))).collect()
    if not count:
        return
    named = zip([*target.keys, *(name.strip("_") for name in target.sequences)], first, strict=True)
    example = ", ".join(f"{name} {value}" for name, value in named)
    raise UsageError(
        f"{count} stored events of {target.spec.target} are not in its source, as {example}: "
        "it was emptied or lost rows",
        hint=hint,
    )


def replace_rows(
    table: DeltaTable,  # The backing table
    chosen: DataFrame,  # Keys
    rows: DataFrame,  # All rows that they should have
    keys: list[str],  # Key columns
) -> None:
    "Exchange the rows of the chosen keys, in one commit."
    drop = chosen.select("*", F.lit("drop").alias("__action"))
    put = rows.select("*", F.lit("put").alias("__action"))
    same_key = reduce(
        Column.__and__,
        [F.col(f"old.{quote_for_spark(key)}") == F.col(f"new.{quote_for_spark(key)}") for key in keys],
        F.col("new.__action") == "drop",
    )
    values: dict[str, str | Column] = {
        quote_for_spark(name): F.col(f"new.{quote_for_spark(name)}") for name in rows.columns
    }
    actions = drop.unionByName(put, allowMissingColumns=True).alias("new")
    merge = table.alias("old").merge(actions, same_key).whenMatchedDelete()
    merge.whenNotMatchedInsert(condition=F.col("new.__action") == "put", values=values).execute()
