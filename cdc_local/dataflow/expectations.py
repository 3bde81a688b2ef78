"""Warn, drop or fail: what happens to a row that breaks a rule, and how it is counted without a second look at the data."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Observation, Row
from pyspark.sql import functions as F

from cdc_local.dataflow.graph import Expectation
from cdc_utils.results import ExpectationCount


def is_broken(
    expectation: Expectation,  # A rule
) -> Column:  # True where the row breaks it, else false; never NULL
    "Tell rows for which the rule is false; NULL passes, as on Databricks."
    constraint = expectation.constraint
    return ~F.coalesce(F.expr(constraint) if isinstance(constraint, str) else constraint, F.lit(True))


def count_rules(
    expectations: Sequence[Expectation],  # Rules of one dataset
) -> list[Column]:  # Aggregates: `rows`, `dropped`, and `failed_0`, `failed_1`, … in the order of the rules
    "Count rows read, rows to drop, and failures per rule."
    drops = [is_broken(rule) for rule in expectations if rule.action == "drop"]
    dropped = F.count_if(F.greatest(F.lit(False), F.lit(False), *drops))
    failed = [
        F.count_if(is_broken(rule)).alias(f"failed_{number}") for number, rule in enumerate(expectations)
    ]
    return [F.count(F.lit(1)).alias("rows"), dropped.alias("dropped"), *failed]


VIOLATION = "EXPECTATION_VIOLATION"  # Starts the message of a failed `expect_or_fail`

SHOWN_CHARACTERS = 500  # Characters of the row that the message shows


def fail_at_row(
    rule: Expectation,  # A rule that fails the update
) -> Column:  # True; raises where the row breaks the rule
    "Fail the query at the first row that breaks the rule, naming both."
    reason = F.concat(
        F.lit(f"{VIOLATION} rule {rule.name!r} ({rule.constraint}) is broken by "),
        F.left(F.to_json(F.struct("*")), F.lit(SHOWN_CHARACTERS)),
    )
    return F.when(is_broken(rule), F.raise_error(reason).cast("boolean")).otherwise(F.lit(True))


def enforce_expectations(
    frame: DataFrame,  # Batch or streaming rows
    expectations: Sequence[Expectation],  # Rules of the dataset
    observation: Observation | str,  # Collects the counts: an Observation for a batch, a name for a stream
) -> DataFrame:  # The rows to keep
    "Count, then fail or drop, as the rules say."
    frame = frame.observe(observation, *count_rules(expectations))
    for rule in expectations:
        if rule.action == "fail":
            frame = frame.where(fail_at_row(rule))
    for rule in expectations:
        if rule.action == "drop":
            frame = frame.where(~is_broken(rule))
    return frame


def expectation_counts(
    dataset: str,  # Name of the dataset
    expectations: Sequence[Expectation],  # Its rules, as given to `enforce`
    observed: Sequence[Row | dict],  # What was observed, once per batch
) -> tuple[list[ExpectationCount], int, int]:  # Counts per rule; rows that passed on; rows dropped
    "Sum what the batches of an update observed."
    observed = [each.asDict() if isinstance(each, Row) else each for each in observed]

    def total(measure):
        return sum(each.get(measure) or 0 for each in observed)

    counts = [
        ExpectationCount(
            dataset, rule.name, total("rows") - total(f"failed_{number}"), total(f"failed_{number}")
        )
        for number, rule in enumerate(expectations)
    ]
    return counts, total("rows") - total("dropped"), total("dropped")
