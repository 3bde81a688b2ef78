"""Compare Sail with Spark, function by function, and write the list of what is known to be the same.

    python tools/prove.py engines                      all of it, into cdc_local/engines/known/
    python tools/engines.py compare abs substr         a few functions, shown, nothing written

What is asked: every example of Spark's own documentation, and generated values (NULL, extremes, empty,
unicode, decimals, far dates) for each argument of each function, one argument at a time and all together.
Both engines answer in processes of their own. An answer is a type and rows; it is the same where both are
equal, floating-point numbers to the last bit. An error is the same as an error, whatever it says.
"""

import argparse
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KNOWN = ROOT / "cdc_local/engines/known/functions.json"

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
VALUES["timestamp_ntz"] = [
    value.replace("timestamp ntz", "timestamp_ntz") for value in VALUES["timestamp_ntz"]
]
VALUES["struct<a:int,b:string>"] = [
    value.replace("named struct", "named_struct") for value in VALUES["struct<a:int,b:string>"]
]
for kind, texts in VALUES.items():
    VALUES[kind] = [f"cast(NULL as {kind})" if text == "NULL" else text for text in texts]

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
OPERATORS = {
    **{name: (f"({{0}} {name} {{1}})", NUMBERS) for name in ("+", "-", "*", "/", "%", "div")},
    **{name: (f"({{0}} {name} {{1}})", ORDERED) for name in ("=", "==", "!=", "<", "<=", ">", ">=", "<=>")},
    **{name: (f"({{0}} {name} {{1}})", ("boolean",)) for name in ("and", "or")},
    **{name: (f"({{0}} {name} {{1}})", ("int", "bigint")) for name in ("&", "|", "^")},
    **{name: (f"({{0}} {name} {{1}})", ("string",)) for name in ("like", "ilike", "rlike")},
    "in": ("({0} in ({1}))", ORDERED),
    "not": ("(not {0})", ("boolean",)),
    "negative": ("(- {0})", NUMBERS),
    "when": ("(case when {0} then {1} end)", ()),
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
    "left.unpivot(['k'], ['v'], 'name', 'value')",
    "spark.range(5)",
    "left.hint('broadcast')",
    *(
        f"left.alias('l').join(right.alias('r'), F.col('l.k') == F.col('r.k'), '{how}')"
        for how in ("inner", "left", "right", "full", "leftsemi", "leftanti")
    ),
    "left.join(right, 'k')",
    "left.crossJoin(right.withColumnRenamed('k', 'x').withColumnRenamed('v', 'y'))",
]

# Their answers are the moment's: types are compared, and what they say is not
CLOCKS = {"current_date", "curdate", "current_timestamp", "now", "localtimestamp", "unix_timestamp"}


@dataclass(frozen=True)
class Case:
    "A question to both engines, and which call of which function it is about."

    function: str
    types: str  # of its arguments, as `(int, string)`; empty where they can't be read
    sql: str  # a query, or a call of `a`, `b` … over the rows
    rows: tuple[tuple[str, ...], ...] = ()  # values of `a`, `b` … as SQL writes them
    aggregates: bool = False  # rows are one group


WRONG_CALL = ("AnalysisException", "ParseException")  # no such call: types, number of arguments


def report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


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


def examples_in(
    description: str,  # What DESCRIBE FUNCTION EXTENDED says
) -> list[str]:
    "Read the examples of a function's documentation."
    return [
        found.group(1).strip()
        for found in re.finditer(r"(?ms)^\s*> (SELECT .*?|WITH .*?|VALUES .*?);\s*$", description)
    ]


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


def over_values(call: str, rows: Iterable[tuple[str, ...]]) -> str:
    "Write a call over some rows."
    rows = list(rows)
    names = "abcdefgh"[: len(rows[0])]
    listed = ", ".join(f"({', '.join(row)})" for row in rows)
    return f"SELECT {call} AS r FROM VALUES {listed} AS t({', '.join(names)})"


def with_values(call: str, row: tuple[str, ...]) -> str:
    "Write a call over one row, its values in their places."
    return re.sub(r"§([a-h])", lambda found: row["abcdefgh".index(found.group(1))], call)


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
            yield Case(name, f"({types})", written(name, parts), tuple(rows_of([other])), aggregates)
    plain = [family_of(kind) and ("decimal(10,2)" if kind.startswith("decimal") else kind) for kind in kinds]
    if 1 < len(kinds) < 5 and all(plain):
        call = written(name, [f"§{letter}" for letter in "abcdefgh"[: len(kinds)]])
        yield Case(name, f"({', '.join(plain)})", call, tuple(rows_of(plain)), aggregates)


def operator_cases() -> Iterator[Case]:
    "Operators over each pair of types that they take, and every cast."
    for name, (form, kinds) in OPERATORS.items():
        for kind in kinds:
            pair = [kind] * (2 if "{1}" in form else 1)
            call = written(name, ["§a", "§b"][: len(pair)])
            yield Case(name, f"({', '.join(pair)})", call, tuple(rows_of(pair)))
    for kind in VALUES:
        pair = ["boolean", kind]
        yield Case("when", f"({', '.join(pair)})", written("when", ["§a", "§b"]), tuple(rows_of(pair)))
        for other in VALUES:
            yield Case("cast", f"({kind} AS {other})", f"cast(§a AS {other})", tuple(rows_of([kind])))


# ---- the engines, in processes of their own


def plain_type(kind) -> str:
    "Write an Arrow type without what is only its encoding."
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {plain_type(field.type)}' for field in kind)}>"
    if pa.types.is_map(kind):
        return f"map<{plain_type(kind.key_type)}, {plain_type(kind.item_type)}>"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{plain_type(kind.value_type)}>"
    return str(kind).removeprefix("large_").replace("_view", "")


def plain_value(value) -> object:
    "A value as JSON holds it, with nothing lost: 1 and 1.0 differ, and so do 0.0 and -0.0."
    if isinstance(value, dict):
        return {key: plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return value if value is None or isinstance(value, str | bool | int) else repr(value)


def ask(spark, sql: str) -> dict[str, object]:
    "Run a query: columns, types and rows, or the kind of error."
    try:
        table = spark.sql(sql).toArrow()
        types = [plain_type(field.type) for field in table.schema]
        columns = [[plain_value(value) for value in column.to_pylist()] for column in table.columns]
        return {"types": types, "rows": [list(row) for row in zip(*columns, strict=True)]}
    except Exception as error:
        from pyspark.errors import PySparkException

        unread = not isinstance(error, PySparkException)  # an answer that Python has no value for
        return {"error": type(error).__name__, "says": str(error)[:200], "unread": unread}


def ask_many(spark, engine: str, groups: list[list[str]]) -> list[list[dict]]:
    """Run expressions, one column each: its type and value, or the kind of error.

    Where a query fails, its halves are asked. A group is of one call: where Spark says that its types are
    wrong, they are for the whole group; Sail says so of values, too."""
    flat = [expression for group in groups for expression in group]
    answer = ask(spark, "SELECT " + ", ".join(f"{one} AS c{at}" for at, one in enumerate(flat)))
    if "error" not in answer:
        row = answer["rows"][0]
        cells = iter({"type": kind, "value": value} for kind, value in zip(answer["types"], row, strict=True))
        return [[next(cells) for _ in group] for group in groups]
    if len(groups) > 1:
        half = len(groups) // 2
        return ask_many(spark, engine, groups[:half]) + ask_many(spark, engine, groups[half:])
    if len(flat) == 1 or engine == "spark" and answer["error"] in WRONG_CALL:
        return [[answer for _ in flat]]
    half = len(flat) // 2
    return [ask_many(spark, engine, [flat[:half]])[0] + ask_many(spark, engine, [flat[half:]])[0]]


def ask_program(spark, engine: str, text: str) -> dict[str, object]:
    "Run a query in PySpark: types, rows in order of their text, and on Sail the plan's nodes."
    from pyspark.sql import functions

    from cdc_local.engines.known.plan import find_nodes

    rows = [("a", 1), ("a", 1), ("b", None), (None, 2), ("b", 5), ("", -3), ("c", 7)]
    left = spark.createDataFrame(rows, "k string, v int")
    right = spark.createDataFrame([*rows[:4], ("b", 9), (None, None)], "k string, v int")
    try:
        frame = eval(text, {"spark": spark, "F": functions, "left": left, "right": right})
        table = frame.toArrow()
        found = [json.dumps(plain_value(list(row.values()))) for row in table.to_pylist()]
        types = [f"{field.name} {plain_type(field.type)}" for field in table.schema]
        nodes = find_nodes(frame) if engine == "sail" else []
        return {"types": types, "rows": found if ".sort(" in text else sorted(found), "nodes": nodes}
    except Exception as error:
        return {"error": type(error).__name__, "says": str(error)[:200]}


def find_nodes_that_agree() -> list[str]:
    "Kinds of plan nodes of which no query differs."
    spark, sail = Engine("spark"), Engine("sail")
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
    spark.close()
    sail.close()
    return sorted(good - bad)


def functions_of(spark) -> dict[str, list[str]]:
    "Spark's functions, with the examples of each."
    listed = spark._jvm.org.apache.spark.sql.api.python.PythonSQLUtils.listBuiltinFunctionInfos()
    return {info.getName(): examples_in(info.getExamples()) for info in listed}


def start(engine: str):
    "A session that answers small queries soon."
    from cdc_local.engines.session import local_spark

    quick = {
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.shuffle.partitions": "1",
        "spark.default.parallelism": "1",
    }
    return local_spark(options=quick if engine == "spark" else None, engine=engine)


def serve(engine: str) -> None:
    "Answer a question a line on standard input, an answer a line on standard output."
    spark = start(engine)
    for line in sys.stdin:
        question = json.loads(line)
        if question is None:
            answer = functions_of(spark)
        elif isinstance(question, dict):
            answer = ask_program(spark, engine, question["program"])
        else:
            answer = ask(spark, question) if isinstance(question, str) else ask_many(spark, engine, question)
        print(json.dumps(answer), flush=True)


class Engine:
    "An engine in a process; where a query ends the process, that is its answer."

    def __init__(self, name: str) -> None:
        self.name, self.process = name, None

    def ask(self, question):
        "Ask a query (text), groups of expressions (lists) or for the functions (None)."
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "serve", self.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.process = None
        died = {"error": "died", "says": "the engine ended"}
        if not isinstance(question, list):
            return died
        return [self.ask([group])[0] if len(question) > 1 else [died for _ in group] for group in question]

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


def judge_query(case: Case, spark: Engine, sail: Engine) -> tuple[str, str]:
    "Ask both engines a query."
    sql = case.sql
    if case.aggregates:
        sql = over_values(case.sql.replace("§", ""), case.rows)
    right = spark.ask(sql)
    if right.get("error") in WRONG_CALL:  # of the documentation, too: one that needs another setting
        return "no call", ""
    left = sail.ask(sql)
    right, left = (
        one if "error" in one else {"type": ", ".join(one["types"]), "value": one["rows"]}
        for one in (right, left)
    )
    return compare(case, sql, right, left)


def judge_rows(case: Case, right: list[dict], sail: Engine) -> tuple[str, str]:
    "Compare Spark's answers for each row with those of Sail over a column, and over values by themselves."
    if all(one.get("error") in WRONG_CALL for one in right):
        return "no call", ""
    call = case.sql.replace("§", "")
    batch = sail.ask(over_values(call, case.rows))
    if "error" in batch:
        column = [sail.ask(over_values(call, [row])) for row in case.rows]
        left = [
            one if "error" in one else {"type": one["types"][0], "value": one["rows"][0][0]} for one in column
        ]
    else:
        left = [{"type": batch["types"][0], "value": row[0]} for row in batch["rows"]]
    written_out = [with_values(case.sql, row) for row in case.rows]
    verdict = worst(
        compare(case, f"{call} of {', '.join(row)}", one, other)
        for row, one, other in zip(case.rows, right, left, strict=True)
    )
    if verdict[0] != "same":
        return verdict
    alone = sail.ask([written_out])[0]
    return worst(
        compare(case, text, one, other) for text, one, other in zip(written_out, right, alone, strict=True)
    )


RANKS = ("no call", "same", "refused", "differs")


def worst(verdicts: Iterable[tuple[str, str]]) -> tuple[str, str]:
    "The first of the worst."
    return max(verdicts, key=lambda verdict: RANKS.index(verdict[0]))


def compare(case: Case, text: str, right: dict, left: dict) -> tuple[str, str]:
    "Compare two answers."
    text = " ".join(text.split())[:120]
    if right.get("unread") or left.get("unread"):
        return "differs", f"{text}: an answer can't be read, {right.get('error') or left.get('error')}"
    if "error" in right and "error" in left:
        return "same", ""
    if "error" in left:
        return "refused", f"{text}: {left['says'][:80]}".replace("\n", " ")
    if "error" in right:
        return "differs", f"{text}: Spark raises {right['error']}, Sail answers {short(left['value'])}"
    if right["type"] != left["type"]:
        return "differs", f"{text}: Spark gives {right['type']}, Sail {left['type']}"
    if right["value"] == left["value"] or case.function in CLOCKS:
        return "same", ""
    return "differs", f"{text}: Spark gives {short(right['value'])}, Sail {short(left['value'])}"


def short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 60 else f"{text[:57]}…"


# ---- what is asked of all functions


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


def judge(cases: list[Case], spark: Engine, sail: Engine) -> Iterator[tuple[Case, tuple[str, str]]]:
    "The verdict on each case."
    scalar = [case for case in cases if case.rows and not case.aggregates]
    groups = [[with_values(case.sql, row) for row in case.rows] for case in scalar]
    answers = dict(zip(scalar, spark.ask(groups) if groups else [], strict=True))
    for case in cases:
        yield (
            case,
            judge_rows(case, answers[case], sail) if case in answers else judge_query(case, spark, sail),
        )


def find_verdicts(chosen: set[str], keep) -> dict[str, tuple[str, str]]:
    "Signature -> verdict and how it differs; the worst of its cases counts. `keep` gets it now and then."
    spark, sail = Engine("spark"), Engine("sail")
    found: dict[str, tuple[str, str]] = {}
    operators = list(operator_cases())
    work = {name: [case for case in operators if case.function == name] for name in [*OPERATORS, "cast"]}
    for name, examples in spark.ask(None).items():
        work.setdefault(name, []).extend([examples])
    for count, name in enumerate(name for name in work if not chosen or name in chosen):
        cases = [case for case in work[name] if isinstance(case, Case)]
        for examples in [one for one in work[name] if not isinstance(one, Case)]:
            cases += cases_of(name, examples, spark)
        for case, verdict in judge(cases, spark, sail):
            if verdict[0] != "no call":
                signature = case.function + (case.types or "(?)")
                found[signature] = worst([found.get(signature, ("no call", "")), verdict])
        if count % 25 == 24:
            report(f"  {count + 1} of {len(work)} functions and operators")
            keep(found)
    spark.close()
    sail.close()
    return found


def read_known() -> dict[str, tuple[str, str]]:
    "The verdicts of the list as it is."
    if not KNOWN.exists():
        return {}
    data = json.loads(KNOWN.read_text(encoding="utf-8"))
    texts = {verdict: {one: "" for one in data[verdict]} for verdict in ("same", "refused")}
    texts["differs"] = data["differs"]
    return {one: (verdict, how) for verdict in texts for one, how in texts[verdict].items()}


def read_nodes() -> list[str]:
    "The plan nodes of the list as it is."
    return json.loads(KNOWN.read_text(encoding="utf-8")).get("nodes", []) if KNOWN.exists() else []


def as_data(found: dict[str, tuple[str, str]], nodes: list[str]) -> dict[str, object]:
    "The list as it is kept."
    kept = defaultdict(dict)
    for signature, (verdict, how) in sorted(found.items()):
        if verdict == "differs" or "(?)" not in signature:  # without types, a call can't be known
            kept[verdict][signature] = how
    return {
        "engine": f"pysail {version('pysail')}",
        "compared_with": f"pyspark {version('pyspark')}",
        "clocks": sorted(CLOCKS),
        "nodes": nodes,
        "same": sorted(kept["same"]),
        "differs": kept["differs"],
        "refused": sorted(kept["refused"]),
    }


def summary(data: dict) -> list[str]:
    "How many calls and functions are the same."

    def names(signatures):
        return {signature.partition("(")[0] for signature in signatures}

    same, differs, refused = (data[verdict] for verdict in ("same", "differs", "refused"))
    whole = names(same) - names(differs) - names(refused)
    return [
        f"{data['engine']} beside {data['compared_with']}",
        f"calls, by types of arguments: {len(same)} the same, {len(differs)} differ, {len(refused)} refused",
        f"functions: {len(whole)} the same in all that was asked, {len(names(differs))} differ somewhere",
        f"plan nodes: {len(data['nodes'])} the same",
    ]


def prove(
    chosen: set[str],  # Functions, all where empty; what the list says of others stays
) -> list[str]:  # Lines to print
    "Compare functions, and write the list."
    kept = {one: said for one, said in read_known().items() if chosen and one.partition("(")[0] not in chosen}

    nodes = read_nodes() if chosen else find_nodes_that_agree()

    def write(found: dict[str, tuple[str, str]]) -> dict:
        data = as_data(kept | found, nodes)
        KNOWN.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return data

    return summary(write(find_verdicts(chosen, write)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["serve", "compare", "prove"])
    parser.add_argument("names", nargs="*", help="an engine, or functions")
    parser.add_argument("--json", action="store_true", help="of `compare`: the list alone, as data")
    asked = parser.parse_intermixed_args()
    if asked.what == "serve":
        serve(asked.names[0])
    elif asked.what == "prove":
        print("\n".join(prove(set(asked.names))))
    else:
        data = as_data(find_verdicts(set(asked.names), lambda found: None), read_nodes())
        print(json.dumps(data, indent=1, ensure_ascii=False))
        if not asked.json:
            print("\n".join(summary(data)))


if __name__ == "__main__":
    main()
