"""Silver: the current row of every customer (SCD type 1)."""

from pyspark import pipelines as dp

from cdc_utils import customers, pipeline

pipeline.declare_cdc(dp, customers.CURRENT, "The current row of every customer", {"quality": "silver"})
