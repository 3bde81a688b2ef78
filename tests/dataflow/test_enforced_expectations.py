"What happens to a row that breaks a rule, and how it is counted."

import pytest

pytest.importorskip("pyspark")

from pyspark.errors import PySparkException
from pyspark.sql import Observation
from pyspark.sql import functions as F

from cdc_local.dataflow.expectations import (
    SHOWN_CHARACTERS,
    enforce_expectations,
    expectation_counts,
    is_broken,
)
from cdc_local.dataflow.graph import Expectation

KNOWN = Expectation("known_id", "id IS NOT NULL", "drop")
POSITIVE = Expectation("positive", "amount > 0", "warn")
LARGE = Expectation("large", "amount > 15", "drop")
CURRENCY = Expectation("known_currency", "currency IN ('USD')", "fail")


@pytest.fixture
def orders(tiny):
    rows = [("a", 10, "EUR"), (None, 20, "EUR"), ("c", -5, "EUR"), ("d", None, "EUR")]
    return tiny.createDataFrame(rows, "id string, amount int, currency string").coalesce(1)


def test_a_rule_that_is_null_passes(orders):
    rows = orders.select(
        is_broken(KNOWN).alias("unknown"), is_broken(POSITIVE).alias("not_positive")
    ).collect()
    assert [tuple(row) for row in rows] == [(False, False), (True, False), (False, True), (False, False)]


def test_a_rule_drops_or_only_counts_as_its_action_says(orders):
    observation = Observation()
    kept = enforce_expectations(orders, [KNOWN, POSITIVE], observation).collect()
    assert [row.id for row in kept] == ["a", "c", "d"]
    assert observation.get == {"rows": 4, "dropped": 1, "failed_0": 1, "failed_1": 1}
    counts, written, dropped = expectation_counts("orders", [KNOWN, POSITIVE], [observation.get] * 2)
    assert [(each.name, each.passed_records, each.failed_records) for each in counts] == [
        ("known_id", 6, 2),
        ("positive", 6, 2),
    ]
    assert (written, dropped) == (6, 2)


def test_a_row_that_breaks_two_rules_is_dropped_once(orders):
    observation = Observation()
    enforce_expectations(orders, [KNOWN, LARGE], observation).collect()
    assert observation.get == {"rows": 4, "dropped": 3, "failed_0": 1, "failed_1": 2}


def test_a_rule_may_name_a_column_that_the_query_has_just_renamed_or_dropped(orders):
    renamed = orders.withColumnRenamed("id", "order_id").drop("currency")
    observation = Observation()
    kept = enforce_expectations(renamed, [KNOWN, LARGE, POSITIVE, CURRENCY], observation)
    assert kept.columns == ["order_id", "amount"]
    with pytest.raises(PySparkException, match="known_currency"):
        kept.collect()
    kept = enforce_expectations(renamed, [KNOWN, LARGE, POSITIVE], observation := Observation())
    assert [tuple(row) for row in kept.collect()] == [("d", None)]
    assert observation.get == {"rows": 4, "dropped": 3, "failed_0": 1, "failed_1": 2, "failed_2": 1}


def test_a_rule_names_no_column_that_is_nowhere(orders):
    for frame in (orders.select("id"), orders.groupBy("id").count()):
        with pytest.raises(PySparkException, match="nowhere"):
            enforce_expectations(frame, [Expectation("r", "nowhere > 1", "drop")], Observation())


def test_rows_are_counted_without_rules(orders):
    observation = Observation()
    enforce_expectations(orders, [], observation).collect()
    assert observation.get == {"rows": 4, "dropped": 0}


def test_a_failing_rule_names_itself_and_its_row(orders):
    late = orders.where("id = 'a'")
    with pytest.raises(PySparkException) as caught:
        enforce_expectations(late, [CURRENCY], Observation()).collect()
    row = '{"id":"a","amount":10,"currency":"EUR"}'
    rule = "EXPECTATION_VIOLATION rule 'known_currency' (currency IN ('USD'))"
    assert f"{rule} is broken by {row}" in str(caught.value)
    long = late.withColumn("id", F.repeat(F.lit("x"), 600))
    with pytest.raises(PySparkException) as caught:
        enforce_expectations(long, [CURRENCY], Observation()).collect()
    start = '{"id":"'
    assert f"is broken by {start}{'x' * (SHOWN_CHARACTERS - len(start))} SQLSTATE" in str(caught.value)
