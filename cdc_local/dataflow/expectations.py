"""Warn, drop or fail: what happens to a row that breaks a rule.

On Spark rows are counted while they pass, so that no data is read twice, and the query itself fails at a
broken rule. On Sail a query of its own counts them, and tells a broken rule before anything is written.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame, Observation, Row
from pyspark.sql import functions as F

from cdc_local.dataflow.graph import Expectation
from cdc_local.engines.engine import engine_of, observe
from cdc_local.engines.sail.counted_frame import CountedFrame
from cdc_local.sql_names import quote_for_spark
from cdc_utils.results import ExpectationCount

VIOLATION = "EXPECTATION_VIOLATION"  # Begins the message of a failed `expect_or_fail`
SHOWN_CHARACTERS = 500  # of the row, in that message


def is_broken(
    expectation: Expectation,  # A rule
) -> Column:  # True where the row breaks it, else false; never NULL
    """Find rows for which the rule is false; NULL passes, as on Databricks."""
    constraint = expectation.constraint
    rule = F.expr(constraint) if isinstance(constraint, str) else constraint
    return ~F.coalesce(rule, F.lit(True))


def _fail_at_row(
    rule: Expectation,  # A rule that fails the update
) -> Column:  # True; raises where the row breaks the rule
    """Fail the query at the first row that breaks the rule, naming both."""
    message = F.concat(F.lit(_describe_violation(rule)), _shown_row())
    return F.when(is_broken(rule), F.raise_error(message).cast("boolean")).otherwise(F.lit(True))


def _describe_violation(
    rule: Expectation,  # A rule that fails the update
) -> str:
    return f"{VIOLATION} rule {rule.name!r} ({rule.constraint}) is broken by "


def _shown_row() -> Column:
    "The row, as JSON text that may end early."
    return F.left(F.to_json(F.struct("*")), F.lit(SHOWN_CHARACTERS))


def find_violation(
    counted: CountedFrame,  # As `enforce_expectations` had it
    expectations: Sequence[Expectation],  # The same rules
) -> str | None:  # A rule that fails the update, and a row that breaks it
    "Look for a row that must fail the update, on an engine whose queries do not fail by themselves."
    for number, rule in enumerate(expectations):
        if rule.action == "fail" and counted.counts[f"failed_{number}"] and counted.frame is not None:
            [row] = counted.frame.where(is_broken(rule)).select(_shown_row()).limit(1).collect()
            return _describe_violation(rule) + str(row[0])
    return None


def _keep_valid_row(
    rule: Expectation,  # A rule that drops rows
) -> Column:  # False where the row breaks the rule
    """Drop rows that break the rule."""
    return ~is_broken(rule)


# Action of a rule -> the condition under which its row passes on, in the order they are applied.
# A rule with action 'warn' is counted alone.
_CONDITIONS: dict[str, Callable[[Expectation], Column]] = {"fail": _fail_at_row, "drop": _keep_valid_row}


def enforce_expectations(
    frame: DataFrame,  # Batch or streaming rows
    expectations: Sequence[Expectation],  # Rules of the dataset
    # Gets the counts: for a batch an Observation, on Sail a CountedFrame; a name for a stream
    observation: Observation | CountedFrame | str,
) -> DataFrame:  # The rows to keep
    """Count rows and failures, then fail or drop, as the rules' actions say.

    A rule may name a column that the query has dropped or renamed last, as a filter may."""
    conditions, counts = [is_broken(rule) for rule in expectations], _counts_of(expectations)
    revealed = engine_of(frame.sparkSession).reveal_columns(frame, conditions)
    if isinstance(observation, str):
        rows = revealed.observe(observation, *counts)
    else:
        rows = observe(revealed, observation, *counts)
    for action, condition in _CONDITIONS.items():
        for rule in expectations:
            if rule.action == action and not (action == "fail" and isinstance(observation, CountedFrame)):
                rows = rows.where(condition(rule))
    return rows if revealed is frame else rows.select(*map(quote_for_spark, frame.columns))


def _counts_of(
    expectations: Sequence[Expectation],  # Rules of one dataset
) -> list[Column]:  # Aggregates: `rows`, `dropped`, and `failed_0`, `failed_1`, … in the order of the rules
    """Count rows read, rows to drop, and failures of each rule."""
    dropping = [is_broken(rule) for rule in expectations if rule.action == "drop"]
    dropped = F.count_if(F.greatest(F.lit(False), F.lit(False), *dropping))
    failed = [
        F.count_if(is_broken(rule)).alias(f"failed_{number}") for number, rule in enumerate(expectations)
    ]
    return [F.count(F.lit(1)).alias("rows"), dropped.alias("dropped"), *failed]


def expectation_counts(
    dataset: str,  # Name of the dataset
    expectations: Sequence[Expectation],  # Its rules, as `enforce_expectations` had them
    observed: Sequence[Row | Mapping[str, Any]],  # What was observed, once per batch
) -> tuple[list[ExpectationCount], int, int]:  # Counts per rule; rows that passed on; rows dropped
    """Sum what the batches of an update observed."""
    batches = [batch.asDict() if isinstance(batch, Row) else batch for batch in observed]

    def total(measure: str) -> int:
        return sum(batch.get(measure) or 0 for batch in batches)

    rows, dropped = total("rows"), total("dropped")
    failures = [total(f"failed_{number}") for number in range(len(expectations))]
    counts = [
        ExpectationCount(dataset, rule.name, rows - failed, failed)
        for rule, failed in zip(expectations, failures, strict=True)
    ]
    return counts, rows - dropped, dropped
