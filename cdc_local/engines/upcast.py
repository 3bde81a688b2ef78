"""Spark's rule for which values a column of another type keeps unchanged."""

from pyspark.sql.types import (
    AtomicType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    NullType,
    ShortType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

# Each holds all values of those before it
_NUMBERS = (ByteType(), ShortType(), IntegerType(), LongType(), FloatType(), DoubleType())

# Digits that a decimal needs for an integer type
_INTEGER_DIGITS: dict[DataType, int] = {ByteType(): 3, ShortType(): 5, IntegerType(): 10, LongType(): 20}

_MOMENTS = {
    (DateType(), TimestampType()),
    (DateType(), TimestampNTZType()),
    (TimestampNTZType(), TimestampType()),
    (TimestampType(), TimestampNTZType()),
    (TimestampType(), LongType()),
    (LongType(), TimestampType()),
}


def can_upcast(
    stored: DataType,  # Type of a stored column, no struct, array or map
    now: DataType,  # Type of its new values
) -> bool:
    "Whether a stored column can hold new values unchanged, as Spark's own `UpCastRule` has it."
    if stored == now or isinstance(now, NullType) or (now, stored) in _MOMENTS:
        return True
    if isinstance(stored, DecimalType) or isinstance(now, DecimalType):
        return _can_upcast_decimal(stored, now)
    if stored in _NUMBERS and now in _NUMBERS:
        return _NUMBERS.index(now) < _NUMBERS.index(stored)
    return stored == StringType() and isinstance(now, AtomicType)


def _can_upcast_decimal(
    stored: DataType,  # Type of a stored column; it or the other is a decimal
    now: DataType,  # Type of its new values
) -> bool:
    if isinstance(stored, DecimalType):
        if isinstance(now, DecimalType):
            digits, scale = now.precision - now.scale, now.scale
        elif now in _INTEGER_DIGITS:
            digits, scale = _INTEGER_DIGITS[now], 0
        else:
            return False
        return stored.precision - stored.scale >= digits and stored.scale >= scale
    if isinstance(now, DecimalType) and stored in _INTEGER_DIGITS:
        return now.scale == 0 and now.precision < _INTEGER_DIGITS[stored]
    return stored == StringType()
