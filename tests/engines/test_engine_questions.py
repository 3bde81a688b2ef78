"Engines that are asked by tools/engines.py: one that hangs or dies is started anew, and no call is lost."

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "tools"))

import engine_answers
from engine_answers import SILENT, Engine
from engine_calls import CALLS, in_order, known_lines, lines, read_call
from engine_verdicts import Case, batches, both, compare_all, judge_query, tells_the_moment
from engines import called_in_pipelines, is_open
from pyspark.sql.types import ArrayType, DecimalType, IntegerType, StringType

from cdc_local.engines.known.listed import Known

SERVER = """
import json, sys, time
for line in sys.stdin:
    question = json.loads(line)
    texts = [text for group in question for text in group] if isinstance(question, list) else [question]
    if "hang" in texts:
        time.sleep(60)
    if "die" in texts:
        sys.exit(1)
    grouped = isinstance(question, list)
    print(json.dumps([["answer" for _ in group] for group in question] if grouped else "answer"), flush=True)
"""


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setattr(engine_answers, "SECONDS_TO_ANSWER", 0.5)
    found = Engine("any", [sys.executable, "-c", SERVER])
    yield found
    found.close()


@pytest.mark.parametrize("word, error", [("hang", SILENT), ("die", "died")])
def test_an_engine_that_gives_no_answer_is_started_anew(engine, word, error):
    assert engine.ask(word)["error"] == error
    assert engine.ask("SELECT 1") == "answer"


def test_of_many_questions_the_one_without_an_answer_is_found(engine):
    one, other, last = engine.ask([["a", "b"], ["c", "hang"], ["d"]])
    assert one == ["answer", "answer"] and last == ["answer"]
    assert [each["error"] for each in other] == [SILENT, SILENT]


def test_a_call_without_an_answer_is_neither_the_same_nor_lost(engine):
    case = Case("f", "(int)", "hang")
    assert judge_query(case, engine, engine)[0] == SILENT


ANSWER, NOTHING = {"type": "int32", "value": 1}, {"type": "int32", "value": None}
ERROR = {"error": "ArithmeticException", "says": "no"}


@pytest.mark.parametrize(
    "right, left, verdict",
    [
        ([ANSWER, ANSWER], [ANSWER, ANSWER], "same"),
        ([ANSWER, ERROR], [ANSWER, ERROR], "same"),
        ([ANSWER, ANSWER], [ANSWER, ERROR], "raises"),
        ([ANSWER, NOTHING], [ERROR, NOTHING], "refused"),  # of NULL every function gives NULL
        ([ANSWER, ERROR], [ANSWER, ANSWER], "differs"),
        ([ANSWER, ERROR], [ERROR, ANSWER], "differs"),
        ([ANSWER, ERROR], [ANSWER, {"error": "died", "says": "no"}], "differs"),
    ],
)
def test_what_sail_alone_raises_at_is_told_from_what_it_answers_otherwise(right, left, verdict):
    texts = [str(at) for at in range(len(right))]
    assert compare_all(Case("f", "(int)", "f(§a)"), texts, right, left)[0] == verdict


@pytest.mark.parametrize(
    "sql, is_clock",
    [
        ("SELECT unix_timestamp()", True),
        ("SELECT unix_timestamp", True),
        ("unix_timestamp(§a)", False),
        ("SELECT unix_timestamp('2016-04-08', 'yyyy-MM-dd')", False),
    ],
)
def test_a_clock_has_no_arguments(sql, is_clock):
    assert tells_the_moment(Case("unix_timestamp", "", sql)) == is_clock


def test_a_call_that_one_case_refuses_and_another_answers_raises():
    assert both(("refused", "f('x')"), ("same", "")) == ("raises", "f('x')")
    assert both(("same", ""), ("refused", "f('x')")) == ("raises", "f('x')")
    assert both(None, ("refused", "f('x')")) == ("refused", "f('x')")
    assert both(("differs", "no"), ("raises", "")) == ("differs", "no")


def test_the_calls_of_pipelines_are_read():
    assert read_call("lpad(array<string>, 10, '0')") == (
        "lpad",
        [ArrayType(StringType()), IntegerType(), StringType()],
        [None, 10, "0"],
    )
    assert read_call("cast(string AS decimal(10,2))")[1] == [StringType(), DecimalType(10, 2)]
    assert all(len(read_call(call)) == 3 for line in lines() for call in line)


def test_a_line_is_known_where_all_its_calls_are():
    line = ["sum(int)", "sum(bigint)"]
    assert line in lines()
    assert known_lines(Known(frozenset({"sum(int)"}), frozenset())) == []
    assert known_lines(Known(frozenset(line), frozenset())) == [line]


def test_what_pipelines_call_most_is_asked_first():
    assert in_order(["zip", "avg", "sum", "acos"]) == ["sum", "avg", "acos", "zip"]


def test_each_call_of_a_pipeline_has_values():
    names = {name for line in CALLS.strip().splitlines() for name in line.partition(": ")[0].split()}
    assert all(case.rows for name in names for case in called_in_pipelines(name, aggregates=False))


def test_a_size_is_never_large():
    (case,) = called_in_pipelines("lpad", aggregates=False)
    assert not any("2147483647" in value for row in case.rows for value in row)


def test_few_expressions_are_asked_in_one_query():
    cases = [Case("f", "(int)", "f(§a)", (("1",),) * count) for count in (100, 40, 20, 400, 1)]
    assert [[len(case.rows) for case in some] for some in batches(cases)] == [[100, 40], [20], [400], [1]]


@pytest.mark.parametrize(
    "function, types, is_known_by_types",
    [
        ("sqrt", "(double)", True),
        ("exp", "(double)", False),  # the last digit
        ("sum", "(int)", True),
        ("sum", "(double)", False),
        ("collect_list", "(int)", False),
        ("date_format", "(date, string)", False),
    ],
)
def test_what_types_alone_do_not_decide_is_not_known_by_them(function, types, is_known_by_types):
    assert is_open(Case(function, types, "")) != is_known_by_types
