"""Rows of this process on their way to Sail: Parquet files that go when the process ends.

Spark Connect would send rows in the query itself, which is slow for many and holds all of them in memory.
"""

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import pyarrow
import pyarrow.parquet
from pyspark.sql import DataFrame

_ROWS_OF_A_PIECE = 2**16

_numbers = count()


@cache
def _staging_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="cdc-utils-staged-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _gather(
    schema: pyarrow.Schema,  # Of the batches
    batches: Iterator[pyarrow.RecordBatch],  # However few rows each has
) -> Iterator[pyarrow.Table]:
    "Put batches together: each piece that is written is one that the engine reads by itself."
    held: list[pyarrow.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= _ROWS_OF_A_PIECE:
            yield pyarrow.Table.from_batches(held, schema)
            held = []
    if held:
        yield pyarrow.Table.from_batches(held, schema)


def stage_rows(
    schema: pyarrow.Schema,  # Of the batches
    batches: Iterator[pyarrow.RecordBatch],  # Rows
) -> Path:  # A Parquet file
    "Write rows for the engine to read; a write that fails leaves no file."
    path = _staging_folder() / f"{next(_numbers)}.parquet"
    try:
        with pyarrow.parquet.ParquetWriter(path, schema, compression="lz4") as writer:
            for rows in _gather(schema, batches):
                writer.write_table(rows)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


@contextmanager
def stage_frame(
    frame: DataFrame,  # A batch on Sail
) -> Iterator[DataFrame]:  # The same rows
    "Compute a frame once, for queries that read it several times."
    folder = _staging_folder() / str(next(_numbers))
    folder.mkdir()  # Sail makes none where there are no rows
    try:
        frame.write.mode("append").parquet(str(folder))
        yield frame.sparkSession.read.schema(frame.schema.toNullable()).parquet(str(folder))
    finally:
        shutil.rmtree(folder)


def forget_staged_rows() -> None:
    "Delete all staged rows, once no query reads them any more."
    for file in _staging_folder().glob("*.parquet"):
        file.unlink()
