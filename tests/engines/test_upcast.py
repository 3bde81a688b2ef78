"The rule for which types keep values unchanged, compared with Spark's own for every pair of types."

import itertools

import pytest
from pyspark.sql import types as T

from cdc_local.engines.upcast import can_upcast

TYPES = [
    T.BooleanType(),
    T.ByteType(),
    T.ShortType(),
    T.IntegerType(),
    T.LongType(),
    T.FloatType(),
    T.DoubleType(),
    T.StringType(),
    T.BinaryType(),
    T.DateType(),
    T.TimestampType(),
    T.TimestampNTZType(),
    T.NullType(),
    *[T.DecimalType(precision, scale) for precision, scale in ((3, 0), (4, 0), (9, 0), (10, 0), (10, 2))],
    *[T.DecimalType(precision, scale) for precision, scale in ((12, 2), (19, 0), (20, 0), (38, 18), (38, 0))],
]


@pytest.mark.parametrize("stored", TYPES, ids=lambda kind: kind.simpleString())
def test_every_pair_of_types_is_as_spark_has_it(spark, stored):
    cast = spark._jvm.org.apache.spark.sql.catalyst.expressions.Cast
    from_json = spark._jvm.org.apache.spark.sql.types.DataType.fromJson
    for now in TYPES:
        expected = bool(cast.canUpCast(from_json(now.json()), from_json(stored.json())))
        assert can_upcast(stored, now) == expected, f"{now.simpleString()} into {stored.simpleString()}"


def test_the_pairs_are_of_both_kinds():
    answers = [can_upcast(stored, now) for stored, now in itertools.product(TYPES, TYPES)]
    assert 100 < sum(answers) < len(answers) - 100
