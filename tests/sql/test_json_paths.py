"""Paths into JSON strings, computed by Spark: Databricks' documented examples, and an oracle in plain Python
over generated documents."""

import json
import random

import pytest

pytest.importorskip("pyspark")

from pyspark.errors import AnalysisException, PySparkException

from cdc_local.sql.json_paths import write_json_paths

# The document of docs.databricks.com/aws/en/semi-structured/json, shortened
STORE = json.dumps(
    {
        "store": {
            "fruit": [{"weight": 8, "type": "apple"}, {"weight": 9, "type": "pear"}],
            "basket": [[1, 2, {"b": "y", "a": "x"}], [3, 4], [5, 6]],
            "book": [
                {"title": "Sayings of the Century", "price": 8.95},
                {"title": "Moby Dick", "price": 8.99, "isbn": "0-553-21311-3"},
                {"title": "The Lord of the Rings", "price": 22.99, "isbn": "0-395-19395-8"},
            ],
            "bicycle": {"price": 19.95, "color": "red"},
        },
        "owner": "amy",
        "zip code": "94025",
        "fb:testid": "1234",
        "nothing": None,
        "empty": [],
        "text": '{"a": 1, "b": [1]}',
        "nulls": [None, "null", {"a": None}],
    },
    indent=1,
)


@pytest.fixture(scope="module")
def spark():
    from cdc_local.engines.spark.session import start_spark

    return start_spark()


@pytest.fixture(scope="module")
def extract(spark):
    "Compute paths of some documents: a row of values for each"

    def run(paths, *documents):
        frame = spark.createDataFrame([(document,) for document in documents], "raw string")
        columns = [write_json_paths(f"{path} AS c{n}") for n, path in enumerate(paths)]
        return [list(row) for row in frame.selectExpr(*columns).collect()]

    return run


EXAMPLES = {
    "raw:owner": "amy",
    "raw:OWNER": "amy",
    "raw:['owner']": "amy",
    "raw:['OWNER']": None,
    "raw:`zip code`": "94025",
    "raw:`Zip Code`": "94025",
    "raw:['fb:testid']": "1234",
    "raw:store.bicycle": '{"price":19.95,"color":"red"}',
    "raw:['store']['bicycle']": '{"price":19.95,"color":"red"}',
    "raw:STORE['bicycle'].Color": "red",
    "raw:store['BICYCLE']": None,
    "raw:store.fruit[1]": '{"weight":9,"type":"pear"}',
    "raw:store.fruit[2]": None,
    "raw:store.fruit.type": None,
    "raw:store.book[*].isbn": '[null,"0-553-21311-3","0-395-19395-8"]',
    "raw:store.book[*].PRICE": "[8.95,8.99,22.99]",
    "raw:store.basket[*]": '[[1,2,{"b":"y","a":"x"}],[3,4],[5,6]]',
    "raw:store.basket[*][0]": "[1,3,5]",
    "raw:store.basket[0][*]": '[1,2,{"b":"y","a":"x"}]',
    "raw:store.basket[0][2].b": "y",
    "raw:nothing": None,
    "raw:nothing.more": None,
    "raw:missing.more[1]": None,
    "raw:empty": "[]",
    "raw:empty[*]": "[]",
    "raw:empty[*].a": "[]",
    "raw:owner[*]": None,
    "raw:store[*].a": None,
    "raw:text": '{"a": 1, "b": [1]}',
    "raw:text.a": None,
    "raw:text.b[*]": None,
    "raw:nulls[0]": None,
    "raw:nulls[1]": "null",
    "raw:nulls[*]": '[null,"null",{"a":null}]',
    "raw:nulls[*].a": "[null,null,null]",
}


def test_the_documented_examples(extract):
    [found] = extract(list(EXAMPLES), STORE)
    assert dict(zip(EXAMPLES, found, strict=True)) == EXAMPLES


def test_what_is_no_json_has_nothing(extract):
    paths = ["raw:a", "raw:['a']", "raw:a[*].b", "raw:[0]"]
    assert extract(paths, None, "", "{", '{"a": ', "a", "17") == [[None] * 4] * 6
    assert extract(paths, '[{"a": 1}]') == [[None, None, None, '{"a":1}']]


def test_a_name_that_fits_two_fields_is_an_error(extract):
    both = '{"Name": 1, "name": 2}'
    assert extract(["raw:['name']"], both) == [["2"]]
    with pytest.raises(PySparkException, match="two fields of a JSON object"):
        extract(["raw:name"], both)


@pytest.mark.parametrize("base", ["5", "struct('a' AS a)", "parse_json('{}')", "array('a')", "true"])
def test_a_path_into_anything_else_is_no_string_in_silence(spark, base):
    for path in ("a", "['a']", "a[*].b"):
        with pytest.raises(AnalysisException, match="UNEXPECTED_INPUT_TYPE"):
            spark.sql(f"SELECT {write_json_paths(f'{base}:{path}')}")


def test_columns_may_be_called_as_what_a_path_is_written_with(spark):
    frame = spark.createDataFrame([('{"a": {"b": 1}}',)] * 2, "path string")
    found = frame.selectExpr(write_json_paths("path:a.b"), "1 AS __json").where(write_json_paths("b = '1'"))
    assert [row.b for row in found.collect()] == ["1", "1"]


def test_a_path_stands_wherever_an_expression_may(spark):
    towns = ['{"City": "Oslo", "n": 1}', '{"city": "Oslo", "n": 2}', '{"city": "Rome", "n": 5}']
    frame = spark.createDataFrame([(town,) for town in towns], "raw string").coalesce(1)
    frame.createOrReplaceTempView("towns_of_json")
    sql = """SELECT raw:city, sum(raw:n::int) AS n, max(raw:n) OVER (PARTITION BY raw:city) AS m
      FROM towns_of_json t JOIN (SELECT raw:n::int AS k FROM towns_of_json) s ON t.raw:n = s.k
      WHERE raw:n > 0 AND raw:city IN (SELECT u.raw:city FROM towns_of_json u) GROUP BY raw:city, raw:n
      HAVING sum(raw:n) < 5 ORDER BY n"""
    try:
        rows = spark.sql(write_json_paths(sql)).collect()
    finally:
        spark.catalog.dropTempView("towns_of_json")
    assert [row.asDict() for row in rows] == [
        {"city": "Oslo", "n": 1, "m": "2"},
        {"city": "Oslo", "n": 2, "m": "2"},
    ]


# An oracle


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


MISSING = object()


def follow(value, steps):
    "The value at the end of steps without `[*]`"
    for kind, text in steps:
        if kind == "index":
            value = value[text] if isinstance(value, list) and text < len(value) else MISSING
        elif not isinstance(value, dict):
            value = MISSING
        elif kind == "field":
            value = value.get(text, MISSING)
        else:
            fitting = [key for key in value if key.lower() == text.lower()]
            value = value[fitting[0]] if fitting else MISSING
        if value is MISSING or value is None:
            return None
    return value


def answer(document, steps):
    "What a path gives, as text"
    star = next((n for n, step in enumerate(steps) if step[0] == "all"), None)
    value = follow(document, steps[:star])
    if star is not None:
        if not isinstance(value, list):
            return None
        return compact([follow(one, steps[star + 1 :]) for one in value])
    return value if isinstance(value, str) or value is None else compact(value)


KEYS = ["a", "B", "ß", "x y", "Ä", "k.1"]


def random_document(random, depth=3):
    kind = random.randrange(8 if depth else 5)
    if kind < 5:
        return random.choice([None, True, 0, -1, 10**20, 1.5, "", "null", "[1]", '{"a":1}', 'q"\\\n', "Ä"])
    if kind == 5:
        return [random_document(random, depth - 1) for _ in range(random.randrange(4))]
    keys = random.sample(KEYS, random.randrange(5))
    return {key: random_document(random, depth - 1) for key in keys}


def random_steps(random):
    steps, stars = [], 0
    for _ in range(random.randint(1, 4)):
        kind = random.choice(["name", "name", "field", "index", "all"])
        if kind == "all" and stars:
            kind = "index"
        stars += kind == "all"
        text = random.randrange(3) if kind == "index" else random.choice([*KEYS, "A", "b", "X Y", "ä"])
        steps.append((kind, text))
    return steps


def written(steps):
    text = ""
    for n, (kind, name) in enumerate(steps):
        dot = "." if n else ""
        text += {"name": f"{dot}`{name}`", "field": f"['{name}']", "index": f"[{name}]", "all": "[*]"}[kind]
    return f"raw:{text}"


@pytest.mark.parametrize("seed", range(2))
def test_generated_documents_and_paths_agree_with_an_oracle(extract, seed):
    chance = random.Random(seed)
    documents = [{key: random_document(chance) for key in chance.sample(KEYS, 4)} for _ in range(30)]
    paths = [random_steps(chance) for _ in range(12)]
    texts = [json.dumps(document, ensure_ascii=chance.random() < 0.5) for document in documents]
    found = extract([written(steps) for steps in paths], *texts)
    for document, values in zip(documents, found, strict=True):
        expected = {written(steps): answer(document, steps) for steps in paths}
        assert dict(zip(map(written, paths), values, strict=True)) == expected, document
