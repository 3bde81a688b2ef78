"""Databricks' SQL for Spark: what is put in its place, what is refused and where, and that nothing else of a
text is touched."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("pyspark")

from cdc_local.errors import Location, PipelineError
from cdc_local.sql.constructs import CHECKED, CONSTRUCTS, find_function
from cdc_local.sql.dialect import translate
from cdc_local.sql.json_paths import find_json_paths, name_json_paths, write_json_paths
from cdc_local.sql.positions import Position

ROOT = Path(__file__).parents[2]
REFUSED = [construct for construct in CONSTRUCTS if construct.reason]


def shown(sql):
    "The paths of a text, as written"
    return [sql[path.start : path.stop] for path in find_json_paths(sql)]


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("SELECT iff(a > 0, 'iff(', b) FROM t -- iff(x)", "SELECT if(a > 0, 'iff(', b) FROM t -- iff(x)"),
        ("IFF (a, iff(b, 1, 2), 3)", "if (a, if(b, 1, 2), 3)"),
        ("getdate() > at", "current_timestamp() > at"),
        ("a?::int", "try_cast(a AS int)"),
        ("max(t.a[0]) ?:: decimal(10, 2) + 1", "try_cast(max(t.a[0])  AS  decimal(10, 2)) + 1"),
        ("iff(a, b, c)?::array<struct<x: int>>", "try_cast(if(a, b, c) AS array<struct<x: int>>)"),
        ("raw:a.b[0]?::int, :n?::int", "try_cast(raw:a.b[0] AS int), try_cast(:n AS int)"),
        ("raw:['a']::string?::int", "try_cast(raw:['a']::string AS int)"),
        ("a?::int?::string", "try_cast(try_cast(a AS int) AS string)"),
    ],
)
def test_what_spark_has_by_another_name_is_put_in_its_place(sql, expected):
    assert translate(sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT  a::int,\tb  FROM t WHERE v = :n AND w = ? -- c",
        "SELECT main.default.iff(a), t.ai_query FROM t",
        "SELECT ai_query, `secret` (1) FROM measure",
        "WITH ai_results (a) AS (SELECT 1), st_x (b) AS (SELECT 2) SELECT * FROM ai_results",
        "SELECT * FROM VALUES (1) AS h3_cells (a)",
        "SELECT 'never ends",
        "SELECT st_srid(st_geomfromwkb(x)), time_bucket(INTERVAL '1' HOUR, at)",
        "SELECT if(a, b, c), locate('a', b), try_cast(a AS int)",
    ],
)
def test_a_text_without_anything_special_stays_as_it_is(sql):
    assert translate(sql) == sql
    assert write_json_paths(sql) == sql


def test_the_texts_of_this_project_stay_as_they_are():
    for path in [*ROOT.glob("transformations/**/*.sql"), *ROOT.glob("tests/sql/test_statements.py")]:
        for sql in re.findall(r'"(SELECT [^"\n]*)"', path.read_text()):
            assert write_json_paths(translate(sql)) == sql


@pytest.mark.parametrize("construct", REFUSED, ids=[construct.name for construct in REFUSED])
def test_the_rest_is_refused_by_name_at_its_line_and_column(construct):
    with pytest.raises(PipelineError) as caught:
        translate(f"SELECT a,\n  {construct.example} AS b FROM t", Location("silver.sql", 7))
    start = max(construct.example.find("t@v1"), 0)
    assert str(caught.value.location) == f"silver.sql:8:{3 + start}"
    name = re.match(r"[\w@]+", construct.example[start:])[0]
    assert caught.value.message == f"{name} {construct.reason}"
    assert caught.value.hint == construct.instead != ""


def test_the_first_line_of_a_text_may_begin_anywhere():
    with pytest.raises(PipelineError, match=r"^a\.sql:3:15: ai_gen asks a model"):
        translate("x, ai_gen(y)", Position("a.sql", 3, column=12))
    with pytest.raises(PipelineError, match=r"ai_gen asks a model .* \(column 4 of the text\)"):
        translate("x, ai_gen(y)")
    with pytest.raises(PipelineError, match=r"\(line 2, column 2 of the text\)"):
        translate("x,\n ai_gen(y)")


def test_each_row_of_the_list_is_one_answer():
    assert len({construct.name for construct in CONSTRUCTS}) == len(CONSTRUCTS)
    for construct in CONSTRUCTS:
        assert bool(construct.becomes) != bool(construct.reason and construct.instead)
        if construct.name.replace("*", "").isidentifier():
            assert find_function(re.match(r"\w+", construct.example)[0]) == construct


@pytest.mark.parametrize(
    "sql, paths",
    [
        ("SELECT raw:id::int, raw:address.city FROM t", ["raw:id", "raw:address.city"]),
        ("raw:tags[0], t.raw:address['zip code'].x", ["raw:tags[0]", "t.raw:address['zip code'].x"]),
        (
            "raw:['fb:testid'], raw:`zip code`, raw:items[*].x",
            ["raw:['fb:testid']", "raw:`zip code`", "raw:items[*].x"],
        ),
        ("f(a, b):c, (SELECT max(x) FROM t):d, '{}':e", ["f(a, b):c", "(SELECT max(x) FROM t):d", "'{}':e"]),
        ("f(raw:a):b", ["raw:a", "f(raw:a):b"]),
        ("xs[0]:a, m['k']:b, `a b`:c", ["xs[0]:a", "m['k']:b", "`a b`:c"]),
        ("raw::string:a", ["raw::string:a"]),
        ("raw : a . b", ["raw : a . b"]),
        ("WHERE a = :n AND b IN (:m, :o) LIMIT :rows", []),
        ("CASE WHEN :a THEN :b ELSE :c END", []),
        ("CAST(x AS STRUCT<a: INT, b: ARRAY<STRUCT<c: INT>>>), x::struct<a:int>", []),
        ("a::int, ':x', \"a:b\" -- raw:id\n/* raw:id */", []),
    ],
)
def test_a_path_is_told_from_a_parameter_a_cast_and_a_type(sql, paths):
    assert shown(sql) == paths


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("SELECT raw:a.b::int, raw:c AS d FROM t", "SELECT raw:a.b::int AS `b`, raw:c AS d FROM t"),
        ("SELECT DISTINCT raw:a[0] FROM t", "SELECT DISTINCT raw:a[0] AS `a` FROM t"),
        ("SELECT raw:['x`y']", "SELECT raw:['x`y'] AS `x``y`"),
        ("raw:a", "raw:a AS `a`"),
        (
            "SELECT x, raw:a::decimal(3, 1)\nUNION SELECT 1, '2'",
            "SELECT x, raw:a::decimal(3, 1) AS `a`\nUNION SELECT 1, '2'",
        ),
        ("(SELECT raw:a FROM t)", "(SELECT raw:a AS `a` FROM t)"),
        ("SELECT raw:a + 1, f(raw:b), 1 + raw:c, raw:[0] FROM t", None),
        ("SELECT f(x, raw:a, y) FROM t WHERE b IN (raw:a, raw:b) ORDER BY x, raw:a", None),
        ("SELECT x FROM t GROUP BY x, raw:a", None),
        ("raw:a = 1", None),
    ],
)
def test_an_item_of_a_select_is_called_as_its_last_field(sql, expected):
    assert name_json_paths(sql) == (expected or sql)


@pytest.mark.parametrize(
    "sql, message",
    [
        ("raw:a[*].b[*]", "several [*] in one path"),
        ("raw:['it''s']", "' or ? in its name"),
        ("raw:['*']", "a field called '*'"),
    ],
)
def test_a_path_that_spark_cannot_follow_is_refused(sql, message):
    with pytest.raises(PipelineError) as caught:
        write_json_paths(f"SELECT\n {sql} FROM t", Location("a.sql", 1))
    assert message in str(caught.value) and str(caught.value).startswith("a.sql:2:2: ")
    assert "from_json" in caught.value.hint


def written_in_what_runs_where():
    "The table of the list, as the page has it"
    rows = ["| Databricks' SQL | here |", "|---|---|"]
    for construct in CONSTRUCTS:
        answer = f"becomes {construct.becomes}"
        if construct.reason:
            answer = f"refused by name: it {construct.reason}; {construct.instead}"
        rows.append(f"| [`{construct.name}`]({construct.address}) | {answer} |")
    return "\n".join(rows)


def test_what_runs_where_has_the_list():
    cells = json.loads((ROOT / "nbs/16_what_runs_where.ipynb").read_text())["cells"]
    page = "\n".join("".join(cell["source"]) for cell in cells)
    assert written_in_what_runs_where() in page and CHECKED in page, written_in_what_runs_where()
