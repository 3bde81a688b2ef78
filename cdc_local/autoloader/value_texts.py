"""Texts as Spark reads them: dates, timestamps, numbers; and numbers as Spark writes them."""

import re
import struct
import zoneinfo
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import cache

from pyspark.sql.types import (
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from cdc_local.errors import NeedsSparkError

INTEGER_BITS: dict[type[DataType], int] = {ByteType: 8, ShortType: 16, IntegerType: 32, LongType: 64}
SPACE = "".join(map(chr, range(33))) + "\x7f"  # What Spark trims around a value
_DAY = 86_400_000_000  # Microseconds
_DATE = re.compile(r"([+-]?)([0-9]{4,7})(?:-([0-9]{1,2})(?:-([0-9]{1,2})(?:[ T].*)?)?)?", re.DOTALL)
_TIMESTAMP = re.compile(
    r"([+-]?)([0-9]{4,6})(?:-([0-9]{1,2})(?:-([0-9]{1,2})(?:[ T]([0-9]{1,2})(?::([0-9]{1,2})"
    r"(?::([0-9]{1,2})(?:\.([0-9]*))?([^0-9.].*)?)?)?)?)?)?",
    re.DOTALL,
)
_TIME_ALONE = re.compile(
    r"(?:T[0-9]{1,2}|[0-9]{1,2}:[0-9]{1,2}|T[0-9]{1,2}:[0-9]{1,2})(?::[0-9]{1,2}(?:\.[0-9]*)?(?:[^0-9.].*)?)?",
    re.DOTALL,
)
_OFFSET = re.compile(
    r"([+-])(?:([0-9]{1,2})|([0-9]{2})([0-9]{2})([0-9]{2})?|([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?)"
)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?")
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[dDfF]?")
_SPECIAL_DOUBLES = {
    "inf": "inf",
    "+inf": "inf",
    "infinity": "inf",
    "+infinity": "inf",
    "-inf": "-inf",
    "-infinity": "-inf",
    "nan": "nan",
}
_TRUE, _FALSE = {"t", "true", "y", "yes", "1"}, {"f", "false", "n", "no", "0"}
_MANY_DIGITS = Context(prec=5000, rounding=ROUND_HALF_UP, Emax=10**9, Emin=-(10**9))


def days_since_1970(
    year: int,  # In the proleptic Gregorian calendar
    month: int,  # 1 to 12
    day: int,  # 1 to 31
) -> int | None:  # None for a day that there is not
    "Count days in the Gregorian calendar, for any year."
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if (
        not 1 <= month <= 12
        or not 1 <= day <= (31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    ):
        return None
    years = year - (month <= 2)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return years * 365 + years // 4 - years // 100 + years // 400 + day_of_year - 719_468


def parse_date(
    text: str,  # As it stands in a file
) -> int | None:  # Days since 1970; None where it is no date
    "Read a date as Spark casts a text."
    found = _DATE.fullmatch(text.strip(SPACE))
    if not found:
        return None
    sign, year, month, day = found.groups()
    return days_since_1970(int(sign + year), int(month or 1), int(day or 1))


def parse_timestamp(
    text: str,  # As it stands in a file
    has_zone: bool = True,  # Whether the type knows zones; without, one that a text names does not count
) -> int | None:  # Microseconds since 1970; None where it is no timestamp
    "Read a timestamp as Spark casts a text, in a session whose zone is UTC."
    text = text.strip(SPACE)
    found = _TIMESTAMP.fullmatch(text)
    if not found:
        if has_zone and _TIME_ALONE.fullmatch(text):
            raise NeedsSparkError(f"{text!r} is a time without a date, which Spark alone dates")
        return None
    sign, year, month, day, hour, minute, second, fraction, zone = found.groups()
    days = days_since_1970(int(sign + year), int(month or 1), int(day or 1))
    hours, minutes, seconds = int(hour or 0), int(minute or 0), int(second or 0)
    if days is None or hours > 23 or minutes > 59 or seconds > 59:
        return None
    offset = _zone_offset(zone) if zone else 0
    if offset is None:
        return None
    micros = int((fraction or "")[:6].ljust(6, "0"))
    value = days * _DAY + ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros
    if has_zone:
        value -= offset * 1_000_000
    return value if -(2**63) <= value < 2**63 else None


def names_zone(
    text: str,  # A timestamp
) -> bool:
    "Whether a text that may be a timestamp names a zone."
    found = _TIMESTAMP.fullmatch(text.strip(SPACE))
    return bool(found and found[9])


@cache
def _zone_offset(
    zone: str,  # As it stands behind a time
) -> int | None:  # Seconds; None for no zone
    name = zone.strip(SPACE)
    name = re.sub(r"([+-])([0-9]):", r"\g<1>0\2:", name, count=1)
    name = re.sub(r"([+-])([0-9]{2}):([0-9])$", r"\1\2:0\3", name, count=1)
    if name in ("Z", "UTC", "GMT", "UT"):
        return 0
    found = _OFFSET.fullmatch(re.sub(r"^(UTC|GMT|UT)(?=[+-])", "", name))
    if found:
        groups = found.groups()
        hours, minutes, seconds = (
            next((int(group) for group in parts if group), 0)
            for parts in ((groups[1], groups[2], groups[5]), (groups[3], groups[6]), (groups[4], groups[7]))
        )
        total = (hours * 60 + minutes) * 60 + seconds
        if minutes > 59 or seconds > 59 or total > 18 * 3600:
            return None
        return -total if groups[0] == "-" else total
    if name in zoneinfo.available_timezones() or re.fullmatch(r"[A-Z]{3}|SystemV/.*", name):
        raise NeedsSparkError(f"A timestamp in the zone {name} is read by Spark alone")
    return None


def parse_decimal(
    text: str,  # A number
    data_type: DecimalType,
) -> Decimal | None:  # None where it does not fit
    "Read a decimal: rounded half up to its scale; one with too many digits does not fit."
    found = _DECIMAL.fullmatch(text)
    if not found:
        if not text.isascii() and any(char.isdecimal() for char in text):
            raise NeedsSparkError(f"The digits of {text!r} are read by Spark alone")
        return None
    if abs(int(found[1] or 0)) > 10_000 or len(text) > MAX_DIGITS:
        raise NeedsSparkError(f"The decimal number {text[:40]} is read by Spark alone")
    number = Decimal(text)
    if number and number.adjusted() >= data_type.precision - data_type.scale:
        return None
    rounded = number.quantize(Decimal(1).scaleb(-data_type.scale), context=_MANY_DIGITS)
    unscaled = rounded.scaleb(data_type.scale, context=_MANY_DIGITS)
    return rounded + 0 if abs(unscaled) < 10**data_type.precision else None


MAX_DIGITS = 1000  # Of a decimal number that is read here


def nearest_float(
    text: str,  # A number
) -> float:  # The 32-bit number that is nearest to it
    "Read a FLOAT: rounded once, not first to 64 bits."
    wide = float(text)
    try:
        narrow: float = struct.unpack("f", struct.pack("f", wide))[0]
    except OverflowError:
        return float("inf") if wide > 0 else float("-inf")
    if narrow == wide or wide != wide:
        return narrow
    bits = struct.unpack("i", struct.pack("f", narrow))[0]
    other: float = struct.unpack("f", struct.pack("i", bits + (1 if abs(narrow) < abs(wide) else -1)))[0]
    exact, near, far = Fraction(text), Fraction(narrow), Fraction(other)
    return narrow if abs(exact - near) <= abs(exact - far) else other


def format_double(
    value: float,  # Any number
) -> str:  # As Java writes it: the shortest text that is read as this number
    "Write a DOUBLE."
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if abs(value) >= 1e16:  # some of which older versions of Java write with more digits than they need
        raise NeedsSparkError(f"The number {value!r} is written as a text by Spark alone")
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    if not any(digits):
        return "-0.0" if sign else "0.0"
    text = "".join(map(str, digits)).rstrip("0") or "0"
    point = len(digits) + int(exponent)  # digits before the decimal point
    if -3 < point <= 7:
        whole = text[: max(point, 0)].ljust(max(point, 0), "0") or "0"
        written = f"{whole}.{'0' * -point if point < 0 else ''}{text[max(point, 0) :] or '0'}"
    else:
        written = f"{text[0]}.{text[1:] or '0'}E{point - 1}"
    return "-" + written if sign else written


def cast_text(
    text: str,  # As it stands in a file
    data_type: DataType,  # The type wanted
) -> object:  # None where it does not fit
    "Read a text as `try_cast` does."
    trimmed = text.strip(SPACE)
    if isinstance(data_type, StringType):
        return text
    if type(data_type) in INTEGER_BITS:
        return _cast_integer(trimmed, INTEGER_BITS[type(data_type)])
    if isinstance(data_type, DateType):
        return parse_date(text)
    if isinstance(data_type, TimestampType | TimestampNTZType):
        return parse_timestamp(text, isinstance(data_type, TimestampType))
    if isinstance(data_type, DecimalType):
        return parse_decimal(trimmed, data_type)
    if isinstance(data_type, DoubleType | FloatType):
        return _cast_double(trimmed, isinstance(data_type, FloatType))
    if isinstance(data_type, BooleanType):
        word = trimmed.lower()
        return True if word in _TRUE else False if word in _FALSE else None
    raise NeedsSparkError(f"A text is read as {data_type.simpleString()} by Spark alone")


def _cast_integer(text: str, bits: int) -> int | None:
    if not re.fullmatch(r"[+-]?[0-9]+", text) or len(text) > MAX_DIGITS:
        return None
    value = int(text)
    return value if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1) else None


def _cast_double(text: str, is_float: bool) -> float | None:
    special = _SPECIAL_DOUBLES.get(text.lower())
    if special:
        return float(special)
    if not _DOUBLE.fullmatch(text):
        if re.match(r"[+-]?(0[xX]|NaN|Infinity)", text):
            raise NeedsSparkError(f"{text!r} is read as a number by Spark alone")
        return None
    number = text.rstrip("dDfF")
    return nearest_float(number) if is_float else float(number)
