"""Aggregates over a frame, computed by a query of their own: Sail observes nothing while rows pass."""

from functools import cached_property
from typing import Any

from pyspark.sql import Column, DataFrame


class CountedFrame:
    "What stands on Sail for an `Observation`."

    def __init__(self) -> None:
        self.frame: DataFrame | None = None  # The rows
        self.columns: tuple[Column, ...] = ()  # Aggregates over them

    def observe(
        self,
        frame: DataFrame,  # The rows
        *columns: Column,  # Aggregates over them, each with an alias
    ) -> DataFrame:  # The same rows
        "Note what is to be counted; nothing is computed before `counts` is asked for."
        self.frame, self.columns = frame, columns
        return frame

    @cached_property
    def counts(self) -> dict[str, Any]:  # Alias -> value
        "Compute the aggregates, once."
        if self.frame is None:
            raise RuntimeError("nothing was given to be counted")
        [row] = self.frame.agg(*self.columns).collect()
        return dict(row.asDict())
