"""Silver: every version of every customer, from when to when (SCD type 2)."""

from pyspark import pipelines as dp

from cdc_utils import customers, pipeline

pipeline.declare_cdc(dp, customers.HISTORY, "Every version of every customer", {"quality": "silver"})
