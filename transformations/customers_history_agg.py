"""Gold: how many versions each customer has had, and how many of them hold each value."""

from pyspark import pipelines as dp

from cdc_utils import customers, gold


@dp.materialized_view(comment="Versions per customer", table_properties={"quality": "gold"})
def customers_history_agg():
    return gold.changes_per_key(
        spark.read.table("customers_history"), customers.HISTORY.keys, customers.COUNTED
    )
