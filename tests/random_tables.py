"""Random tables: columns of every type with awkward values, random choices, and who wrote a table."""

import datetime as dt
import os
import random
from decimal import Decimal

import pyarrow as pa
from deltalake import DeltaTable as Files
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import _parse_datatype_string

UTC = dt.UTC
VALUES = {  # column -> type and values, the awkward ones too
    "text": ("string", ["", "a", "Ä\u0000'\"", "a" * 300]),
    "flag": ("boolean", [True, False]),
    "small": ("tinyint", [-128, 127]),
    "short": ("smallint", [-32768, 7]),
    "whole": ("int", [0, -2147483648]),
    "single": ("float", [0.5, float("nan"), float("-inf"), -0.0]),
    "double": ("double", [0.1, float("nan"), float("inf"), -0.0]),
    "price": ("decimal(38,9)", [Decimal("0"), Decimal("-12345678901234567890.123456789")]),
    "day": ("date", [dt.date(1, 1, 1), dt.date(1582, 10, 15), dt.date(9999, 12, 31)]),
    "moment": (
        "timestamp",
        [
            dt.datetime(1900, 1, 1, tzinfo=UTC),
            dt.datetime(2024, 2, 29, 1, 2, 3, 456789, UTC),
            dt.datetime(9999, 12, 31, tzinfo=UTC),
        ],
    ),
    "clock": ("timestamp_ntz", [dt.datetime(1970, 1, 1), dt.datetime(2024, 3, 31, 2, 30, 0, 1)]),
    "bytes": ("binary", [b"", b"\x00\xff"]),
    "list": ("array<double>", [[], [1.0, None], [float("nan")]]),
    "nested": (
        "struct<a:int,`b.c`:struct<d:string,e:array<date>>>",
        [{"a": None, "b.c": None}, {"a": 1, "b.c": {"d": "x", "e": [None, dt.date(2024, 1, 1)]}}],
    ),
    "map": (
        "map<string,decimal(9,2)>",
        [[], [("k", None)], [("k", Decimal("1.50")), ("j", Decimal("0.00"))]],
    ),
    "a.dottedName": (
        "map<int,struct<x:timestamp,y:boolean>>",
        [[(1, None)], [(2, {"x": dt.datetime(2000, 1, 1, tzinfo=UTC), "y": True})]],
    ),
}
randomness = st.integers(0, 2**32).map(random.Random)
some = settings(
    max_examples=int(os.environ.get("LAWS_EXAMPLES", 3)),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def merged_by(path):
    "Which library wrote the newest commit."
    return "delta-rs" if "delta-rs" in str(Files(path).history(1)[0]) else "Spark"


def arrow_frame(spark, rows, schema):
    "A frame of tuples by way of Arrow: no Python worker has to unpickle them."
    columns = to_arrow_schema(_parse_datatype_string(schema), timezone="UTC")
    records = [dict(zip(columns.names, row, strict=False)) for row in rows]  # what a row leaves out is NULL
    return spark.createDataFrame(pa.Table.from_pylist(records, schema=columns))
