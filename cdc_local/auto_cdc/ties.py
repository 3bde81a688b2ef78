"""Events of one key and one sequence that say different things: the sequence cannot tell which is newer.

One of them is kept, the same in any order of arrival, so no law is broken. But Databricks keeps any of them,
and what the source meant nobody knows: whoever runs the pipeline is told.
"""

from dataclasses import dataclass, field, replace
from functools import reduce
from operator import and_
from typing import Any, cast

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, NumericType, TimestampNTZType, TimestampType

from cdc_local.auto_cdc.target import Target, extract_events
from cdc_local.sql_names import quote_for_spark
from cdc_utils.events import DELETED, RESERVED, SEQUENCE, WRITES, as_column, comparable_value, exact_column

_ORDERING = (NumericType, DateType, TimestampType, TimestampNTZType)  # Types whose greater value is newer
_NAMED = 3  # Keys, and columns, that a message names


@dataclass
class Ties:
    "What an update has found, batch by batch."

    keys: int = 0  # Keys with such events; one that has them in two batches counts twice
    some: list[dict[str, Any]] = field(default_factory=list)  # The first of them, each with its sequence
    differing: set[str] = field(default_factory=set)  # Columns that they do not agree in
    breaking: set[str] | None = None  # Columns of the source that tell them all apart; None: none is known

    @classmethod
    def sum(
        cls,
        found: "list[Ties]",  # Of the batches of an update
    ) -> "Ties":
        "Put together what was found in several batches."
        tied = [ties for ties in found if ties.keys]
        return cls(
            sum(ties.keys for ties in tied),
            [one for ties in tied for one in ties.some][:_NAMED],
            set().union(*[ties.differing for ties in tied]),
            reduce(_both, [ties.breaking for ties in tied], None),
        )

    def add(
        self,
        events: DataFrame | None,  # A batch of events, with the stored ones of its keys; None: there are none
        target: Target,  # What they are for
        source: DataFrame,  # Rows that the batch was made of, or its events
    ) -> None:
        "Look for ties; one query over keys and sequences where there are none."
        if target.is_bitemporal:  # its events are told apart by the time that the system knew them, too
            return
        place = _place(target)
        places = _read_places(source, target) if events is None else events
        several = places.groupBy(*place).agg(F.count(F.lit(1)).alias("__times")).where(F.col("__times") > 1)
        if several.isEmpty():
            return
        is_source = SEQUENCE not in source.columns
        if events is None:
            events = extract_events(source, target) if is_source else source
        tied = self._find_tied(events, several.drop("__times"), target)
        names = _said_columns(events, target)
        summary = tied.agg(
            F.count_distinct(F.struct(*map(exact_column, target.keys))).alias("__keys"),
            *[F.max(f"__differs_{number}").alias(f"__differs_{number}") for number in range(len(names))],
        ).first()
        if summary is None or not summary["__keys"]:
            return
        self.keys += summary["__keys"]
        self.differing |= {name for number, name in enumerate(names) if summary[f"__differs_{number}"]}
        if len(self.some) < _NAMED:
            first = tied.select(*place).orderBy(*place).limit(_NAMED - len(self.some))
            self.some += [row.asDict() for row in first.collect()]
        if is_source:
            breaking = _find_breaking(source, tied.select(*place), target)
            self.breaking = _both(self.breaking, breaking)

    def _find_tied(
        self,
        events: DataFrame,  # A batch of events
        several: DataFrame,  # Keys and sequences that occur several times
        target: Target,  # What they are for
    ) -> DataFrame:  # Those whose events differ, with a mark for each column
        "Leave out events that are mere copies of each other."
        place = _place(target)
        names = _said_columns(events, target)
        repeated = events.alias("old").join(several.alias("new"), _same_place(target), "left_semi")
        values = [F.struct(_said(events, name)).alias(f"__value_{at}") for at, name in enumerate(names)]
        marks = [(F.count_distinct(f"__value_{at}") > 1).alias(f"__differs_{at}") for at in range(len(names))]
        compared = repeated.select(*place, *values).groupBy(*place).agg(*marks)
        return compared.where(" OR ".join(f"__differs_{at}" for at in range(len(names))))

    def describe(
        self,
        target: Target,  # What the events are for
    ) -> str:
        "Say how many keys are tied, name some, and what would break the tie."
        named = "; ".join(
            ", ".join(f"{'sequence' if name == SEQUENCE else name} {value}" for name, value in one.items())
            for one in self.some
        )
        shown = sorted("whether they delete" if name == DELETED else name for name in self.differing)
        keys = "1 key has" if self.keys == 1 else f"{self.keys} keys have"
        return (
            f"{target.spec.target}: {keys} events of one sequence that differ in {', '.join(shown)} "
            f"({named}{'; …' if self.keys > len(self.some) else ''}). One of each was kept, the same in any "
            f"order of arrival; Databricks keeps any. {self._describe_remedy(target)}"
        )

    def _describe_remedy(
        self,
        target: Target,  # What the events are for
    ) -> str:
        sequence = str(target.spec.sequence_by).removeprefix("Column<'").removesuffix("'>")
        if self.breaking is None:
            return f"Let sequence_by go on with a column that tells them apart: struct({sequence}, …)"
        if not self.breaking:
            return f"No number, date or moment of {target.spec.source} tells them apart"
        inside = {name.lower() for name in target.columns}
        columns = sorted(self.breaking, key=lambda name: (name.lower() in inside, name))[:_NAMED]
        are = f"{', '.join(columns)} {'tells' if len(columns) == 1 else 'each tell'} them apart"
        return f"{are}: sequence_by struct({sequence}, {columns[0]})"


def _both(
    one: set[str] | None,  # Columns that tell the events of some ties apart; None: nothing is known
    other: set[str] | None,  # The same of other ties
) -> set[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _read_places(
    source: DataFrame,  # Rows of the source, or events
    target: Target,  # What they are for
) -> DataFrame:  # Keys and sequences
    "Read where events stand, and nothing else of them: whether a key or a sequence is NULL was looked at."
    sequence = exact_column(SEQUENCE)
    if SEQUENCE not in source.columns:
        sequence = as_column(source, cast("str | Column", target.spec.sequence_by)).alias(SEQUENCE)
    return source.select(*map(exact_column, target.keys), sequence)


def _said_columns(
    events: DataFrame,  # Events
    target: Target,  # What they are for
) -> list[str]:  # Columns that two events of one key and sequence can differ in
    return [name for name in events.columns if name not in (*target.keys, SEQUENCE)]


def _said(
    events: DataFrame,  # Events
    name: str,  # One of their columns
) -> Column:  # Its value, in a form that can be compared
    return comparable_value(exact_column(name), events.schema[name].dataType).alias("value")


def _same_place(
    target: Target,  # What the events are for
) -> Column:  # True where `old` and `new` have one key and one sequence
    def same(name: str) -> Column:
        quoted = quote_for_spark(name)
        return F.col(f"old.{quoted}").eqNullSafe(F.col(f"new.{quoted}"))

    return reduce(and_, map(same, [*target.keys, SEQUENCE]))


def _find_breaking(
    source: DataFrame,  # Rows that the batch was made of
    tied: DataFrame,  # Keys and sequences of ties
    target: Target,  # What the events are for
) -> set[str] | None:  # None where no two events of a tie came in this batch
    "Find the numbers, dates and moments of the source that have another value in each of the tied events."
    reserved = {name.lower() for name in RESERVED}
    columns = tuple(name for name in source.columns if name.lower() not in reserved)
    candidates = [
        name
        for name in columns
        if isinstance(source.schema[name].dataType, _ORDERING) and name not in target.keys
    ]
    if not candidates:
        return set()
    events = extract_events(source, replace(target, columns=columns))
    names = [name for name in _said_columns(events, target) if name in (*target.columns, DELETED, WRITES)]
    said = [_said(events, name).alias(name) for name in names]

    repeated = events.alias("old").join(tied.alias("new"), _same_place(target), "left_semi")
    place = [column.alias(f"__key_{at}") for at, column in enumerate(_place(target))]
    values = [exact_column(name).alias(f"__value_{at}") for at, name in enumerate(candidates)]
    both = [
        F.struct(exact_column(name).alias("__value"), *said).alias(f"__both_{at}")
        for at, name in enumerate(candidates)
    ]
    counts = [
        count.alias(f"__{what}_{at}")
        for at in range(len(candidates))
        for what, count in (
            ("given", F.count(f"__value_{at}")),
            ("alone", F.count_distinct(f"__value_{at}")),
            ("beside", F.count_distinct(f"__both_{at}")),
        )
    ]
    grouped = repeated.select(*place, *values, *both, F.struct(*said).alias("__said")).groupBy(
        *[f"__key_{at}" for at in range(len(place))]
    )
    events_apart = F.count_distinct("__said").alias("__saids")
    counted = grouped.agg(F.count(F.lit(1)).alias("__all"), events_apart, *counts).where("__saids > 1")
    conditions = [
        F.expr(f"__given_{at} = __all AND __alone_{at} = __beside_{at}") for at in range(len(candidates))
    ]
    apart = [F.min(condition).alias(f"__apart_{at}") for at, condition in enumerate(conditions)]
    row = counted.agg(*apart).first()
    if row is None or row["__apart_0"] is None:
        return None
    return {name for at, name in enumerate(candidates) if row[f"__apart_{at}"]}


def _place(
    target: Target,  # What the events are for
) -> list[Column]:
    "Where an event stands: its key and its sequence."
    return [exact_column(name) for name in target.identity_of_events]
