"What is known to be the same on Sail and Spark: the list, a sample of it asked anew, and what reads plans."

import hashlib
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from pyspark.sql import types

from cdc_local.engines.known.listed import Known, parts_of, read_known

ROOT = Path(__file__).parents[2]
LIST = ROOT / "cdc_local/engines/known/functions.json"
SAMPLE = 6  # functions that are asked anew
VERDICTS = ("same", "raises", "differs", "refused", "timed out")


@pytest.fixture(scope="module")
def data():
    return json.loads(LIST.read_text(encoding="utf-8"))


def test_the_list_is_of_the_engines_that_are_installed(data):
    again = "make prove ARGS=engines writes it anew"
    assert data["engine"] == f"pysail {version('pysail')}", again
    assert data["compared_with"] == f"pyspark {version('pyspark')}", again


def test_the_list_is_sorted_and_each_call_has_one_verdict(data):
    for part in (*VERDICTS, "nodes", "clocks", "asked"):
        assert list(data[part]) == sorted(set(data[part]))
    calls = [call for verdict in VERDICTS for call in data[verdict]]
    assert len(calls) == len(set(calls))
    assert [call for call in calls if not re.fullmatch(r"[^(]+\(.*\)", call)] == []


def test_what_differs_in_silence_is_not_on_the_list(data):
    known = read_known()
    for sign in "+-*":
        assert f"{sign}(int, int)" in data["differs"] and f"{sign}(int, int)" not in known.calls
    assert not known.calls & data["differs"].keys()
    assert {"filter", "project", "join INNER", "aggregate GROUPBY"} <= known.nodes


def test_a_sample_of_the_list_is_the_same_when_it_is_asked_anew(data):
    "Functions are chosen by a hash of their names: always the same ones, and none by hand"
    asked, patterns = set(data["asked"]), {name_of(pattern) for pattern in data["patterns"]}
    general = {name_of(pattern) for pattern, made_of in data["patterns"].items() if made_of}
    chosen = choose({name_of(call) for call in data["same"]} & asked - patterns, SAMPLE)
    chosen += choose(patterns & asked - general, 2)
    command = [sys.executable, ROOT / "tools/engines.py", "compare", "--json", *chosen]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1500)
    again = json.loads(done.stdout)
    for verdict in ("same", "raises", "refused", "differs", "patterns"):
        before = {call for call in data[verdict] if name_of(call) in chosen}
        assert {call for call in again[verdict] if name_of(call) in chosen} == before, verdict


def name_of(call):
    return call.partition("(")[0]


def choose(names, count):
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:count]


TYPES = {kind.simpleString(): kind for kind in (types.IntegerType(), types.StringType(), types.DateType())}
TYPES |= {f"array<{name}>": types.ArrayType(kind) for name, kind in TYPES.items()}
TYPES |= {f"map<{name},int>": types.MapType(TYPES[name], TYPES["int"]) for name in ("string", "int")}
TYPES["void"] = types.NullType()
TYPES |= {f"decimal({digits},2)": types.DecimalType(digits, 2) for digits in (10, 38)}
PATTERNS = {
    "coalesce(T, ...)": {"int", "date", "void", "array", "<int>"},
    "element_at(map<T,U>, T)": {"map", "key string", "string", "<int>"},
    "left(string, natural)": set(),
    "date_format(date, 'yyyy')": set(),
    "regexp_replace(string, solid, plain)": set(),
    "regexp_extract(string, groups, natural)": set(),
    "split(string, text)": set(),
    "get_json_object(string, path)": set(),
    "sum(decimal)": {"decimal"},
    "<(date, day)": set(),
    "row_number over()": set(),
}


@pytest.mark.parametrize(
    "name, arguments, constants, is_known",
    [
        ("coalesce", "int, int, int", [], True),
        ("coalesce", "void, int", [], True),
        ("coalesce", "int, date", [], False),
        ("coalesce", "array<int>, array<int>", [], True),
        ("coalesce", "array<date>, array<date>", [], False),
        ("coalesce", "date, date", [], False),  # known to differ
        ("element_at", "map<string,int>, string", [], True),
        ("element_at", "map<string,int>, int", [], False),
        ("element_at", "map<int,int>, int", [], False),
        ("left", "string, int", [None, 3], True),
        ("left", "string, int", [None, -3], False),
        ("left", "string, int", [None, None], False),
        ("date_format", "date, string", [None, "yyyy"], True),
        ("date_format", "date, string", [None, "yy"], False),
        ("regexp_replace", "string, string, string", [None, "^[^0-9]+ab*", "-"], True),
        ("regexp_replace", "string, string, string", [None, r"\d", ""], False),
        ("regexp_replace", "string, string, string", [None, "a.b", ""], False),
        ("regexp_replace", "string, string, string", [None, "[a&&b]", ""], False),
        ("regexp_replace", "string, string, string", [None, "a", "$1"], False),
        ("regexp_replace", "string, string, string", [None, "a*", ""], False),  # it matches nothing, too
        ("regexp_replace", "string, string, string", [None, "[0-9]?a+b*", ""], True),
        ("regexp_replace", "string, string, string", [None, "[a--b]", ""], False),
        ("regexp_extract", "string, string, int", [None, "^([a-z]+)-([0-9]*)", 2], True),
        ("regexp_extract", "string, string, int", [None, "(a|b)", 1], False),
        ("regexp_extract", "string, string, int", [None, "(?i)a", 0], False),
        ("split", "string, string", [None, ","], True),
        ("split", "string, string", [None, ""], False),
        ("split", "string, string", [None, "|"], False),
        ("get_json_object", "string, string", [None, "$.a.b_1"], True),
        ("get_json_object", "string, string", [None, "$.a[*]"], False),
        ("sum", "decimal(10,2)", [], True),
        ("sum", "decimal(38,2)", [], False),
        ("<", "date, string", [None, "2024-02-29"], True),
        ("<", "date, string", [None, "2023-02-29"], False),
        ("<", "date, string", [None, "2024-2-9"], False),
        ("<", "date, string", [None, "9999-12-31"], False),
        ("row_number over", "", [], True),
        ("rank over", "", [], False),
    ],
)
def test_a_pattern_is_of_types_and_constants(name, arguments, constants, is_known):
    differs = frozenset({"coalesce(date, date)", "left(string, int)"})
    patterns = {pattern: frozenset(made_of) for pattern, made_of in PATTERNS.items()}
    known = Known(frozenset(), frozenset(), differs, patterns)
    kinds = [TYPES[kind] for kind in arguments.split(", ") if kind]
    assert known.has(name, kinds, constants or None) == is_known


@pytest.mark.parametrize("kinds", ["all", "orderable", "decimals", "few"])
def test_each_type_that_a_shape_is_asked_with_has_a_part_to_blame(kinds):
    sys.path.append(str(ROOT / "tools"))
    from engine_shapes import instances, values_of

    for instance in instances(kinds):
        assert instance.new in parts_of(instance.kind)
        assert values_of(instance.kind)[1] == f"cast(NULL as {instance.kind.simpleString()})"


READ = """
import json
from pyspark.sql import Window
from pyspark.sql import functions as F
from cdc_local.engines.engine import engine_of
from cdc_local.engines.known.plan import find_unknown, find_unknown_rule
from cdc_local.engines.known.listed import Known
from cdc_local.engines.known.state import describe_state
from cdc_local.engines.session import local_spark
spark = local_spark(engine='sail')
frame = spark.createDataFrame([(1, 'a')], 'a int, b string')
other = frame.alias('o').select(F.col('a').alias('x'))
calls = frozenset({'upper(string)', '>(int, int)', 'cast(int AS string)', 'sum(int)'})
calls |= {'*(decimal(10,2), int)', 'cast(int AS decimal(10,2))'}
calls |= {'+ that fits(int, int)', 'year(date)', 'current_date()'}
nodes = frozenset({'project', 'filter', 'local_relation', 'join INNER', 'aggregate GROUPBY'})
patterns = {'coalesce(T, ...)': {'int', 'struct', '<int>'}, 'array(T, ...)': {'int'}}
patterns['group by(T)'] = {'string'}
known = Known(calls, nodes, frozenset(), {name: frozenset(made_of) for name, made_of in patterns.items()})
queries = {
    'known': frame.filter(frame.a > 1).filter(F.upper('b') == 'A').select(F.upper(frame.a.cast('string'))),
    'joined': frame.join(other, F.col('a') > F.col('x')),
    'summed': frame.groupBy('b').agg(F.sum('a')),
    'cast': frame.select(frame.a.cast('double')),
    'tried': frame.select(frame.a.try_cast('string')),
    'nested': frame.select(F.sum('a') / F.count('a')),
    'text': frame.filter('a > 1'),
    'sql': spark.sql('SELECT :one', {'one': 1}),
    'distinct': frame.select(F.sum_distinct('a')),
    'python': frame.select(F.udf(lambda value: value)('a')),
    'lambda': frame.select(F.transform(F.array('a'), lambda value: value > 1)),
    'window': frame.select(F.sum('a').over(Window.partitionBy('b'))),
    'sorted': frame.sort('a'),
    'part': frame.dropDuplicates(['a']),
    'struct': frame.select(F.coalesce(F.struct('a'), F.struct('a'))),
    'deep': frame.select(F.coalesce(F.struct('b'), F.struct('b'))),
    'mixed': frame.select(F.coalesce('a', 'b')),
    'case': frame.filter("CASE WHEN upper(b) = 'A' THEN a END > 1 AND nope(a)"),
    'twice': frame.filter("a > 1; DROP TABLE x"),
    'field': frame.select(F.struct('a')['a']),
    'text lambda': frame.filter("exists(array(a), x -> x > 1)"),
    'grouped': frame.groupBy('a').agg(F.sum('a')),
    'decimal by a column': frame.select(F.col('a').cast('decimal(10,2)') * F.col('a')),
    'decimal by a literal': frame.select(F.col('a').cast('decimal(10,2)') * 2),
    'decimal by a literal in text': frame.filter('cast(a as decimal(10,2)) * 2L > 1'),
    'fits': frame.select(F.year(F.current_date()) + 1),
    'may not fit': frame.select(F.col('a') + 1),
    'text fits': frame.filter('year(current_date()) + 1 > a'),
}
found = {name: find_unknown(query, known) for name, query in queries.items()}
rules = ['a > 1', "upper(b) LIKE 'A%'", 'a >', F.col('a') > 1, F.upper('b') == 'A']
found['rules'] = [find_unknown_rule(frame, rule, known) for rule in rules]
stream = engine_of(spark).stand_in_stream(spark, frame.schema)
streams = {
    'rows': stream.where('a > 1').withColumn('c', F.upper('b')).join(frame, 'b', 'left'),
    'union': stream.union(stream),
    'sorted': stream.sort('a'),
    'limited': stream.limit(1),
    'grouped': stream.groupBy('a').count(),
    'counted': stream.select(F.count('a')),
    'counted in a text': stream.select(F.expr('count(a) + 1')),
    'windowed': stream.select(F.lead('a').over(Window.partitionBy('b').orderBy('a'))),
    'both': stream.join(stream.alias('other'), 'a'),
    'the other side': frame.join(stream, 'a', 'left'),
    'united': stream.union(frame),
    'unread': stream.where('a >'),
    'a table': frame.sort('a'),
    'beside a table': stream.join(frame.groupBy('a').count(), 'a'),
}
found['streams'] = {name: describe_state(query) for name, query in streams.items()}
found['stand-in'] = find_unknown(stream, known)
found['own stream'] = find_unknown(spark.readStream.format('rate').load(), known)
frame.createOrReplaceTempView('t')
texts = {
    'plain': 'SELECT upper(b) AS c FROM t WHERE a > 1',
    'grouped': 'WITH c AS (SELECT a, sum(a) AS n FROM t GROUP BY a) SELECT n FROM c WHERE a > 1 ORDER BY 1',
    'joined': "SELECT * FROM t LEFT JOIN (SELECT a FROM t) USING (a)",
    'in': 'SELECT a FROM t WHERE a IN (SELECT a FROM t)',
    'sets': 'SELECT a FROM t GROUP BY CUBE (a)',
    'braces': "SELECT upper('{}') AS c FROM t",
}
found['texts'] = {name: find_unknown(spark.sql(text), known) for name, text in texts.items()}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def unknown():
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "query, sentences",
    [
        ("known", ["`==(string, string)` is not known"]),
        ("joined", ["the plan node `subquery_alias` is not known"]),
        ("summed", []),
        ("cast", ["`cast(int AS double)` is not known"]),
        ("tried", ["`try_cast(int AS string)` is not known"]),
        ("nested", ["`/(bigint, bigint)` is not known", "`count(int)` is not known"]),
        ("text", []),
        ("twice", ["the SQL text `a > 1; DROP TABLE x` is not read"]),
        ("sql", ["the SQL text `:one` is not read"]),
        ("distinct", ["`sum DISTINCT(int)` is not known"]),
        ("python", ["`python 101(int, string)` is not known"]),
        ("lambda", ["`transform(array<int>, lambda)` is not known"]),
        ("text lambda", ["`cast(void AS int)` is not known", "`exists(array<int>, lambda)` is not known"]),
        ("window", ["`partition by(string)` is not known", "`sum over(int)` is not known"]),
        ("sorted", ["`sort by(int)` is not known", "the plan node `sort` is not known"]),
        ("part", ["the plan node `deduplicate by some columns` is not known"]),
        ("struct", ["`struct(int)` is not known"]),
        ("mixed", ["`coalesce(int, string)` is not known"]),
        ("field", ["`[](struct<a:int>, string)` is not known", "`struct(int)` is not known"]),
        ("grouped", ["`group by(int)` is not known"]),
        ("decimal by a column", []),
        ("decimal by a literal", ["`*(decimal(10,2), int)` is not known"]),
        ("fits", []),
        ("may not fit", ["`+(int, int)` is not known"]),
        ("text fits", []),
    ],
)
def test_what_a_query_has_that_the_list_has_not_is_said(unknown, query, sentences):
    assert unknown[query] == sentences


def test_a_decimal_by_a_long_literal_is_not_known_either(unknown):
    assert "`*(decimal(10,2), bigint)` is not known" in unknown["decimal by a literal in text"]


def test_what_a_type_is_made_of_counts_at_every_depth(unknown):
    "The pattern of coalesce has int and struct<int>, and no string inside a struct"
    assert "`coalesce(struct<b:string>, struct<b:string>)` is not known" in unknown["deep"]


def test_what_can_not_be_typed_is_not_known(unknown):
    assert "`nope(int)` is not known" in unknown["case"]
    assert "`and` is not known: the types of its arguments can't be had" in unknown["case"]


def test_a_rule_is_read_as_text_and_as_a_column(unknown):
    text = "the SQL text `a >` is not read"
    assert unknown["rules"] == [
        [],
        ["`like(string, string)` is not known"],
        [text],
        [],
        ["`==(string, string)` is not known"],
    ]


def test_what_stands_for_a_stream_is_known_and_a_stream_of_the_engine_is_not(unknown):
    assert unknown["stand-in"] == []
    assert unknown["own stream"] == ["the plan node `read rate as a stream` is not known"]


def test_what_a_query_keeps_of_a_stream_is_said(unknown):
    assert unknown["streams"] == {
        "rows": None,
        "union": None,
        "sorted": "it sorts a stream",
        "limited": "it takes the first rows of a stream",
        "grouped": "it aggregates a stream, which keeps state",
        "counted": "it computes `count` of a stream, which keeps state",
        "counted in a text": "it computes `count` of a stream, which keeps state",
        "windowed": "it has a window function over a stream",
        "both": "it joins two streams, which keeps state",
        "the other side": "it joins a table with a stream on the wrong side of LEFT_OUTER",
        "united": "it unites a stream with a table",
        "unread": "it has the SQL text `a >`, which is not read",
        "a table": None,
        "beside a table": None,
    }


def test_the_text_of_a_query_is_read(unknown):
    table, texts = "the plan node `read table` is not known", unknown["texts"]
    assert texts["plain"] == texts["braces"] == [table]
    assert texts["grouped"] == [
        "`group by(int)` is not known",
        "`sort by(bigint)` is not known",
        table,
        "the plan node `sort` is not known",
    ]
    assert set(texts["joined"]) == {
        "`group by(int)` is not known",
        table,
        "the plan node `join LEFT_OUTER` is not known",
        "the plan node `subquery_alias` is not known",
    }
    assert "the SQL text `a IN (SELECT a FROM t)` is not read" in texts["in"]
    assert any("is not read" in sentence for sentence in texts["sets"])
