"""Calls that take any type: how they are written, and the types that they are asked with.

A shape is on the list with what its types may be made of: `int`, `struct`, inside another type `<int>`.
Each is asked with every scalar type, then with arrays, structs and maps of them, then nested. What differs
or is refused takes the part that was new in it off the shape."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from cdc_local.engines.known.listed import FITS, parts_of, split_types, write_call

# Type -> values as SQL writes them, one a line; the first is the base of a call
SCALARS: dict[DataType, str] = {
    BooleanType(): "true false",
    IntegerType(): "7 0 1 -1 2147483647 cast(-2147483648_as_int)",
    LongType(): "7L 0L -3L 9223372036854775807L (-9223372036854775807L-1L)",
    DoubleType(): "1.5D 0D -0.0D -2.5D 1e300D 1e-7D double('NaN') double('Infinity')",
    StringType(): "'a' '' 'Zürich_ß_😀' 'A' 'a\\n\\tb\"c\\\\'",
    BinaryType(): "X'616263' X'' X'00FF'",
    DateType(): "date'2024-02-29' date'1970-01-01' date'1899-12-31' date'9999-12-31' date'0001-01-01'",
    TimestampType(): "timestamp'2024-02-29_23:59:59.999999' timestamp'1969-12-31_23:59:59.5'"
    " timestamp'1970-01-01_00:00:00' timestamp'1899-12-31_12:00:00' timestamp'9999-12-31_23:59:59'",
    TimestampNTZType(): "timestamp_ntz'2024-02-29_23:59:59.999999' timestamp_ntz'1970-01-01_00:00:00'"
    " timestamp_ntz'1899-12-31_12:00:00'",
}
DECIMALS = [DecimalType(*both) for both in ((10, 2), (38, 18), (20, 2), (38, 0), (5, 5), (18, 4))]


GENERAL = ("T", "U", "any", "struct", "decimal")  # Patterns that stand for many types
# What has no type, or is a constant
FIXED = ("*", "lambda", "natural", "day", "moment", "plain", "text", "regex", "solid", "groups", "path")
FEW = (IntegerType(), StringType(), TimestampType())


@dataclass(frozen=True)
class Instance:
    "A type to ask with, and the part of it that is to blame where an answer differs."

    kind: DataType
    new: str  # As `parts_of` writes parts


@dataclass(frozen=True)
class Shape:
    "A call that takes any type."

    pattern: str  # As the list has it
    forms: tuple[str, ...]  # SQL, `§a`, `§b` are values of the types of `columns`
    columns: tuple[str, ...] = ()  # Type patterns; those of the call by default
    over: str = "rows"  # By itself, over a `window`, a `group`; a `query`, with an `order`; in `python`
    kinds: str = "all"  # `all`, `orderable`, `decimals`; a `few` or `one` where all would be the same
    void: bool = False  # Whether a form has NULL beside a value
    values: tuple[str, ...] = ()  # More values of the one column that it has

    @property
    def name(self) -> str:
        return self.pattern.partition("(")[0]

    @property
    def arguments(self) -> list[str]:
        "Type patterns of the call, without what repeats the last one."
        parts = split_types(self.pattern.partition("(")[2].removesuffix(")"))
        return [part for part in parts if part != "..."]

    @property
    def general(self) -> list[str]:
        "Those of them that stand for many types."
        return [part for part in self.arguments if part in GENERAL or re.search("[TU]>", part)]

    def signature(self, instance: Instance) -> str:
        "The call, with types."
        types = [
            part if part in FIXED or part[0] == "'" else instantiate(part, instance.kind)
            for part in self.arguments
        ]
        return write_call(self.name, types)


def shape(pattern: str, *forms: str, columns: str = "", **rest) -> Shape:
    found = Shape(pattern, forms, tuple(split_types(columns)), **rest)
    twice = 2 if pattern.endswith("...)") else 1
    return found if columns else replace(found, columns=tuple(found.arguments * twice))


COMPARED = tuple(
    shape(f"{name}(T, T)", f"(§a {name} §b)", kinds="orderable") for name in ("<", "<=", ">", ">=")
)
EQUAL = tuple(
    shape(f"{name}(T, T)", f"(§a {sign} §b)") for name, sign in (("==", "="), ("!=", "!="), ("<=>", "<=>"))
)
OTHER_DECIMALS = ("cast('1.234' as decimal(7,3))", "cast('-123456789012345678' as decimal(18,0))")
DECIMAL_OPERATORS = tuple(
    shape(
        f"{name}({left}, {right})",
        f"(§a {name} §b)",
        f"(§b {name} §a)",
        *(f"(§a {name} {other})" for other in OTHER_DECIMALS),
        kinds="decimals",
    )
    for name in ("+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "<=>")
    for left, right in (("decimal", "decimal"), ("decimal", "int"), ("int", "decimal"), ("decimal", "bigint"))
)


def _spelled(text: str) -> str:
    "Put back the spaces that were written as underscores."
    spaced = text.replace("_", " ")
    return spaced.replace("timestamp ntz", "timestamp_ntz").replace("' 12 '", "'_12_'")


# Types that are compared with one another, and constants of the second
PAIRS = {
    ("int", "bigint"): "0L 7L 3000000000L",
    ("int", "double"): "0D 1.5D",
    ("bigint", "int"): "0 7 -1",
    ("bigint", "double"): "0D 1.5D",
    ("double", "int"): "0 7",
    ("double", "bigint"): "0L 7L",
    ("date", "string"): "'2024-02-29' '2024-2-9' '2024'",
    ("timestamp", "string"): "'2024-02-29_23:59:59.999999' '2024-02-29' '2026-01-31T10:00:00Z'",
    ("timestamp_ntz", "string"): "'2024-02-29_23:59:59.999999' '2024-02-29'",
    ("string", "date"): "date'2024-02-29'",
    ("string", "timestamp"): "timestamp'2024-02-29_23:59:59.999999'",
    ("int", "string"): "'7' '0' '_12_'",
    ("bigint", "string"): "'7' '0'",
    ("string", "int"): "7 0",
    ("double", "string"): "'1.5' '7' '1e3'",
    ("boolean", "string"): "'true' 'false' 't'",
    ("date", "timestamp"): "timestamp'2024-02-29_00:00:00' timestamp'1970-01-01_00:00:00.1'",
    ("timestamp", "date"): "date'2024-02-29' date'1970-01-01'",
    ("timestamp_ntz", "date"): "date'2024-02-29'",
    ("timestamp", "timestamp_ntz"): "timestamp_ntz'2024-02-29_00:00:00'",
}
COMPARISONS = {"==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "<=>": "<=>"}
MIXED = tuple(
    shape(
        f"{name}({left}, {right})",
        f"(§a {sign} §b)",
        *(f"(§a {sign} {_spelled(constant)})" for constant in constants.split()),
        kinds="one",
    )
    for (left, right), constants in PAIRS.items()
    for name, sign in COMPARISONS.items()
)
# Texts that are a day or a moment beyond doubt
DATED = tuple(
    shape(
        f"{name}({left}, {right})",
        *(f"(§a {sign} '{text}')" for text in texts),
        columns=left,
        kinds="one",
    )
    for name, sign in COMPARISONS.items()
    for right, texts in (
        ("day", ("2024-02-29", "1970-01-01", "1900-01-01", "2199-12-31")),
        ("moment", ("2024-02-29 23:59:59", "1970-01-01 00:00:00", "1900-01-01 00:00:00")),
    )
    for left in (("date", "timestamp") if right == "day" else ("timestamp",))
)
READ_TEXTS = (
    shape("cast(day, date)", "cast('2024-02-29' as date)", "date'1900-01-01'", columns="date", kinds="one"),
    shape(
        "cast(day, timestamp)",
        "cast('2024-02-29' as timestamp)",
        "timestamp'2199-12-31'",
        columns="timestamp",
        kinds="one",
    ),
    shape(
        "cast(moment, timestamp)",
        "cast('2024-02-29 23:59:59' as timestamp)",
        "timestamp'1900-01-01 00:00:00'",
        columns="timestamp",
        kinds="one",
    ),
)
# Whole numbers at the ends of their types, added to and multiplied with what keeps the sum inside
ENDS = {
    "int": ("2147483647", "(-2147483647 - 1)", "46340"),
    "bigint": ("9223372036854775807", "3037000499", "0"),
}
SUMS_THAT_FIT = tuple(
    shape(
        f"{name} {FITS}({left}, {right})",
        f"(cast(length(§a) as {left}) {name} cast(length(§a) as {right}))",
        *(f"(cast({end} as {left}) {name} cast({1 if name == '*' else 0} as {right}))" for end in ENDS[left]),
        *(f"(cast({end} as {left}) {name} cast({end} as {right}))" for end in (7, -7, 46340)),
        columns="string",
        kinds="one",
    )
    for name in ("+", "-", "*")
    for left in ENDS
    for right in ENDS
)
MIXED_SUMS = tuple(
    shape(f"{name}({left}, {right})", f"(§a {name} §b)", f"(§a {name} 1)", f"(§b {name} §a)", kinds="one")
    for name in ("+", "-", "*")
    for left, right in (("double", "int"), ("int", "double"), ("double", "bigint"), ("bigint", "double"))
)
# Constants decide what a function does: those that were asked are known, and no others
FORMATS = (
    "yyyy-MM-dd",
    "yyyy-MM-dd HH:mm:ss",
    "yyyyMMdd",
    "yyyy-MM",
    "yyyy",
    "MM",
    "dd",
    "HH",
    "HH:mm",
    "HH:mm:ss",
    "dd/MM/yyyy",
    "MM/dd/yyyy",
    "dd.MM.yyyy",
    "yyyyMM",
    "yyyy/MM/dd",
    "dd-MM-yyyy",
    "yyyyMMddHHmmss",
    "yyyy-MM-dd HH:mm",
    "yyyy-MM-dd HH",
)
NAMED_FORMATS = ("E", "EEEE", "MMM", "MMMM", "MMM yyyy", "dd MMM yyyy")
UNITS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
JSON_TEXTS = (
    '{"a": 1, "b": "x"}',
    '{"a": 1.0, "b": 1e3}',
    '{"a": null, "b": true}',
    '{"a": {"b": [1, 2.50]}, "b": [ {"c" : 1} ]}',
    '{"a": "Z\\u00fcrich", "b": "\\n"}',
    '{"a": 12345678901234567890, "b": -0.0}',
    '{"a": 1, "a": 2}',
    '{"a": 1',
    '[{"a": 1}]',
    '"a"',
    "no",
)
MOMENTS = (
    "2024-02-29",
    "2024-02-29 23:59:59",
    "2024-02-29T23:59:59",
    "+2024-02-29",
    "02024-02-29",
    "2024-02-29x",
    "2024-2-9",
    "20240229",
    "2024-02",
    "2024",
    "29/02/2024",
    "02/29/2024",
    "29.02.2024",
    "2023-02-29",
    "2024-13-01",
    "23:59",
    "1899-12-31",
    "9999-12-31",
    " 2024-02-29",
    "2024-02-29 ",
    "no",
    "",
)


def of_text(pattern: str, *forms: str, texts: Iterable[str] = ()) -> Shape:
    "A call over a text and constants."
    return shape(pattern, *forms, columns="string", kinds="one", values=tuple(f"'{text}'" for text in texts))


BY_CONSTANT = (
    *(
        shape(f"date_format({kind}, '{form}')", f"date_format(§a, '{form}')", columns=kind, kinds="one")
        for form in FORMATS + NAMED_FORMATS
        for kind in ("date", "timestamp")
    ),
    *(
        of_text(f"{name}(string, '{form}')", f"{name}(§a, '{form}')", texts=MOMENTS)
        for name in ("to_date", "to_timestamp", "try_to_timestamp")
        for form in FORMATS
    ),
    *(
        shape(f"date_trunc('{unit}', {kind})", f"date_trunc('{unit}', §a)", columns=kind, kinds="one")
        for unit in UNITS
        for kind in ("date", "timestamp")
    ),
    *(
        shape(f"trunc(date, '{unit}')", f"trunc(§a, '{unit}')", columns="date", kinds="one")
        for unit in UNITS[:4]
    ),
    *(
        of_text(f"{name}(string, natural)", *(f"{name}(§a, {count})" for count in (0, 1, 500)))
        for name in ("left", "right")
    ),
    *(
        of_text(
            f"{name}(string, natural, natural)",
            *(f"{name}(§a, {at}, {count})" for at in (0, 1, 2, 9) for count in (0, 1, 99)),
        )
        for name in ("substring", "substr")
    ),
    *(
        of_text(f"{name}(string, natural)", *(f"{name}(§a, {at})" for at in (0, 1, 2, 9, 99)))
        for name in ("substring", "substr")
    ),
    *(
        of_text(
            f"{name}(string, natural, text)",
            *(f"{name}(§a, {count}, '{text}')" for count in (0, 1, 5, 40) for text in ("0", " ", "xy")),
        )
        for name in ("lpad", "rpad")
    ),
    of_text("repeat(string, natural)", *(f"repeat(§a, {count})" for count in (0, 1, 5))),
    *(
        shape(
            f"from_unixtime({kind}, '{form}')",
            f"from_unixtime(§a, '{form}')",
            columns=kind,
            kinds="one",
            values=(f"1709251199{suffix}", f"4102444{suffix}"),
        )
        for form in FORMATS
        for kind, suffix in (("int", ""), ("bigint", "L"))
    ),
    *(
        of_text(f"{name}(string, '{form}')", f"{name}(§a, '{form}')", texts=MOMENTS)
        for name in ("unix_timestamp", "to_unix_timestamp")
        for form in FORMATS
    ),
    of_text(
        "regexp_extract(string, groups, natural)",
        *(
            f"regexp_extract(§a, '{text}', {at})"
            for text in ("([0-9]+)", "^([a-z]+)([0-9]*)", "([^a]*)b", "[a-z_-]+@([a-z]+)", "(A)(b)?_", "ß")
            for at in (0, 1, 2)
        ),
        texts=("a1b22", "Ab_7 c-9@x", "é9"),
    ),
    of_text(
        "get_json_object(string, path)",
        *(f"get_json_object(§a, '{path}')" for path in ("$.a", "$.b", "$.a.b", "$.a_1")),
        texts=JSON_TEXTS,
    ),
    shape("round(double, natural)", "round(§a, 0)", "round(§a, 2)", columns="double", kinds="one"),
    shape("round(decimal, natural)", "round(§a, 0)", "round(§a, 2)", columns="decimal", kinds="decimals"),
    of_text("sha2(string, natural)", *(f"sha2(§a, {bits})" for bits in (0, 1, 224, 256, 512))),
    of_text("split(string, text)", *(f"split(§a, '{text}')" for text in (",", "a", " ", "_1", ";", "ab"))),
    of_text(
        "split(string, text, int)",
        *(f"split(§a, '{text}', {limit})" for text in (",", "a", " ", "_1") for limit in (-1, 0, 1, 2)),
    ),
    of_text(
        "rlike(string, regex)",
        *(f"(§a rlike '{text}')" for text in ("a", "^[A-Z]", "[0-9]+", "[^a-z ]*", "ü?r", "^[a-z_-]+@")),
    ),
    of_text(
        "regexp_replace(string, solid, plain)",
        *(
            f"regexp_replace(§a, '{text}', '{other}')"
            for text in ("a", "[^0-9]", "[a-z]+", " +", "^[A-Z]", "[^a-z0-9 ]+", "r[a-z]*", "a?r", "ß")
            for other in ("", "-x")
        ),
    ),
    of_text(
        "like(string, plain)",
        *(f"(§a like '{text}')" for text in ("a", "a%", "%a%", "_", "%_1_%", "", "%", "Z%_")),
    ),
)
SO_FAR = "rows between unbounded preceding and current row"
ROWS = "partition by g order by i rows between"
FIRST_OR_LAST = tuple(
    found
    for name in ("first", "last", "first_value", "last_value")
    for found in (
        shape(f"{name} over(T)", f"{name}(§a) over (partition by g order by i)", over="window"),
        shape(
            f"{name} over(T, boolean)",
            f"{name}(§a, true) over (partition by g order by i)",
            f"{name}(§a, true) over (partition by g order by i desc)",
            f"{name}(§a, false) over (partition by g order by i)",
            columns="T",
            over="window",
        ),
        shape(
            f"{name} over rows(T, boolean)",
            f"{name}(§a, true) over ({ROWS} unbounded preceding and 1 preceding)",
            f"{name}(§a, true) over ({ROWS} unbounded preceding and current row)",
            f"{name}(§a, true) over ({ROWS} current row and unbounded following)",
            f"{name}(§a, false) over ({ROWS} 1 preceding and 1 following)",
            columns="T",
            over="window",
        ),
        shape(
            f"{name} over rows(T)",
            f"{name}(§a) over ({ROWS} unbounded preceding and 1 preceding)",
            f"{name}(§a) over ({ROWS} unbounded preceding and unbounded following)",
            over="window",
        ),
        shape(
            f"{name} ignore nulls over(T)",
            f"{name}(§a) ignore nulls over (partition by g order by i)",
            over="window",
        ),
    )
)
BESIDE = tuple(
    found
    for name in ("lead", "lag")
    for found in (
        shape(f"{name} over(T)", f"{name}(§a) over (partition by g order by i)", over="window"),
        shape(
            f"{name} over(T, int)",
            f"{name}(§a, 1) over (partition by g order by i)",
            f"{name}(§a, 2) over (partition by g order by i desc)",
            columns="T",
            over="window",
        ),
        shape(
            f"{name} over(T, int, T)",
            f"{name}(§a, 1, §a) over (partition by g order by i)",
            columns="T",
            over="window",
        ),
    )
)
ROW_NUMBER = "row_number() over ({}order by {})"
ORDERS = {"": ("asc", "desc"), " nulls moved": ("asc nulls last", "desc nulls first")}
SHAPES = (
    *EQUAL,
    *COMPARED,
    *DECIMAL_OPERATORS,
    *MIXED,
    *DATED,
    *READ_TEXTS,
    *BY_CONSTANT,
    *MIXED_SUMS,
    *SUMS_THAT_FIT,
    *FIRST_OR_LAST,
    *BESIDE,
    shape("coalesce(T, ...)", "coalesce(§a, §b)", "coalesce(§a, NULL, §b)", "coalesce(§a)", void=True),
    shape("nvl(T, T)", "nvl(§a, §b)"),
    shape("ifnull(T, T)", "ifnull(§a, §b)"),
    shape("nvl2(T, U, U)", "nvl2(§a, §b, 1)", "nvl2(1, §a, §b)", "nvl2(§a, 1, 2)", columns="T, T"),
    shape("nullif(T, T)", "nullif(§a, §b)"),
    shape(
        "when(T, ...)",
        "case when §c then §a else §b end",
        "case when §c then §a end",
        "case when §c then NULL else §a end",
        "case when §c then §a when §c is null then §b end",
        "if(§c, §a, §b)",
        columns="T, T, boolean",
        void=True,
    ),
    shape("isnull(T)", "(§a is null)", "isnull(§a)"),
    shape("isnotnull(T)", "(§a is not null)", "isnotnull(§a)"),
    shape("in(T, ...)", "(§a in (§b, §c))", "(§a in (§b))", columns="T, T, T"),
    shape("greatest(T, ...)", "greatest(§a, §b)", "greatest(§a, §b, §a)", kinds="orderable"),
    shape("least(T, ...)", "least(§a, §b)", "least(§a, §b, §a)", kinds="orderable"),
    shape("array(T, ...)", "array(§a, §b)", "array(§a)", "array(§a, NULL)", void=True),
    shape("struct(any, ...)", "struct(§a as x, §b as y)", "struct(§a as x)", columns="T, T"),
    shape("named_struct(any, ...)", "named_struct('x', §a, 'y', §b)", columns="T, T"),
    shape("[](struct, string)", "§a.x", columns="struct"),
    shape("[](array<T>, int)", "§a[0]", "§a[1]", columns="array<T>"),
    shape("[](map<T,U>, T)", "§a['a']", columns="map<T,U>"),
    shape("get(array<T>, int)", "get(§a, 0)", "get(§a, 5)", columns="array<T>"),
    shape("element_at(array<T>, int)", "element_at(§a, 1)", "element_at(§a, -1)", columns="array<T>"),
    shape("element_at(map<T,U>, T)", "element_at(§a, 'a')", "element_at(§a, 'no')", columns="map<T,U>"),
    shape(
        "try_element_at(array<T>, int)", "try_element_at(§a, 1)", "try_element_at(§a, 9)", columns="array<T>"
    ),
    shape("size(array<T>)", "size(§a)"),
    shape("size(map<T,U>)", "size(§a)"),
    shape("cardinality(array<T>)", "cardinality(§a)"),
    shape("array_size(array<T>)", "array_size(§a)"),
    shape("array_compact(array<T>)", "array_compact(§a)"),
    shape("array_distinct(array<T>)", "array_distinct(§a)"),
    shape("array_append(array<T>, T)", "array_append(§a, §b)"),
    shape("array_contains(array<T>, T)", "array_contains(§a, §b)"),
    shape("array_max(array<T>)", "array_max(§a)", kinds="orderable"),
    shape("array_min(array<T>)", "array_min(§a)", kinds="orderable"),
    shape("array_sort(array<T>)", "array_sort(§a)", kinds="orderable"),
    shape("sort_array(array<T>)", "sort_array(§a)", kinds="orderable"),
    shape("array_union(array<T>, array<T>)", "array_union(§a, §b)"),
    shape("array_except(array<T>, array<T>)", "array_except(§a, §b)"),
    shape("array_intersect(array<T>, array<T>)", "array_intersect(§a, §b)"),
    shape("arrays_overlap(array<T>, array<T>)", "arrays_overlap(§a, §b)"),
    shape("array_remove(array<T>, T)", "array_remove(§a, §b)"),
    shape("array_position(array<T>, T)", "array_position(§a, §b)"),
    shape("array_prepend(array<T>, T)", "array_prepend(§a, §b)"),
    shape("array_repeat(T, natural)", "array_repeat(§a, 0)", "array_repeat(§a, 3)", columns="T"),
    shape("xxhash64(any, ...)", "xxhash64(§a)", "xxhash64(§a, §b)", columns="T, T"),
    shape("hash(any, ...)", "hash(§a)", "hash(§a, §b)", columns="T, T"),
    shape("concat(array<T>, array<T>)", "concat(§a, §b)"),
    shape("flatten(array<T>)", "flatten(§a)", columns="array<T>"),
    shape("slice(array<T>, int, int)", "slice(§a, 1, 2)", columns="array<T>"),
    shape("reverse(array<T>)", "reverse(§a)"),
    shape("map_keys(map<T,U>)", "map_keys(§a)"),
    shape("map_values(map<T,U>)", "map_values(§a)"),
    shape("map_entries(map<T,U>)", "map_entries(§a)"),
    shape("map_contains_key(map<T,U>, T)", "map_contains_key(§a, 'a')", columns="map<T,U>"),
    shape(
        "transform(array<T>, lambda)",
        "transform(§a, x -> x)",
        "transform(§a, x -> x is null)",
        columns="array<T>",
    ),
    shape(
        "filter(array<T>, lambda)",
        "filter(§a, x -> x is not null)",
        "filter(§a, x -> true)",
        columns="array<T>",
    ),
    shape(
        "exists(array<T>, lambda)",
        "exists(§a, x -> x is null)",
        "exists(§a, x -> x = §b)",
        columns="array<T>, T",
    ),
    shape(
        "forall(array<T>, lambda)",
        "forall(§a, x -> x is not null)",
        "forall(§a, x -> x = §b)",
        columns="array<T>, T",
    ),
    shape("map_filter(map<T,U>, lambda)", "map_filter(§a, (k, v) -> v is not null)", columns="map<T,U>"),
    shape("to_json(struct)", "to_json(§a)", columns="struct"),
    shape(
        "to_json(struct, map<string,string>)",
        "to_json(§a, map('ignoreNullFields', 'false'))",
        columns="struct",
    ),
    shape("cast(void, T)", "cast(NULL as §A)", columns="T"),
    shape("cast(T, T)", "cast(§a as §A)", columns="T"),
    *(
        shape(f"cast(decimal, {kind})", f"cast(§a as {kind})", columns="decimal", kinds="decimals")
        for kind in ("string", "int", "bigint", "double")
    ),
    *(
        shape(f"{name}({kind}, decimal)", f"{name}(§b as §A)", columns=f"decimal, {kind}", kinds="decimals")
        for name in ("cast", "try_cast")
        for kind in ("string", "int", "bigint", "double", "decimal")
        if (name, kind) != ("try_cast", "string")  # of `1e3` Sail makes NULL
    ),
    shape("abs(decimal)", "abs(§a)", kinds="decimals"),
    shape("negative(decimal)", "(- §a)", kinds="decimals"),
    shape("round(decimal, int)", "round(§a, 1)", "round(§a, 0)", columns="decimal", kinds="decimals"),
    shape("partition by(T)", "row_number() over (partition by §a order by i)", over="window"),
    *(
        shape(
            f"order by{moved}(T)",
            *(ROW_NUMBER.format("", f"§a {order}, i") for order in orders),
            *(ROW_NUMBER.format("partition by g ", f"§a {order}, i") for order in orders),
            over="window",
            kinds="orderable",
        )
        for moved, orders in ORDERS.items()
    ),
    *(
        shape(
            f"{name} over()",
            f"{name}() over (partition by g order by §a)",
            f"{name}() over (order by §a desc)",
            columns="T",
            over="window",
            kinds="few",
        )
        for name in ("rank", "dense_rank", "percent_rank", "cume_dist")
    ),
    shape(
        "ntile over(natural)",
        "ntile(2) over (partition by g order by i)",
        "ntile(3) over (order by i desc)",
        columns="T",
        over="window",
        kinds="few",
    ),
    *(
        shape(f"{name}(decimal)", f"{name}(§a)", over="group", kinds="decimals")
        for name in ("sum", "avg", "mean")
    ),
    *(
        shape(
            f"{name} over(decimal)",
            f"{name}(§a) over (partition by g)",
            f"{name}(§a) over (partition by g order by i)",
            over="window",
            kinds="decimals",
        )
        for name in ("sum", "avg")
    ),
    *(
        shape(f"{name}(decimal)", f"{name}(§a)", kinds="decimals")
        for name in ("floor", "ceil", "ceiling", "sign")
    ),
    shape("sum DISTINCT(int)", "sum(distinct cast(§a as int))", over="group", kinds="one"),
    *(
        shape(
            f"{name} over(int)",
            f"{name}(i) over (partition by g)",
            f"{name}(i) over (partition by g order by i)",
            columns="T",
            over="window",
            kinds="few",
        )
        for name in ("avg", "mean")
    ),
    shape(
        "concat(string, ...)",
        "concat(§a, §b)",
        "concat(§a)",
        "concat(§a, §b, 'x')",
        "(§a || §b)",
        kinds="one",
    ),
    shape("||(string, string)", "(§a || §b)", kinds="one"),
    shape(
        "concat_ws(string, ...)",
        "concat_ws(',', §a, §b)",
        "concat_ws('', §a)",
        "concat_ws(§a, §b, 'x')",
        kinds="one",
    ),
    shape("map(string, ...)", "map('k', §a)", "map('k', §a, 'j', §b)", kinds="one"),
    shape(
        "with field(struct, T)",
        "F.col('a').withField('w', F.col('b'))",
        "F.col('a').withField('x', F.col('b'))",
        columns="struct, T",
        over="python",
    ),
    shape("drop field(struct)", "F.struct('i', 'a').dropFields('i')", over="python", columns="T"),
    shape(
        "python 101(any, ...)",
        "F.udf(lambda value: value, '§A')('a')",
        "F.udf(lambda value, other: repr((value, other)), 'string')('a', 'b')",
        columns="T, T",
        over="python",
    ),
    shape(
        "row_number over()",
        ROW_NUMBER.format("partition by g ", "§a, i"),
        columns="T",
        over="window",
        kinds="few",
    ),
    *(
        shape(
            f"{name} over rows(T, int)",
            f"F.{name}('a').over(Window.partitionBy('g').orderBy('i').rowsBetween({at}, {at}))",
            columns="T",
            over="python",
        )
        for name, at in (("lead", 1), ("lag", -1))
    ),
    shape(
        "row_number over rows()",
        f"row_number() over (partition by g order by §a, i {SO_FAR})",
        columns="T",
        over="window",
        kinds="few",
    ),
    *(
        shape(
            f"{call} over rows({argument})",
            f"{call}({form}) over (partition by g order by i {SO_FAR})",
            f"{call}({form}) over ({ROWS} 1 preceding and 1 following)",
            columns="T, boolean",
            over="window",
            kinds="few",
        )
        for call, argument, form in (
            ("count", "*", "*"),
            ("count", "int", "1"),
            ("count_if", "boolean", "§b"),
            ("sum", "int", "i"),
        )
    ),
    shape("count over rows(T)", f"count(§a) over (partition by g order by i {SO_FAR})", over="window"),
    *(
        found
        for moved, orders in ORDERS.items()
        for found in (
            shape(
                f"order rows by{moved}(T)",
                *(f"row_number() over (order by §a {order}, i {SO_FAR})" for order in orders),
                *(f"row_number() over (partition by g order by §a {order}, i {SO_FAR})" for order in orders),
                over="window",
                kinds="orderable",
            ),
            shape(
                f"sort by{moved}(T)",
                *(f"SELECT i FROM t ORDER BY §a {order}, i" for order in orders),
                over="order",
                kinds="orderable",
            ),
        )
    ),
    shape("condition(boolean)", "case when §b then §a end", columns="T, boolean", kinds="few"),
    shape("count(*)", "count(*)", columns="T", over="group", kinds="few"),
    shape("count over(*)", "count(*) over (partition by g)", columns="T", over="window", kinds="few"),
    shape(
        "count over(int)",
        "count(1) over (partition by g order by i)",
        columns="T",
        over="window",
        kinds="few",
    ),
    shape("count_if(boolean)", "count_if(§b)", columns="T, boolean", over="group", kinds="few"),
    shape(
        "count_if over(boolean)",
        "count_if(§b) over (partition by g order by i)",
        columns="T, boolean",
        over="window",
        kinds="few",
    ),
    shape(
        "sum over(int)",
        "sum(i) over (partition by g)",
        "sum(i) over (partition by g order by i)",
        columns="T",
        over="window",
        kinds="few",
    ),
    shape(
        "raise_error(string)",
        "case when §b then raise_error('no') else §a end",
        columns="T, boolean",
        kinds="few",
    ),
    *(
        found
        for name in ("max", "min")
        for found in (
            shape(f"{name}(T)", f"{name}(§a)", over="group", kinds="orderable"),
            shape(
                f"{name} over(T)",
                f"{name}(§a) over (partition by g)",
                f"{name}(§a) over (partition by g order by i)",
                over="window",
                kinds="orderable",
            ),
            shape(
                f"{name} over rows(T)",
                f"{name}(§a) over ({ROWS} unbounded preceding and current row)",
                f"{name}(§a) over ({ROWS} 1 preceding and 1 following)",
                over="window",
                kinds="orderable",
            ),
            shape(f"{name} DISTINCT(T)", f"{name}(distinct §a)", over="group", kinds="orderable"),
            shape(
                f"{name}_by(T, U)",
                f"{name}_by(§a, i)",
                f"{name}_by(i, struct(§a, i))",
                columns="T",
                over="group",
                kinds="orderable",
            ),
        )
    ),
    shape("count(T)", "count(§a)", over="group"),
    shape("count DISTINCT(T)", "count(distinct §a)", over="group"),
    shape(
        "count over(T)",
        "count(§a) over (partition by g)",
        "count(§a) over (partition by g order by i)",
        over="window",
    ),
    shape(
        "group by(T)",
        "SELECT §a, count(*) FROM t GROUP BY §a",
        "SELECT DISTINCT §a FROM t",
        "SELECT x.i, y.i FROM t x JOIN t y USING (§a)",
        over="query",
    ),
    shape("explode(array<T>)", "SELECT i, explode(§a) FROM t", over="query"),
    shape("explode_outer(array<T>)", "SELECT i, explode_outer(§a) FROM t", over="query"),
    shape("posexplode(array<T>)", "SELECT i, posexplode(§a) FROM t", over="query"),
    shape("explode(map<T,U>)", "SELECT i, explode(§a) FROM t", over="query"),
    shape("explode_outer(map<T,U>)", "SELECT i, explode_outer(§a) FROM t", over="query"),
    shape("posexplode_outer(array<T>)", "SELECT i, posexplode_outer(§a) FROM t", over="query"),
    shape(
        "inline_outer(array<T>)", "SELECT i, inline_outer(§a) FROM t", columns="array<struct>", over="query"
    ),
    shape("inline(array<T>)", "SELECT i, inline(§a) FROM t", columns="array<struct>", over="query"),
)


# ---- types


def _instances(kinds: str) -> Iterator[Instance]:
    "Types in the order in which they are asked: each has one part that the ones before it did not have."
    if kinds in ("few", "one"):
        yield from (Instance(kind, kind.simpleString()) for kind in FEW[: 1 if kinds == "one" else 3])
        return
    if kinds != "decimals":
        yield from (Instance(kind, kind.simpleString()) for kind in SCALARS)
    yield from (Instance(kind, *parts_of(kind)) for kind in DECIMALS)
    if kinds == "decimals":
        return
    whole = IntegerType()
    yield Instance(ArrayType(whole), "array")
    yield Instance(_struct(whole), "struct")
    if kinds != "orderable":
        yield Instance(MapType(StringType(), whole), "map")
        yield Instance(MapType(LongType(), whole), "key bigint")
    for leaf in (*SCALARS, *DECIMALS[:2]):
        (new,) = parts_of(leaf)
        yield from (Instance(outer, f"<{new}>") for outer in (ArrayType(leaf), _struct(leaf)))
    yield from _nested(kinds)


def _nested(kinds: str) -> Iterator[Instance]:
    "Types inside types, NULL at every depth."
    whole, text = IntegerType(), StringType()
    yield Instance(ArrayType(ArrayType(whole)), "<array>")
    yield Instance(_struct(ArrayType(text)), "<array>")
    yield Instance(ArrayType(_struct(whole, text)), "<struct>")
    yield Instance(_struct(_struct(text, TimestampType()), DecimalType(38, 18)), "<struct>")
    yield Instance(_struct(text, _struct(_struct(whole), ArrayType(_struct(text)))), "<struct>")
    if kinds != "orderable":
        yield Instance(ArrayType(MapType(text, whole)), "<map>")
        yield Instance(_struct(whole, MapType(text, ArrayType(text))), "<map>")
        yield Instance(MapType(text, _struct(text, DoubleType(), DateType())), "<struct>")


@cache
def instances(kinds: str) -> tuple[Instance, ...]:
    "Types to ask a shape with."
    return tuple(_instances(kinds))


def _struct(*kinds: DataType) -> StructType:
    found = StructType()
    for name, kind in zip("xyz", kinds, strict=False):
        found.add(name, kind)
    return found


def instantiate(
    part: str,  # A type pattern: `T`, `array<T>`, `struct`, `int`
    kind: DataType,  # What T is
) -> DataType:
    "The type that a pattern stands for."
    if part in ("T", "U", "any", "decimal"):
        return kind
    if part == "struct":
        return _struct(kind)
    if part.startswith("array<"):
        return ArrayType(instantiate(part[6:-1], kind))
    if part.startswith("map<"):
        return MapType(StringType(), kind)
    return {one.simpleString(): one for one in [*SCALARS, NullType()]}[part]


def values_of(
    kind: DataType,  # Any type that is asked with
) -> list[str]:  # SQL; the second is NULL
    "Values of a type."
    null = f"cast(NULL as {kind.simpleString()})"
    if isinstance(kind, NullType):
        return ["NULL"]
    if isinstance(kind, DecimalType):
        whole, part = "9" * (kind.precision - kind.scale), "9" * kind.scale
        texts = [
            "0.5" if kind.scale else "5",
            "0",
            f"-{whole or 0}.{part}",
            f"{whole or 0}.{part}",
            "0.00001",
        ]
        values = [f"cast('{text}' as {kind.simpleString()})" for text in texts]
    elif isinstance(kind, ArrayType):
        inner = values_of(kind.elementType)
        values = [f"array({', '.join([*inner[-2:], inner[0]])})", f"array({inner[0]}, {inner[1]})"]
        values += [f"cast(array() as {kind.simpleString()})", f"array({', '.join(inner)})"]
    elif isinstance(kind, MapType):
        keys, inner = values_of(kind.keyType), values_of(kind.valueType)
        values = [f"map({keys[0]}, {inner[0]}, {keys[2]}, {inner[-1]})", f"map({keys[0]}, {inner[1]})"]
        values += [f"cast(map() as {kind.simpleString()})"]
    elif isinstance(kind, StructType):
        values = [_row(kind, at) for at in (0, 1, -1, 2)]
    else:
        first, *rest = map(_spelled, SCALARS[kind].split())
        return [first, null, *rest]
    if not isinstance(kind, DecimalType):  # without the cast, a value says which of its parts can't be NULL
        values = [f"cast({value} as {kind.simpleString()})" for value in values]
    return [values[0], null, *values[1:]]


def _row(kind: StructType, at: int) -> str:
    "A struct of the values at one place of its fields' values, the last field one further."
    parts = []
    for more, part in enumerate(kind):
        inner = values_of(part.dataType)
        parts.append(f"'{part.name}', {inner[(at + more) % len(inner)] if at >= 0 else inner[at]}")
    return f"named_struct({', '.join(parts)})"
