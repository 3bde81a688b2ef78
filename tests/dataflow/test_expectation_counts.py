"What expectations count, summed over the batches of an update."

import pytest

pytest.importorskip("pyspark")

from pyspark.sql import Row

from cdc_local.dataflow.expectations import expectation_counts
from cdc_local.dataflow.graph import Expectation
from cdc_utils.results import ExpectationCount


def test_counts_of_a_stream_are_rows_or_missing():
    counts, passed, dropped = expectation_counts(
        "t",
        [Expectation("r", "x", "drop")],
        [Row(rows=3, dropped=1, failed_0=1), Row(rows=2, dropped=None, failed_0=None), {"rows": 1}],
    )
    assert (counts, passed, dropped) == ([ExpectationCount("t", "r", 5, 1)], 5, 1)


def test_failures_can_add_up_to_more_than_the_dropped_rows():
    rules = [Expectation("known_id", "id IS NOT NULL", "drop"), Expectation("large", "amount > 15", "drop")]
    observed = {"rows": 4, "dropped": 3, "failed_0": 1, "failed_1": 2}
    assert expectation_counts("orders", rules, [observed]) == (
        [ExpectationCount("orders", "known_id", 3, 1), ExpectationCount("orders", "large", 2, 2)],
        1,
        3,
    )
