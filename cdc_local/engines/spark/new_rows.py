"""New rows of a source as a batch, and which queries give the same over batches as over a stream."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession

from cdc_local.engines.spark.catalyst import node_kind, scala_list

# Nodes that give for new rows the same, whichever rows came before
_STATELESS_NODES = frozenset(
    {
        "CTERelationDef",
        "CTERelationRef",
        "CollectMetrics",
        "DeserializeToObject",
        "EventTimeWatermark",
        "Expand",
        "Filter",
        "Generate",
        "MapElements",
        "MapInArrow",
        "MapInPandas",
        "MapPartitions",
        "Project",
        "PythonMapInArrow",
        "RebalancePartitions",
        "Repartition",
        "RepartitionByExpression",
        "ResolvedHint",
        "SerializeFromObject",
        "StreamingDataSourceV2Relation",
        "StreamingRelation",
        "StreamingRelationV2",
        "SubqueryAlias",
        "TypedFilter",
        "View",
        "WithCTE",
    }
)

# Joins of a stream with a table: which side may be the stream
_STREAMING_SIDES = {
    "Inner": (0, 1),
    "Cross": (0, 1),
    "LeftOuter": (0,),
    "LeftSemi": (0,),
    "LeftAnti": (0,),
    "RightOuter": (1,),
}


def is_stateless(
    frame: DataFrame,  # A stream
) -> bool:  # False also where it is not certain
    """Whether each new row of a stream becomes rows by itself: no aggregate, no deduplication, no order.

    Such a query gives the same when it is evaluated on batches of new rows. What Spark refuses of a stream
    is not stateless here, so that Spark's streams go on to refuse it.
    """
    plan = frame._jdf.queryExecution().analyzed()
    if any(subquery.isStreaming() for subquery in scala_list(plan.subqueriesAll())):
        return False
    return _has_stateless_nodes(plan) and _is_accepted_stream(frame.sparkSession, plan)


def _has_stateless_nodes(
    node: Any,  # A node of a plan
) -> bool:
    if not node.isStreaming():
        return True
    children, kind = scala_list(node.children()), node_kind(node)
    if kind == "Union":
        allowed = all(child.isStreaming() for child in children)
    elif kind == "Join":
        streaming = [side for side, child in enumerate(children) if child.isStreaming()]
        sides = _STREAMING_SIDES.get(str(node.joinType().toString()), ())
        allowed = len(streaming) == 1 and streaming[0] in sides
    else:
        allowed = kind in _STATELESS_NODES
    return allowed and all(_has_stateless_nodes(child) for child in children)


def is_complete_stream(
    frame: DataFrame,  # A stream
) -> bool:
    """Whether a stream has an answer only over all its rows so far: it aggregates them without a watermark.

    Spark refuses to append such rows, which are never final, and writes all of them with every batch.
    """
    plan = frame._jdf.queryExecution().analyzed()
    spark = frame.sparkSession
    return not _is_accepted_stream(spark, plan) and _is_accepted_stream(spark, plan, "Complete")


def _is_accepted_stream(
    spark: SparkSession,  # The session
    plan: Any,  # An analysed plan
    mode: str = "Append",  # How its rows are to be written
) -> bool:
    "Whether Spark's own check of streams finds nothing to refuse."
    jvm: Any = spark._jvm
    checker = jvm.org.apache.spark.sql.catalyst.analysis.UnsupportedOperationChecker
    output_mode = getattr(jvm.org.apache.spark.sql.streaming.OutputMode, mode)()
    try:
        checker.checkForStreaming(plan, output_mode)
    except Exception as refused:
        if isinstance(refused, Py4JJavaError) or type(refused).__name__ == "AnalysisException":
            return False
        raise
    return True


def read_added_files(
    spark: SparkSession,  # The session
    path: Path,  # A Delta table's folder
    actions: Sequence[str],  # `NewFiles.actions`: one JSON text a file
) -> DataFrame:  # Their rows, with the columns that the table has now
    "Read files of a Delta table, whether or not they are still part of it."
    jvm: Any = spark._jvm
    log = jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, str(path))
    none = jvm.scala.Option.empty()
    snapshot = log.update(False, none, none)
    added = jvm.java.util.ArrayList()
    for action in actions:
        added.add(jvm.org.apache.spark.sql.delta.actions.Action.fromJson(action))
    files = jvm.scala.jdk.javaapi.CollectionConverters.asScala(added).toSeq()
    return DataFrame(log.createDataFrame(snapshot, files, False, none), spark)
