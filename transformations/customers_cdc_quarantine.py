"""Silver: the changes that break a rule, each with the names of the rules it breaks."""

from pyspark import pipelines as dp

from cdc_utils import customers, quality, silver


@dp.table(comment="Changes of customers that break a rule, and which", table_properties={"quality": "silver"})
def customers_cdc_quarantine():
    changes = silver.conform(spark.readStream.table("customers_cdc_bronze"), **customers.CONFORM)
    return quality.quarantine(changes, customers.RULES)
