"Timestamps that end a validity, as the year 9999, are read right without Spark too."

import pytest

pytest.importorskip("pyspark")

from cdc_local.delta.reader import read_table
from cdc_local.engines.spark.session import start_spark
from cdc_local.storage import Storage, TableName


def test_the_year_9999_is_read_without_spark(tmp_path):
    storage, name = Storage(tmp_path), TableName("main", "default", "t")
    frame = start_spark("local[1]").sql(
        "SELECT timestamp'9999-12-31 00:00:00' AS ends, timestamp'1500-01-01 00:00:00' AS begins"
    )
    frame.write.format("delta").save(str(storage.table_path(name)))
    (row,) = read_table(storage, name).to_pylist()
    assert [row["ends"].year, row["begins"].year] == [9999, 1500]
