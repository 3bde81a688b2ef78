"""Bronze: every change as it landed, and the file it came from."""

from pyspark import pipelines as dp

from cdc_utils import bronze, customers, settings

env = settings.read(spark.conf)

dp.create_streaming_table(
    "customers_cdc_bronze",
    comment="Changes of customers as they landed",
    table_properties={
        "quality": "bronze",
        "pipelines.reset.allowed": "false",
    },  # a full refresh keeps the raw rows
)


@dp.append_flow(target="customers_cdc_bronze", name="customers_bronze_ingest_flow")
def customers_bronze_ingest_flow():
    return bronze.read_changes(spark, env.raw_path, customers.SCHEMA)
