"""The pipeline that `prove.py` proves: changes of two tables become current rows and a history."""

from feeds import FEEDS, TABLES
from pyspark import pipelines as dp

from cdc_utils.bronze import read_changes
from cdc_utils.envelopes.changes import cdc_spec, decode_changes, quarantine_changes
from cdc_utils.pipeline import declare_cdc

FEED = FEEDS[spark.conf.get("feed")]  # noqa: F821


def declare_table(name, source):
    "Declare what one table of the source becomes."

    @dp.table(name=f"{name}_raw")
    def raw():
        path = f"{spark.conf.get('landing')}/{FEED.folder(name)}"  # noqa: F821
        return read_changes(spark, path, FEED.schema or source.schema)  # noqa: F821

    @dp.table(name=f"{name}_changes")
    def changes():
        return decode_changes(FEED.rows(spark.readStream.table(f"{name}_raw")), source)  # noqa: F821

    @dp.table(name=f"{name}_quarantine")
    def quarantine():
        return quarantine_changes(FEED.rows(spark.readStream.table(f"{name}_raw")), source)  # noqa: F821

    declare_cdc(dp, cdc_spec(source, name, f"{name}_changes"))


for table in TABLES:
    declare_table(table, FEED.sources[table])
declare_cdc(dp, cdc_spec(FEED.sources["orders"], "orders_history", "orders_changes", 2))
