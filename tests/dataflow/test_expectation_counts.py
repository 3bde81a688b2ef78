"What expectations count."

import pytest

pytest.importorskip("pyspark")

from cdc_local.dataflow.graph import Expectation
from cdc_utils.results import ExpectationCount


def test_counts_of_a_stream_are_rows_or_missing():
    from pyspark.sql import Row

    from cdc_local.dataflow.expectations import expectation_counts

    counts, passed, dropped = expectation_counts(
        "t",
        [Expectation("r", "x", "drop")],
        [Row(rows=3, dropped=1, failed_0=1), Row(rows=2, dropped=None, failed_0=None), {"rows": 1}],
    )
    assert (counts, passed, dropped) == ([ExpectationCount("t", "r", 5, 1)], 5, 1)
