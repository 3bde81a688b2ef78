"""The event log as rows that a query reads: what earlier updates have recorded."""

import json

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from cdc_local.analysis.runtime import read_stored
from cdc_local.storage import Storage, TableName, is_table

COLUMNS = (
    "id string, sequence string, origin string, timestamp timestamp, message string, level string, "
    "maturity_level string, error string, details string, event_type string"
)


def read_event_log(
    spark: SparkSession,  # Reads the log
    storage: Storage,  # Has it
    table: TableName,  # A table
) -> DataFrame:  # Events of the pipelines that have told of the table; no rows before the first update
    "Read the log of the pipeline that fills a table."
    path = storage.event_log_path
    if not is_table(path):
        return spark.createDataFrame([], COLUMNS)
    origins = DeltaTable(str(path)).to_pyarrow_table(columns=["origin"])["origin"]
    told = [json.loads(origin) for origin in set(origins.to_pylist())]
    pipelines = {origin["pipeline_name"] for origin in told if origin.get("dataset_name") == str(table)}
    name = F.get_json_object("origin", "$.pipeline_name")
    return read_stored(spark, path).where(name.isin(*pipelines) if pipelines else F.lit(False))
