"""What is asked of a running Spark: its active session, its jobs, what they counted, where they run."""

from typing import Any

from pyspark.sql import DataFrame, Observation, SparkSession


def activate_session(
    spark: SparkSession,  # The update's session
) -> None:
    "Make a session the active one of this thread, for code that asks for it."
    jvm: Any = spark._jvm
    jvm.org.apache.spark.sql.SparkSession.setActiveSession(spark._jsparkSession)


def cancel_jobs(
    spark: SparkSession,  # The session
) -> None:
    "Stop the streams and jobs of a session where they are."
    for query in spark.streams.active:
        query.stop()
    spark.sparkContext.cancelAllJobs()


def is_local(
    spark: SparkSession,  # Any session
) -> bool:
    "Whether Spark runs in processes of this machine."
    return str(spark.sparkContext.master).startswith("local")


def read_observations(
    spark: SparkSession,  # Ran what was observed
    observations: list[Observation],  # Of frames that were written
) -> list[dict[str, Any] | None]:  # What each counted; None where Spark left its frame out
    "Read observations once Spark's listener has delivered them."
    context: Any = spark.sparkContext
    context._jsc.sc().listenerBus().waitUntilEmpty()
    return [observation.get if _has_counted(observation) else None for observation in observations]


def _has_counted(
    observation: Observation,  # Of a frame that was written
) -> bool:  # False where Spark left the frame out
    "Tell whether an observation has its counters, without waiting for them."
    return observation._jo is not None and bool(observation._jo.future().isCompleted())


def estimate_bytes(
    frame: DataFrame,  # A batch
) -> int:  # As Spark's optimizer has it; very large where it does not know
    "Estimate the size of a frame's rows."
    return int(frame._jdf.queryExecution().optimizedPlan().stats().sizeInBytes())


def release_checkpoint(
    frame: DataFrame,  # What `localCheckpoint` gave
) -> None:
    "Free the memory and the disk that a frame's rows take."
    frame._jdf.queryExecution().logical().rdd().unpersist(False)


def has_session_table(
    spark: SparkSession,  # The session
    name: str,  # A name of one part
) -> bool:
    "Whether the session has a temporary view or a table of that name."
    return bool(spark._jsparkSession.catalog().tableExists(name))
