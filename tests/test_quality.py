"""Rules against plain Python: whatever the rows hold, each lands in exactly one part, with its reasons."""

import random

import pytest
from pyspark.errors import AnalysisException, PySparkException

from cdc_local.engines.session import local_spark
from cdc_utils import bronze, gold, quality, silver

RULES = {"id_known": "id IS NOT NULL", "age_ok": "age >= 0 AND age < 130", "either": "id <> 'b' OR age = 7"}


@pytest.fixture(scope="module")
def spark():
    return local_spark()


def answers(customer, age):
    "The names of the rules a row breaks, by Python alone; None stands for SQL's NULL."

    def either():
        left, right = (None if customer is None else customer != "b"), (None if age is None else age == 7)
        return bool(left) or bool(right)  # NULL OR true is true

    passed = {
        "id_known": customer is not None,
        "age_ok": age is not None and 0 <= age < 130,
        "either": either(),
    }
    return [name for name in RULES if not passed[name]]


@pytest.fixture(scope="module")
def rows():
    chance = random.Random(7)
    return [
        (chance.choice(["a", "b", "", None]), chance.choice([None, -1, 0, 7, 129, 130])) for _ in range(300)
    ]


def key(row):
    return repr(tuple(row))


def test_every_row_in_one_part_with_its_reasons(spark, rows):
    frame = spark.createDataFrame(rows, "id string, age int").coalesce(1)
    kept = quality.kept(frame, RULES).collect()
    set_aside = quality.quarantine(frame, RULES).collect()
    assert sorted(map(key, kept)) == sorted(map(repr, [row for row in rows if not answers(*row)]))
    assert sorted(map(key, set_aside)) == sorted(repr((*row, answers(*row))) for row in rows if answers(*row))
    assert 0 < len(kept) < len(rows)


def test_counts_agree_with_python(spark, rows):
    failed = {name: sum(name in answers(*row) for row in rows) for name in RULES}
    counts = quality.rule_counts(spark.createDataFrame(rows, "id string, age int"), RULES).collect()
    assert [tuple(row) for row in counts] == [
        (name, len(rows) - failed[name], failed[name]) for name in RULES
    ]


def test_a_stream_is_split_like_a_batch(spark, tmp_path):
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "changes.json").write_text('{"id": " a ", "age": 30}\n{"id": "b"}\n{"id": "c"\n')
    schema = bronze.with_corrupt_record("id string, age int")
    rules = {"age_known": "age IS NOT NULL", "not_corrupt": "_corrupt_record IS NULL"}

    def split(reader):
        changes = silver.conform(bronze.with_origin(reader.schema(schema).json(str(landing))), text="id")
        return quality.kept(changes, rules), quality.quarantine(changes, rules)

    for number, (batch, stream) in enumerate(zip(split(spark.read), split(spark.readStream), strict=True)):
        assert stream.isStreaming
        query = (
            stream.writeStream.format("memory")
            .queryName(f"part_{number}")
            .trigger(availableNow=True)
            .option("checkpointLocation", str(tmp_path / f"checkpoint_{number}"))
            .start()
        )
        query.awaitTermination()
        arrived = spark.table(f"part_{number}")
        assert arrived.columns == batch.columns
        assert sorted(map(key, arrived.collect())) == sorted(map(key, batch.collect()))
        assert arrived.count() == number + 1


def test_columns_of_the_source_are_never_overwritten(spark, tmp_path):
    taken = spark.sql("SELECT 'mine' AS failed_rules, 1 AS age")
    with pytest.raises(AnalysisException, match="AMBIGUOUS_REFERENCE"):
        quality.quarantine(taken, {"age_ok": "age > 3"})
    (tmp_path / "changes.json").write_text('{"source_file": "mine"}\n')
    assert bronze.with_origin(spark.read.json(str(tmp_path))).columns == ["source_file", "source_file"]


def test_a_misspelt_column_is_named(spark):
    people = spark.sql("SELECT 'a' AS id, 30 AS age")
    for wrong in (
        lambda: quality.kept(people, {"age_ok": "aeg >= 0"}),
        lambda: silver.conform(people, text=["aeg"]),
        lambda: silver.conform(people, casts={"aeg": "int"}),
        lambda: gold.changes_per_key(people, "aeg"),
    ):
        with pytest.raises(AnalysisException, match="UNRESOLVED_COLUMN"):
            wrong()


def test_a_rule_that_raises_stops_and_try_cast_does_not(spark):
    spelled = spark.sql("SELECT * FROM VALUES ('30'), ('forty') AS people (age)")
    with pytest.raises(PySparkException, match="CAST_INVALID_INPUT"):
        quality.kept(spelled, {"age_ok": "cast(age AS int) > 0"}).collect()
    assert quality.kept(spelled, {"age_ok": "try_cast(age AS int) > 0"}).count() == 1


@pytest.mark.parametrize("rules", [{}, {" ": "id IS NOT NULL"}, {"id_known": " "}, {"id_known": None}])
def test_a_rule_without_a_name_or_a_predicate_is_refused(rules):
    with pytest.raises(quality.RuleError):
        quality.total(rules)
