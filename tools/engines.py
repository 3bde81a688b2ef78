"""Compare Sail with Spark, function by function, and write the list of what is known to be the same.

    python tools/prove.py engines                      all of it, into cdc_local/engines/known/
    python tools/engines.py prove abs substr           a few functions; what the list says of others stays
    python tools/engines.py prove --missing            what was not asked yet: a run that was cut goes on
    python tools/engines.py prove --only calls abs     its calls in pipelines alone, which takes seconds
    python tools/engines.py prove --only timed-out cast    what was not answered, or not asked in time
    python tools/engines.py missing                    its names, those that pipelines call most first
    python tools/engines.py compare abs substr         a few functions, shown, nothing written

What is asked: every example of Spark's own documentation, and generated values (NULL, extremes, empty,
unicode, decimals, far dates) for each argument of each function, one argument at a time and all together
(this file); the types with which pipelines call them (engine_calls.py); calls that take any type, as
`coalesce`, with one type after the other (engine_patterns.py). Both engines answer in processes of their own;
one that does not answer is started anew, and the call is listed as timed out (engine_answers.py). An answer
is a type and rows; it is the same where both are equal, floating-point numbers to the last bit. An error is
the same as an error, whatever it says. Where Sail alone raises for some values, Spark can take over, so such
calls are known (engine_verdicts.py). The list is written after each function.
"""

import argparse
import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from engine_answers import SILENT, Engine, report, serve
from engine_calls import CALLS, SIZED, in_order, known_lines, lines, name_of
from engine_patterns import find_patterns
from engine_shapes import SHAPES, values_of
from engine_verdicts import CLOCKS, KNOWN_RANKS, Case, Verdict, batches, both, judge, short
from pyspark.sql.types import DecimalType

from cdc_local.engines.known.listed import known_of

ROOT = Path(__file__).resolve().parents[1]
KNOWN = ROOT / "cdc_local/engines/known/functions.json"
PARTS = ("calls", "patterns", "timed-out")  # of what a function is asked: those of pipelines, of any type
BATCH = 12  # functions whose patterns are asked together
SECONDS = 240  # for a function

# Type as `typeof` writes it -> values as SQL writes them; the first is the base of a call
VALUES = {
    "int": "7 NULL 0 1 -1 2147483647 cast(-2147483648_as_int)",
    "bigint": "7L NULL 0L 1L -3L 9223372036854775807L (-9223372036854775807L-1L)",
    "double": "1.5D NULL 0D -0.0D -2.5D 1e300D double('NaN') double('Infinity')",
    "decimal(10,2)": "2.50 NULL 0.00 -2.55 99999999.99",
    "string": "'a' NULL '' 'Spark_SQL' 'Zürich_ß_😀' '_12_' '-7' '2026-01-31'",
    "boolean": "true NULL false",
    "binary": "X'616263' NULL X'' X'00FF'",
    "date": "date'2024-02-29' NULL date'1970-01-01' date'2026-12-31' date'1899-12-31' date'9999-12-31'",
    "timestamp": "timestamp'2024-02-29_23:59:59.999999' NULL timestamp'1969-12-31_23:59:59.5'"
    " timestamp'1970-01-01_00:00:00' timestamp'1899-12-31_12:00:00' timestamp'9999-12-31_23:59:59'",
    "timestamp_ntz": "timestamp_ntz'2024-02-29_23:59:59.999999' NULL timestamp_ntz'1970-01-01_00:00:00'",
    "array<int>": "array(3,1,1) NULL array(1,NULL,3) cast(array()as_array<int>)",
    "array<string>": "array('b','a','') NULL array('a',NULL) cast(array()as_array<string>)",
    "map<string,int>": "map('a',1,'b',NULL) NULL map('c',-1) cast(map()as_map<string,int>)",
    "struct<a:int,b:string>": "named_struct('a',1,'b','x') NULL named_struct('a',NULL,'b','y')",
}
VALUES = {kind: [text.replace("_", " ") for text in texts.split()] for kind, texts in VALUES.items()}
VALUES["decimal(10,2)"] = [f"cast({value} as decimal(10,2))" for value in VALUES["decimal(10,2)"]]
VALUES["string"] = [value.replace("Spark SQL", "Spark_SQL") for value in VALUES["string"]]
VALUES["string"].append("'" + "long text " * 9 + "'")
VALUES["timestamp_ntz"] = [
    value.replace("timestamp ntz", "timestamp_ntz") for value in VALUES["timestamp_ntz"]
]
VALUES["struct<a:int,b:string>"] = [
    value.replace("named struct", "named_struct") for value in VALUES["struct<a:int,b:string>"]
]
for kind, texts in VALUES.items():
    VALUES[kind] = [f"cast(NULL as {kind})" if text == "NULL" else text for text in texts]

# Text that casts and functions of dates read, in ways that engines disagree about
MOMENTS = [
    f"'{text}'"
    for text in (
        "2026-1-5",
        "2026-01-31 10:00:00",
        "2026-01-31T10:00:00",
        "2026-01-31T10:00:00Z",
        "2026-01-31T10:00:00.123456Z",
        "2026-01-31 10:00:00.5",
        "2026-01-31 10:00:00.123456789",
        "2026-01-31T10:00:00+02:00",
        "2026-01-31 10:00:00 Europe/Paris",
        "2026-01-31 10:00",
        "2026-02-30",
        "2026-13-01",
        "2026-01",
        "2026",
        " 2026-01-31 ",
        "20260131",
        "31/01/2026",
        "0001-01-01",
        "9999-12-31 23:59:59.999999",
        "1899-12-31 23:59:59",
        "2026-01-31 24:00:00",
        "2026-01-31 1:2:3",
        "2026-01-31T10",
        "2026-01-31t10:00:00z",
        "2026-01-31 10:00:00+0200",
        "2026-01-31 10:00:00 UTC",
        "+2026-01-31",
        "10:00:00",
        "now",
    )
]

NUMBERS_AS_TEXT = [
    f"'{text}'"
    for text in (
        "7",
        " 12 ",
        "+5",
        "-0",
        "1.5",
        "1.",
        ".5",
        "1e3",
        "1E-3",
        "007",
        "2147483648",
        "9223372036854775808",
        "99999999.999",
        "NaN",
        "Infinity",
        "-inf",
        "1d",
        "1_000",
        "1,000",
        "0x1F",
        "true",
        "TRUE",
        "t",
        "yes",
        "N",
        "1",
        "no",
        "off",
    )
]

# Types that stand for one another in a call
FAMILIES = [
    ("int", "bigint", "double", "decimal(10,2)"),
    ("string", "binary"),
    ("boolean",),
    ("date", "timestamp", "timestamp_ntz"),
    ("array<int>", "array<string>"),
    ("map<string,int>",),
    ("struct<a:int,b:string>",),
]

ALL = tuple(VALUES)

# How an operator is written, and the types that both of its sides can have
NUMBERS, TEXTS = FAMILIES[0], ("string", "binary")

ORDERED = (*NUMBERS, *TEXTS, "boolean", "date", "timestamp", "timestamp_ntz", "struct<a:int,b:string>")

OTHER_SCALARS = ("float", "tinyint", "smallint", "decimal(38,18)")

OPERATORS = {
    **{name: (f"({{0}} {name} {{1}})", NUMBERS) for name in ("+", "-", "*", "/", "%", "div")},
    **{name: (f"({{0}} {name} {{1}})", ORDERED) for name in ("=", "==", "!=", "<", "<=", ">", ">=", "<=>")},
    **{name: (f"({{0}} {name} {{1}})", ("boolean",)) for name in ("and", "or")},
    **{name: (f"({{0}} {name} {{1}})", ("int", "bigint")) for name in ("&", "|", "^")},
    **{name: (f"({{0}} {name} {{1}})", ("string",)) for name in ("like", "ilike", "rlike")},
    "in": ("({0} in ({1}))", ORDERED),
    "not": ("(not {0})", ("boolean",)),
    "negative": ("(- {0})", NUMBERS),
}

# Queries, each for the kinds of plan nodes that it has: `left` and `right` are frames with repeated rows and
# NULL in keys and values. Rows are compared in the order of their text, unless the query sorts all columns
PROGRAMS = [
    "left",
    "left.select('k', left.v.alias('w'))",
    "left.filter(left.v > 1)",
    "left.withColumn('w', left.v)",
    "left.withColumnRenamed('v', 'w')",
    "left.drop('v')",
    "left.toDF('a', 'b')",
    "left.alias('l').select('l.k')",
    "left.union(right)",
    "left.unionByName(right)",
    "left.intersect(right)",
    "left.exceptAll(right)",
    "left.intersectAll(right)",
    "left.subtract(right)",
    "left.distinct()",
    "left.sort('k', 'v')",
    "left.sort(left.k.desc_nulls_first(), left.v.asc_nulls_last())",
    "left.sort('k', 'v').limit(3)",
    "left.sort('k', 'v').offset(2)",
    "left.groupBy('k').agg(F.sum('v').alias('s'), F.count('v').alias('n'))",
    "left.agg(F.max('v'))",
    "left.filter(left.v > 100).agg(F.max('v'), F.count('v'))",
    "left.rollup('k').agg(F.sum('v'))",
    "left.cube('k').agg(F.sum('v'))",
    "left.groupBy('k').pivot('k', ['a', 'b']).agg(F.sum('v'))",
    "left.repartition(3)",
    "left.repartition(3, 'k')",
    "left.dropna()",
    "left.fillna(0)",
    "left.fillna('none', ['k'])",
    "left.replace('a', 'z')",
    "typed.dropna()",
    "typed.fillna(0)",
    "typed.fillna(1.5)",
    "typed.fillna('x')",
    "typed.fillna({'d': 2, 's': 'y'})",
    "typed.replace(7, 8)",
    "typed.select(F.array(F.struct('b', 's')).alias('a')).select('a.s')",
    "typed.select(F.struct('b', 'd').alias('a')).select('a.d', 'a.*')",
    "typed.select(F.lit(datetime(2024, 2, 29, 23, 59, 59, 999999)), F.lit(date(1899, 12, 31)))",
    "typed.select(F.lit(1.5), F.lit(True), F.lit(b'x'), F.lit([1, 2]), F.lit(None), F.lit(3000000000))",
    "typed.join(typed.select('d', F.lit(1).alias('n')), 'd')",
    "spark.range(5)",
    "left.hint('broadcast')",
    *(
        f"left.alias('l').join(right.alias('r'), F.col('l.k') == F.col('r.k'), '{how}')"
        for how in ("inner", "left", "right", "full", "leftsemi", "leftanti")
    ),
    *(
        f"left.join(right, 'k', '{how}')"
        for how in ("inner", "left", "right", "full", "leftsemi", "leftanti")
    ),
    "left.filter(\"v > 1 AND NOT k IS NULL OR k = 'a' AND v IS NOT NULL\")",
    "left.filter(\"NOT k = 'a' OR v BETWEEN 2 AND 5 AND k IN ('b', 'c')\")",
    "left.select(F.expr(\"NOT v > 1 AND k LIKE 'a%' OR v = -v\").alias('p'))",
    "left.groupBy('k').count()",
    "left.select('*', (left.v > 1).alias('p'))",
    "left.mapInPandas(lambda frames: frames, 'k string, v int')",
    "left.mapInArrow(lambda batches: batches, 'k string, v int')",
    "spark.table('l')",
    "stored(left, 'delta')",
    "stored(left, 'parquet')",
    "spark.sql('SELECT k, e FROM l LATERAL VIEW explode(array(v, 1)) t AS e')",
    "spark.sql('SELECT k, e FROM l LATERAL VIEW OUTER explode(array(v)) t AS e WHERE v IS NOT NULL')",
    "spark.sql('SELECT k, sum(v) AS s FROM l WHERE v IS NOT NULL GROUP BY k HAVING s > 1')",
    "spark.sql('SELECT k AS x, count(*) AS n FROM l GROUP BY x ORDER BY n, x').sort('n', 'x')",
    "spark.sql('SELECT DISTINCT l.k, r.v FROM l LEFT JOIN r ON l.k = r.k')",
    "spark.sql('WITH c AS (SELECT k FROM l) SELECT * FROM c UNION SELECT k FROM r')",
    "spark.sql('SELECT k FROM l UNION ALL SELECT k FROM r')",
    "spark.sql('SELECT q.n FROM (SELECT row_number() OVER (PARTITION BY k ORDER BY v) AS n FROM l) q')",
    "spark.sql('SELECT l.k FROM l LEFT SEMI JOIN r ON l.k = r.k AND l.v = r.v')",
    "spark.sql('SELECT l.k, r.v FROM l, r WHERE l.k = r.k')",
    "spark.sql('SELECT k, l.v FROM l JOIN r USING (k)')",
    "left.crossJoin(right.withColumnRenamed('k', 'x').withColumnRenamed('v', 'y'))",
]

# What they do is decided by a constant, as a format; the constants that were asked are patterns
BY_CONSTANTS = """
    date_format date_part date_trunc datepart extract from_csv from_json from_unixtime from_xml
    get_json_object json_tuple like ilike regexp_count regexp_extract regexp_extract_all regexp_instr
    regexp_replace regexp_substr rlike split to_char to_csv to_date to_number to_timestamp to_unix_timestamp
    to_varchar trunc try_to_date try_to_number try_to_timestamp unix_timestamp xpath xpath_string
"""

# The order of the rows decides, which nobody promises
BY_ORDER = """
    any_value array_agg collect_list collect_set first first_value last last_value listagg mode string_agg
"""
# So it does for the last digits of sums of floating-point numbers
ADD_UP = """
    avg corr covar_pop covar_samp kurtosis mean regr_avgx regr_avgy regr_intercept regr_r2 regr_slope regr_sxx
    regr_sxy regr_syy skewness std stddev stddev_pop stddev_samp sum try_avg try_sum var_pop var_samp variance
"""

# The last digit is that of a library: no engine promises it
BY_LIBRARY = """
    acos acosh asin asinh atan atan2 atanh cbrt cos cosh cot csc degrees e exp expm1 hypot ln log log10 log1p
    log2 pi pow power radians sec sin sinh tan tanh
"""

READ_MOMENTS = """
    add_months date date_add date_diff date_format date_part date_sub date_trunc dateadd datediff datepart
    day dayname dayofmonth dayofweek dayofyear extract hour last_day minute month monthname months_between
    next_day quarter second timestamp to_date to_timestamp to_timestamp_ltz to_timestamp_ntz
    to_unix_timestamp trunc try_to_date try_to_timestamp unix_date unix_timestamp weekday weekofyear year
"""


def arguments_of(
    text: str,  # SQL after an opening parenthesis
) -> tuple[list[str], str] | None:  # the arguments, and what follows the closing one
    "Split the arguments of a call, None where it does not close."
    parts, depth, start, quote = [], 0, 0, ""
    for at, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote and text[at - 1] != "\\" else quote
        elif sign in "'\"`":
            quote = sign
        elif sign in "([":
            depth += 1
        elif sign in ")]" and depth:
            depth -= 1
        elif sign == ")":
            return [part for part in [*parts, text[start:at].strip()] if part], text[at + 1 :]
        elif sign == "," and not depth:
            parts.append(text[start:at].strip())
            start = at + 1
    return None


def call_in(
    function: str,  # Name
    sql: str,  # An example, `SELECT f(a, b) FROM …`
) -> tuple[list[str], str] | None:  # Its arguments, and what follows the call, if it is one plain call
    found = re.match(rf"\s*SELECT\s+{re.escape(function)}\s*\(", sql, re.I)
    call = arguments_of(sql[found.end() :]) if found else None
    if call is None or not re.fullmatch(r"(?is)\s*(FROM\s.*)?", call[1]):
        return None
    plain = all(not re.search(r"(?i)->|\bdistinct\b|\s(from|for|as|in)\s|=>|^\*$", part) for part in call[0])
    return call if plain else None


def family_of(kind: str) -> tuple[str, ...]:
    kind = "decimal(10,2)" if kind.startswith("decimal") else kind
    return next((family for family in FAMILIES if kind in family), ())


def rows_of(kinds: list[str]) -> list[tuple[str, ...]]:
    "Combine the values of some types, each with several of the others."
    count = max(len(VALUES[kind]) for kind in kinds)
    rounds = 1 if len(kinds) == 1 else 3
    return list(
        dict.fromkeys(
            tuple(VALUES[kind][(row + turn * place) % len(VALUES[kind])] for place, kind in enumerate(kinds))
            for turn in range(rounds)
            for row in range(count)
        )
    )


def written(name: str, parts: Iterable[str]) -> str:
    "Write a call as SQL."
    form = OPERATORS[name][0] if name in OPERATORS else None
    parts = list(parts)
    return form.format(*parts) if form else f"{name}({', '.join(parts)})"


def generate(
    name: str,  # Function
    arguments: list[str],  # of an example
    kinds: list[str],  # Their types
    aggregates: bool,  # Whether rows are one group
) -> Iterator[Case]:
    "Vary each argument over its family of types, the others as in the example; then all together."
    for place, kind in enumerate(kinds):
        for other in family_of(kind):
            parts = [*arguments[:place], "§a", *arguments[place + 1 :]]
            types = ", ".join([*kinds[:place], other, *kinds[place + 1 :]])
            rows = askable(name, rows_of([other]))
            if other == "string" and name in READ_MOMENTS.split():
                rows += [(text,) for text in MOMENTS]
            yield Case(name, f"({types})", written(name, parts), tuple(rows), aggregates)
    plain = [family_of(kind) and ("decimal(10,2)" if kind.startswith("decimal") else kind) for kind in kinds]
    if 1 < len(kinds) < 5 and all(plain):
        yield case_of(name, plain, aggregates)


def case_of(name: str, kinds: list[str], aggregates: bool) -> Case:
    "A call over columns of some types."
    call = written(name, [f"§{letter}" for letter in "abcdefgh"[: len(kinds)]])
    return Case(name, f"({', '.join(kinds)})", call, tuple(askable(name, rows_of(kinds))), aggregates)


def askable(name: str, rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    "Leave out rows with large numbers where they are a size."
    large = re.compile(r"\d{5}")
    return [row for row in rows if not (name in SIZED and any(map(large.search, row)))]


def called_in_pipelines(name: str, aggregates: bool) -> Iterator[Case]:
    "Calls with the types of engine_calls.py."
    for line in CALLS.strip().splitlines():
        names, _, signatures = line.partition(": ")
        if name in names.split():
            for signature in re.split(r" (?![^(]*\))", signatures):
                kinds = re.split(r",(?![^(]*\))", signature)
                yield case_of(name, kinds, aggregates)


def operator_cases() -> Iterator[Case]:
    "Operators over each pair of types that they take, and every cast."
    for name, (form, kinds) in OPERATORS.items():
        for kind in kinds:
            pair = [kind] * (2 if "{1}" in form else 1)
            call = written(name, ["§a", "§b"][: len(pair)])
            yield Case(name, f"({', '.join(pair)})", call, tuple(rows_of(pair)))
    for kind in [*VALUES, *OTHER_SCALARS]:
        rows = [(value,) for value in values_of_scalar(kind)]
        if kind == "string":
            rows += [(text,) for text in MOMENTS + NUMBERS_AS_TEXT]
        for other in [*VALUES, *OTHER_SCALARS]:
            for name in ("cast", "try_cast"):
                yield Case(name, f"({kind} AS {other})", f"{name}(§a AS {other})", tuple(rows))


def values_of_scalar(kind: str) -> list[str]:
    "Values of a type by its name."
    if kind in VALUES:
        return VALUES[kind]
    if kind.startswith("decimal"):
        return values_of(DecimalType(38, 18))
    return [f"cast({value} as {kind})" for value in ("7", "NULL", "0", "-1", "127", "-128", "1.5")]


def find_nodes_that_agree(spark: "Engine", sail: "Engine") -> list[str]:
    "Kinds of plan nodes of which no query differs."
    good, bad = set(), set()
    for text in PROGRAMS:
        right, left = (engine.ask({"program": text}) for engine in (spark, sail))
        same = "error" not in left and (right.get("types"), right.get("rows")) == (
            left["types"],
            left["rows"],
        )
        (good if same else bad).update(left.get("nodes", []))
        if not same:
            report(f"  not the same: {text}: {short(right)} {short(left)}")
    return sorted(good - (bad - {"local_relation"}))  # rows that are given are those of every query


def cases_of(name: str, examples: list[str], spark: Engine) -> list[Case]:
    "The examples of a function, and what is generated after them."
    calls = {sql: call_in(name, sql) for sql in examples}
    asked = [sql for sql, call in calls.items() if call and call[0]]
    plain = [sql for sql in asked if not calls[sql][1].strip()]
    answers = spark.ask([[f"typeof({part})" for part in calls[sql][0]] for sql in plain]) if plain else []
    kinds = dict(zip(plain, answers, strict=True))
    for sql in asked:
        if sql not in kinds:
            parts, rest = calls[sql]
            answer = spark.ask(f"SELECT {', '.join(f'typeof({part})' for part in parts)} {rest} LIMIT 1")
            kinds[sql] = [{"value": value} for value in (answer.get("rows") or [[None]])[0]]
    found, seen = [], set()
    for sql in examples:
        types = [one.get("value") for one in kinds.get(sql, [{}])]
        if calls[sql] == ([], "") or (calls[sql] and not calls[sql][0]):
            types = []
        if calls[sql] is None or None in types:
            found.append(Case(name, "", sql))
            continue
        signature = f"({', '.join(types)})"
        found.append(Case(name, signature, sql))
        aggregates = bool(calls[sql][1].strip())
        if types and signature not in seen and (not aggregates or len(types) == 1):
            found += generate(name, calls[sql][0], types, aggregates)
        seen.add(signature)
    return list(dict.fromkeys(found))


def is_open(case: Case) -> bool:
    "Whether more than the types of a call decides what it gives: a constant, the order of rows, a library."
    reads_text = case.types.startswith("(string") and case.function in READ_MOMENTS.split()
    if case.function in BY_LIBRARY.split() or (reads_text and "timestamp" not in case.function):
        return True  # a text has more forms than can be asked
    if case.function in BY_CONSTANTS.split():
        return ", " in case.types
    exact = case.function in ("sum", "try_sum") and re.fullmatch(r"\((\w*int|decimal.*)\)", case.types)
    exact = exact or (case.function in ("avg", "mean") and re.fullmatch(r"\((int|decimal.*)\)", case.types))
    return case.function in BY_ORDER.split() or (case.function in ADD_UP.split() and not exact)


def ask_cases(
    cases: list[Case],
    spark: Engine,
    sail: Engine,
    seconds: float,  # What is not asked by then is listed as timed out
) -> dict[str, Verdict]:  # Signature -> what all its cases say
    "Ask cases, until one of a call differs."
    found: dict[str, Verdict] = {}
    until = time.monotonic() + seconds
    for some in [*batches(probes(cases)), *batches(list(dict.fromkeys(cases)))]:
        some = [case for case in some if found.get(case.signature, ("", ""))[0] != "differs"]
        if time.monotonic() > until:
            found |= {case.signature: (SILENT, f"not asked within {seconds} s") for case in some}
            continue
        for case, verdict in judge(some, spark, sail):
            if verdict[0] != "no call" and not (verdict[0] in KNOWN_RANKS and is_open(case)):
                found[case.signature] = both(found.get(case.signature), verdict)
    return found


def probes(cases: list[Case]) -> list[Case]:
    "Cases with the texts at which most functions differ: where they do, no other text has to be asked."
    probe = (("'20260131'",),)
    return [replace(case, rows=probe) for case in cases if probe[0] in case.rows and len(case.rows) > 1]


@dataclass
class Listed:
    "The list, as it is kept."

    verdicts: dict[str, Verdict] = field(default_factory=dict)  # By signature
    patterns: dict[str, list[str]] = field(default_factory=dict)  # What each may be made of
    nodes: list[str] = field(default_factory=list)  # Kinds of plan nodes
    aggregates: list[str] = field(default_factory=list)  # Functions of many rows
    asked: set[str] = field(default_factory=set)  # Functions and operators

    def without(self, names: set[str]) -> "Listed":
        "The list without some functions."
        return Listed(
            {one: said for one, said in self.verdicts.items() if name_of(one) not in names},
            {one: made_of for one, made_of in self.patterns.items() if name_of(one) not in names},
            self.nodes,
            self.aggregates,
            self.asked - names,
        )

    def as_data(self) -> dict[str, object]:
        "The list as JSON holds it."
        kept: dict[str, dict[str, str]] = defaultdict(dict)
        for signature, (verdict, how) in sorted(self.verdicts.items()):
            if verdict == "differs" or "(?)" not in signature:  # without types, a call can't be known
                kept[verdict][signature] = how
        return {
            "engine": f"pysail {version('pysail')}",
            "compared_with": f"pyspark {version('pyspark')}",
            "clocks": sorted(CLOCKS),
            "aggregates": self.aggregates,
            "nodes": self.nodes,
            "asked": sorted(self.asked),
            "patterns": dict(sorted(self.patterns.items())),
            "same": sorted(kept["same"]),
            "raises": kept["raises"],
            "differs": kept["differs"],
            "refused": sorted(kept["refused"]),
            "timed out": sorted(kept[SILENT]),
        }

    def write(self) -> None:
        "Write the list into the package; one pattern a line."
        data = self.as_data()
        patterns = data.pop("patterns")
        text = json.dumps(data, indent=1, ensure_ascii=False)
        lines = ",\n".join(f"  {json.dumps(one)}: {json.dumps(made_of)}" for one, made_of in patterns.items())
        KNOWN.write_text(text[:-2] + ',\n "patterns": {\n' + lines + "\n }\n}\n", encoding="utf-8")


def read_listed() -> Listed:
    "The list as it is."
    if not KNOWN.exists():
        return Listed()
    data = json.loads(KNOWN.read_text(encoding="utf-8"))
    texts = {verdict: dict.fromkeys(data[verdict], "") for verdict in ("same", "refused", SILENT)}
    texts |= {verdict: data[verdict] for verdict in ("raises", "differs")}
    verdicts = {one: (verdict, how) for verdict in texts for one, how in texts[verdict].items()}
    return Listed(verdicts, data["patterns"], data["nodes"], data["aggregates"], set(data["asked"]))


def summary(data: dict) -> list[str]:
    "How many calls and functions are the same."
    verdicts = ("same", "raises", "differs", "refused", SILENT)
    counts = ", ".join(f"{len(data[verdict])} {verdict}" for verdict in verdicts)
    named = {name_of(call) for verdict in ("same", "raises", "patterns") for call in data[verdict]}
    known = known_lines(known_of(data))
    missing = [line for line in lines() if line not in known]
    return [
        f"{data['engine']} beside {data['compared_with']}",
        f"calls, by types of arguments: {counts}; of any type: {len(data['patterns'])}",
        f"functions and operators: {len(data['asked'])} asked,"
        f" {len(named & set(data['asked']))} known for some types",
        f"of the {len(lines())} things that pipelines do most, {len(known)} are known; not these:",
        *(f"  {' '.join(line)}" for line in missing),
    ]


class Comparison:
    "Both engines, and the list that they write."

    def __init__(self) -> None:
        self.spark, self.sail = Engine("spark"), Engine("sail")
        described = self.spark.ask(None)
        self.examples = {name: [] for name in [*OPERATORS, "cast", "try_cast"]}
        self.examples |= {name: examples for name, (_, examples) in described.items()}
        self.aggregates = sorted(name for name, (group, _) in described.items() if group == "agg_funcs")
        self.listed = read_listed()

    def missing(self) -> list[str]:
        "What was not asked yet."
        return in_order({*self.examples, *(shape.name for shape in SHAPES)} - self.listed.asked)

    def ask_part(self, part: str, names: list[str], seconds: float, keep: Callable[[Listed], object]) -> None:
        "Ask for a part of what functions are asked; the rest stays."
        shapes = [shape for shape in SHAPES if shape.name in names] if part == "patterns" else []
        for patterns, verdicts in find_patterns(shapes, self.spark, self.sail):
            self.listed.patterns |= patterns
            self._add(verdicts)
        for name in names if part != "patterns" else []:
            cases = self._calls(name) if part == "calls" else self._timed_out(name)
            for case in cases if part == "timed-out" else []:
                self.listed.verdicts.pop(case.signature, None)
            self._add(ask_cases(cases, self.spark, self.sail, seconds))
            report(f"  {name}")
            keep(self.listed)
        keep(self.listed)

    def _calls(self, name: str) -> list[Case]:
        "Calls in pipelines; dates as texts are asked with the whole function."
        cases = called_in_pipelines(name, name in self.aggregates)
        return [case for case in cases if name not in READ_MOMENTS.split() or "string" not in case.types]

    def _timed_out(self, name: str) -> list[Case]:
        "What of a function is listed as timed out."
        silent = {one for one, verdict in self.listed.verdicts.items() if verdict[0] == SILENT}
        cases = self._cases(name)
        return [case for case in cases if case.signature in silent]

    def _cases(self, name: str) -> list[Case]:
        "All that a function is asked."
        cases = [case for case in operator_cases() if case.function == name]
        cases += called_in_pipelines(name, name in self.aggregates)
        return [*cases, *cases_of(name, self.examples.get(name, []), self.spark)]

    def ask(self, names: list[str], seconds: float, keep: Callable[[Listed], object]) -> None:
        "Ask for functions; what the list says of others stays."
        shapes = [shape for shape in SHAPES if shape.name in names]
        patterns, verdicts = {}, {}
        for some in find_patterns(shapes, self.spark, self.sail):
            patterns |= some[0]
            verdicts |= some[1]
        for count, name in enumerate(names):
            begun = time.monotonic()
            self.listed = self.listed.without({name})
            self.listed.patterns |= {one: made for one, made in patterns.items() if name_of(one) == name}
            self._add({one: verdict for one, verdict in verdicts.items() if name_of(one) == name})
            self._add(ask_cases(self._cases(name), self.spark, self.sail, seconds))
            self.listed.asked.add(name)
            keep(self.listed)
            report(f"  {count + 1} of {len(names)}: {name}, {time.monotonic() - begun:.0f} s")

    def ask_nodes(self) -> None:
        "Ask for the kinds of plan nodes."
        self.listed.nodes = find_nodes_that_agree(self.spark, self.sail)
        self.listed.aggregates = self.aggregates

    def _add(self, verdicts: dict[str, Verdict]) -> None:
        for signature, verdict in verdicts.items():
            self.listed.verdicts[signature] = both(self.listed.verdicts.get(signature), verdict)

    def close(self) -> None:
        self.spark.close()
        self.sail.close()


def compare_engines(
    chosen: list[str],  # Functions and operators, all where empty
    missing: bool = False,  # Only those that were not asked yet
    seconds: float = SECONDS,  # For a function
    parts: Iterable[str] = (),  # Of `PARTS`; all where there is none
    keep: Callable[[Listed], object] = lambda listed: None,  # Gets the list after each function
) -> Listed:
    "Ask both engines; what the list says of what is not asked stays."
    comparison = Comparison()
    if not chosen and not missing:
        comparison.ask_nodes()
        comparison.listed.asked.clear()
    names = chosen or comparison.missing()
    for part in parts:
        comparison.ask_part(part, names, seconds, keep)
    for at in range(0, 0 if parts else len(names), BATCH):
        comparison.ask(names[at : at + BATCH], seconds, keep)
    comparison.close()
    return comparison.listed


def prove(
    chosen: list[str],  # Functions, all where empty; what the list says of others stays
    missing: bool = False,  # Only those that were not asked yet
    seconds: float = SECONDS,  # For a function
    parts: Iterable[str] = (),  # Of `PARTS`; all where there is none
) -> list[str]:  # Lines to print
    "Compare functions, and write the list."
    listed = compare_engines(chosen, missing, seconds, parts, Listed.write)
    return summary(listed.as_data())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["serve", "compare", "prove", "missing"])
    parser.add_argument("names", nargs="*", help="an engine, or functions")
    parser.add_argument("--json", action="store_true", help="of `compare`: the list alone, as data")
    parser.add_argument("--missing", action="store_true", help="of `prove`: what was not asked yet")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for a function (%(default)s)")
    parser.add_argument("--only", choices=PARTS, action="append", default=[], help="a part")
    asked = parser.parse_intermixed_args()
    if asked.what == "serve":
        serve(asked.names[0])
    elif asked.what == "prove":
        print("\n".join(prove(asked.names, asked.missing, asked.seconds, asked.only)))
    elif asked.what == "missing":
        print("\n".join(Comparison().missing()))
    else:
        data = compare_engines(asked.names).as_data()
        print(json.dumps(data, indent=1, ensure_ascii=False))
        if not asked.json:
            print("\n".join(summary(data)))


if __name__ == "__main__":
    main()
