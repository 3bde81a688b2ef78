"""The pipeline that `postgres.py` proves: events of two tables become current rows and a history."""

from pyspark import pipelines as dp
from source_tables import ORDERS, PRODUCTS

from cdc_utils.bronze import read_changes
from cdc_utils.envelopes.changes import cdc_spec, decode_changes, quarantine_changes
from cdc_utils.pipeline import declare_cdc


def declare_table(name, source):
    "Declare what one table of the source becomes."

    @dp.table(name=f"{name}_raw")
    def raw():
        return read_changes(spark, f"{spark.conf.get('landing')}/{name}", source.schema)  # noqa: F821

    @dp.table(name=f"{name}_changes")
    def changes():
        return decode_changes(spark.readStream.table(f"{name}_raw"), source)  # noqa: F821

    @dp.table(name=f"{name}_quarantine")
    def quarantine():
        return quarantine_changes(spark.readStream.table(f"{name}_raw"), source)  # noqa: F821

    declare_cdc(dp, cdc_spec(source, name, f"{name}_changes"))


declare_table("products", PRODUCTS)
declare_table("orders", ORDERS)
declare_cdc(dp, cdc_spec(ORDERS, "orders_history", "orders_changes", 2))
