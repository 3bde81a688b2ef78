"""Rows of a frame as they come, without holding all of them."""

from collections.abc import Iterator
from typing import Any, cast

import pyarrow
from pyspark.sql import DataFrame


def read_batches(
    frame: DataFrame,  # A batch on Sail
) -> Iterator[pyarrow.RecordBatch]:
    "Compute a frame and read its rows piece by piece."
    client = cast(Any, frame).sparkSession.client
    plan = cast(Any, frame)._plan
    for part in client.to_table_as_iterator(plan.to_proto(client), plan.observations):
        if isinstance(part, pyarrow.Table):  # its columns come first, as a StructType
            yield from part.to_batches()
