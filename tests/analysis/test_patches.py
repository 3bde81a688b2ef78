"What PySpark and Python do while a pipeline's code runs."

import os
from pathlib import Path

import pytest

pytest.importorskip("pyspark")

from cdc_local.analysis.evaluation import declaring
from cdc_local.errors import PipelineError
from cdc_local.storage import localize


def test_what_a_source_file_may_do_while_it_declares(runtime, spark):
    file = Path(localize(runtime.storage, "/Volumes/a/b/c/one.txt"))
    file.parent.mkdir(parents=True)
    file.write_text("one")
    with declaring():
        assert Path("/Volumes/a/b/c/one.txt").read_text() == "one" and os.listdir("/Volumes/a/b") == ["c"]
        assert spark.sql("SET cdc.some = 1") is not None and spark.range(2).count() == 2
        with pytest.raises(PipelineError, match="DROP TABLE t.* is not a query"):
            spark.sql("DROP TABLE t")
    assert not os.path.exists("/Volumes/a/b/c/one.txt")
    spark.conf.unset("cdc.some")
