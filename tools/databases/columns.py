"""The columns of the proofs' tables: what each is in its database, what arrives, and values for it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class Column:
    "A column of the source, and of the table that comes of it."

    source: str  # Its type in the database
    arrives: str  # Its type in the table
    make: Callable[[random.Random], Any]  # Makes a value
    encoding: str | None = None  # How Debezium writes it, where that has to be declared
    select: str = "{name}"  # SQL: its value as it should arrive
    read: Callable[[Any], Any] = lambda value: value  # The same of what a client returns


def text(draw: random.Random, length: int) -> str:
    "A text with letters that quote, escape and cost more than a byte."
    return "".join(draw.choices("abc'\"\\\n {}[],:é😀", k=length))


def moment(begin: datetime, years: int) -> Callable[[random.Random], datetime]:
    "Make moments of some years, to the microsecond."

    def make(draw: random.Random) -> datetime:
        seconds = draw.randint(0, years * 365 * 86_400)
        return begin + timedelta(seconds=seconds, microseconds=draw.randint(0, 999_999))

    return make


def day(draw: random.Random) -> date:
    "A day of some centuries."
    return date(1600, 1, 1) + timedelta(draw.randint(0, 300_000))


def time_of_day(draw: random.Random) -> time:
    "A time of a day, to the microsecond."
    return time(draw.randint(0, 23), draw.randint(0, 59), draw.randint(0, 59), draw.randint(0, 999_999))


def double(draw: random.Random) -> float:
    "A number that is not exact in decimals, or very large, or very small."
    return draw.choice((0.0, 0.1, 1 / 3, -1e-7, 1e22, 123456789.123456789)) * draw.randint(1, 99)


def six_digits(draw: random.Random) -> float:
    "A number of six digits, which is what a snapshot has of a `float` of MariaDB: it prints no more."
    return draw.randint(-999_999, 999_999) / 100


def decimal(digits: int, scale: int) -> Callable[[random.Random], Decimal]:
    "Make decimals of so many digits."
    most = 10**digits - 1
    return lambda draw: Decimal(draw.randint(-most, most)).scaleb(-scale)


def whole(least: int, most: int) -> Callable[[random.Random], int]:
    "Make whole numbers, the bounds among them."
    return lambda draw: draw.choice((least, most, draw.randint(least, most)))


def long_text(draw: random.Random) -> str:
    "A text; the longest is kept outside of its row."
    return text(draw, 40) * draw.choice((0, 1, 100))


def short_texts(draw: random.Random) -> list[str]:
    "A list, which may be empty."
    return [text(draw, 3) for _ in range(draw.randint(0, 3))]


def some_bytes(draw: random.Random) -> bytes:
    "Bytes, perhaps none."
    return draw.randbytes(draw.randint(0, 20))


def json_text(draw: random.Random) -> str:
    "An object."
    return f'{{"n": {draw.randint(0, 9)}}}'


STATES = ("new", "it's sold", "gone")
POSTGRES = {
    "name": Column("text", "string", lambda draw: text(draw, draw.randint(0, 12))),
    "price": Column("numeric(12,2)", "decimal(12,2)", decimal(12, 2), "Decimal"),
    "made": Column("date", "date", day),
    "seen": Column("timestamp", "timestamp_ntz", moment(datetime(1901, 1, 1), 80), "MicroTimestamp"),
    "sold": Column("timestamptz", "timestamp", moment(datetime(1901, 1, 1, tzinfo=UTC), 80)),
    "weight": Column("float8", "double", double),
    "active": Column("boolean", "boolean", lambda draw: draw.random() < 0.5),
    "notes": Column("text", "string", long_text),
    "tags": Column("text[]", "array<string>", short_texts, read=tuple),
    "data": Column("text", "string", json_text),
    "code": Column("bytea", "binary", some_bytes, "bytes"),
    "number": Column("bigint", "bigint", whole(-(2**63), 2**63 - 1)),
}
# wal2json prints a value as PostgreSQL does, so an array stays a text
WAL2JSON = {name: replace(column, encoding=None) for name, column in POSTGRES.items()} | {
    "tags": Column("text[]", "string", short_texts, select="{name}::text")
}
MARIADB = {
    "name": Column("varchar(40)", "string", lambda draw: text(draw, draw.randint(0, 12))),
    "price": Column("decimal(12,2)", "decimal(12,2)", decimal(12, 2), "Decimal"),
    "made": Column("date", "date", day),
    "seen": Column("datetime(6)", "timestamp_ntz", moment(datetime(1901, 1, 1), 80), "MicroTimestamp"),
    "sold": Column(
        "timestamp(6)",
        "timestamp",
        moment(datetime(1970, 1, 2), 67),
        read=lambda value: value.replace(tzinfo=UTC),
    ),
    "opens": Column("time(6)", "bigint", time_of_day, select="time_to_sec({name}) * 1000000", read=int),
    "built": Column("year", "int", whole(1901, 2155)),
    "weight": Column("double", "double", double),
    "ratio": Column("float", "float", six_digits, select="cast({name} AS double)"),
    "active": Column("boolean", "boolean", lambda draw: draw.random() < 0.5, read=bool),
    "notes": Column("longtext", "string", long_text),
    "data": Column("json", "string", json_text),
    "code": Column("varbinary(20)", "binary", some_bytes, "bytes"),
    "fixed": Column("binary(4)", "binary", lambda draw: draw.randbytes(draw.randint(0, 4)), "bytes"),
    "flags": Column("bit(5)", "binary", whole(0, 31), "Bits"),
    "small": Column("smallint unsigned", "int", whole(0, 2**16 - 1)),
    "number": Column("bigint", "bigint", whole(-(2**63), 2**63 - 1)),
    "serial": Column("bigint unsigned", "decimal(20,0)", whole(0, 2**64 - 1), "Decimal", read=Decimal),
    "state": Column("enum('new','it''s sold','gone')", "string", lambda draw: draw.choice(STATES)),
    "tags": Column(
        "set('a','b','c')", "string", lambda draw: ",".join(x for x in "abc" if draw.random() < 0.5)
    ),
}
