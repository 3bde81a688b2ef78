"""Silver: the changes that keep every rule; the others are in customers_cdc_quarantine."""

from pyspark import pipelines as dp

from cdc_utils import customers, silver


@dp.table(comment="Changes of customers that keep every rule", table_properties={"quality": "silver"})
@dp.expect_all_or_drop(customers.RULES)
def customers_cdc_clean():
    return silver.conform(spark.readStream.table("customers_cdc_bronze"), **customers.CONFORM)
