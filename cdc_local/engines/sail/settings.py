"""Settings of a session: those that mean nothing to answers, and those that need Spark."""

import re

from cdc_local.errors import NeedsSparkError

# How Spark computes, what it logs, where it keeps things: answers are the same
_MEANINGLESS = re.compile(
    r"spark\.sql\.(?:shuffle\.|adaptive\.|autoBroadcast|broadcast|codegen\.|execution\.arrow\.|repl\."
    r"|warehouse\.|files\.(?:maxPartitionBytes|openCostInBytes)|inMemoryColumnarStorage\.|cbo\."
    r"|statistics\.|debug\.|ui\.|streaming\.(?:numRecentProgressUpdates|metricsEnabled|noDataMicroBatches)"
    r"|parquet\.(?:compression|filterPushdown|enableVectorizedReader)|optimizer\.|extensions|catalog\.)"
    r"|spark\.(?!sql\.|databricks\.delta\.properties\.defaults\.)",
    re.I,
)


def refuse_setting(
    key: str,  # Name of a setting
) -> None:
    "Raise `NeedsSparkError` for a setting of Spark that may change answers; a pipeline's own are free."
    if key.startswith("spark.") and not _MEANINGLESS.match(key):
        raise NeedsSparkError(f"the setting {key} is obeyed by Spark alone")
