"What PySpark and Python do while a pipeline's code runs; every method of PySpark has been thought of."

import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyspark")

import pyspark
from pyspark.sql import DataFrameReader, DataFrameWriter, GroupedData, SparkSession
from pyspark.sql.catalog import Catalog
from pyspark.sql.classic.dataframe import DataFrame as ClassicDataFrame
from pyspark.sql.classic.dataframe import DataFrameNaFunctions, DataFrameStatFunctions
from pyspark.sql.streaming.readwriter import DataStreamReader, DataStreamWriter

from cdc_local.analysis.evaluation import Evaluation, declaring, evaluating
from cdc_local.analysis.patches import PATCHES, install_patches
from cdc_local.dataflow.graph import Flow
from cdc_local.errors import PipelineError
from cdc_local.storage import TableName, localize


def names(text):
    return set(text.split())


PLANS = """
agg alias asTable coalesce colRegex crossJoin cube describe distinct drop dropDuplicates
dropDuplicatesWithinWatermark drop_duplicates dropna exceptAll exists fillna freqItems
groupBy groupby groupingSets hint intersect intersectAll join lateralJoin limit mapInArrow
mapInPandas melt nearestByJoin observe offset orderBy randomSplit repartition repartitionById
repartitionByRange replace rollup sample sampleBy scalar select sort sortWithinPartitions
subtract summary to toDF toJSON transform union unionAll unionByName unpivot
withColumn withColumnRenamed withColumns withColumnsRenamed withMetadata withWatermark zipWithIndex
"""

DESCRIBES = """
columns dtypes executionInfo explain inputFiles isLocal isStreaming is_cached metadataColumn na printSchema
sameSemantics schema semanticHash sparkSession sql_ctx stat storageLevel
"""

# Methods that the table leaves as they are, and why. A method that is new in PySpark is in none of them:
# think of it, then add a row to PATCHES, or its name here.
LEFT_ALONE = {
    ClassicDataFrame: {
        "give another frame, without data": PLANS,
        "describe the frame, without its rows": DESCRIBES,
        "keep rows for later, when something else computes them": "cache persist unpersist",
        "name a frame in the session, not in a catalog": """createGlobalTempView createOrReplaceGlobalTempView
            createOrReplaceTempView createTempView registerTempTable""",
        "hand the frame to another API": "pandas_api plot rdd",
    },
    GroupedData: {
        "give another frame, without data": """agg apply applyInArrow applyInPandas applyInPandasWithState avg
            cogroup count max mean min sum transformWithState transformWithStateInPandas""",
    },
    DataFrameStatFunctions: {
        "call the frame's own method of that name": "approxQuantile corr cov crosstab freqItems sampleBy",
    },
    DataFrameNaFunctions: {"call the frame's own method": "drop fill replace"},
    DataFrameReader: {"read what no pipeline holds": "jdbc"},
    DataStreamReader: {"name the source": "name"},
    DataFrameWriter: {
        "say how to write": "bucketBy clusterBy format mode option options partitionBy sortBy",
        "write elsewhere; a dataset function cannot reach it, since `write` is refused": "insertInto jdbc",
    },
    DataStreamWriter: {
        "a dataset function cannot reach them, since `writeStream` is refused": """
            clusterBy foreach foreachBatch format option options outputMode partitionBy queryName start
            toTable trigger""",
    },
    SparkSession: {
        "make frames and functions": "createDataFrame emptyDataFrame range dataSource tvf udf udtf",
        "give a reader, a catalog or the settings": "read readStream catalog conf streams",
        "describe or find the session": "active builder Builder client getActiveSession sparkContext version",
        "serve the session itself": """addArtifact addArtifacts addTag clearProgressHandlers clearTags
            copyFromLocalToFs getTags interruptAll interruptOperation interruptTag newSession profile
            registerProgressHandler removeProgressHandler removeTag stop""",
    },
    Catalog: {
        "tell of functions and views of the session, and change them": """dropGlobalTempView dropTempView
            functionExists getFunction listFunctions registerFunction""",
    },
}


def public_methods(owner):
    return {name for name in dir(owner) if not name.startswith("_")}


@pytest.mark.parametrize("owner", LEFT_ALONE, ids=lambda owner: owner.__name__)
def test_every_public_method_of_pyspark_is_patched_or_known_to_be_left_alone(owner):
    found = public_methods(owner)
    if owner is ClassicDataFrame:  # Spark Connect's frame has methods of its own
        pytest.importorskip("grpc")
        from pyspark.sql.connect.dataframe import DataFrame as ConnectDataFrame

        found |= public_methods(ConnectDataFrame)
    patched = {patch.name for patch in PATCHES if patch.owner is owner}
    left = set().union(*[names(text) for text in LEFT_ALONE[owner].values()])
    assert sorted(found - patched - left) == [], "new in PySpark: an action, a write, or harmless?"
    assert sorted((patched | left) - found) == [], "no longer in PySpark"
    assert sorted(patched & left) == []


def test_every_patch_says_why():
    assert all(len(patch.reason.split()) > 4 for patch in PATCHES)
    places = [(patch.owner, patch.name) for patch in PATCHES]
    assert len(places) == len(set(places))


def test_patches_are_taken_back_even_after_an_error(storage, spark):
    from cdc_local.analysis.flow_analysis import table_schema
    from cdc_local.analysis.runtime import Runtime
    from cdc_local.dataflow.graph import Graph

    missing = object()

    def standing():
        return [vars(patch.owner).get(patch.name, missing) for patch in PATCHES]

    before = standing()
    runtime = Runtime(spark, Graph("main", "default"), storage, table_schema)
    with pytest.raises(ZeroDivisionError), install_patches(runtime):
        assert not any(new is old for new, old in zip(standing(), before, strict=True))
        raise ZeroDivisionError
    assert standing() == before


def test_pipelines_is_the_module_that_records(runtime):
    from pyspark import pipelines

    assert pipelines is runtime.modules["pyspark.pipelines"]
    pipelines.create_streaming_table("t")
    assert list(runtime.graph.datasets) == [TableName("main", "default", "t")]
    assert vars(pyspark)["pipelines"] is not sys.modules.get("pyspark.pipelines")


@pytest.fixture
def in_dataset_function(runtime):
    "The time while a dataset function runs."
    flow = Flow("numbers", TableName("main", "default", "numbers"), "complete")
    with evaluating(Evaluation(flow)):
        yield flow


@pytest.mark.parametrize(
    "act, words",
    [
        (lambda frame: frame.write.save("x"), "DataFrame.write is a write"),
        (lambda frame: frame.writeTo("x"), "DataFrame.writeTo is a write"),
        (lambda frame: frame.sparkSession.read.changes("t"), "spark.read.changes.'t'. is not supported"),
        (lambda frame: frame.sparkSession.readStream.changes("t"), "spark.readStream.changes.'t'. is not"),
        (lambda frame: frame.groupBy().pivot("id"), "pivot.'id'. without values reads data"),
    ],
)
def test_a_dataset_function_writes_nothing(spark, in_dataset_function, act, words):
    frame = spark.range(3)
    with pytest.raises(PipelineError, match=words):
        act(frame)


ACTS = {
    "count": lambda frame: frame.count(),
    "isEmpty": lambda frame: frame.isEmpty(),
    "corr": lambda frame: frame.corr("id", "id"),
    "cov": lambda frame: frame.stat.cov("id", "id"),
    "crosstab": lambda frame: frame.stat.crosstab("id", "id"),
    "approxQuantile": lambda frame: frame.approxQuantile("id", [0.5], 0.0),
    "transpose": lambda frame: frame.transpose(),
}


@pytest.mark.parametrize("name", ACTS)
def test_a_dataset_function_acts_on_a_batch_with_a_warning_and_on_no_stream(
    runtime, spark, in_dataset_function, name
):
    ACTS[name](spark.range(3))
    [warning] = runtime.graph.warnings
    assert f"{name}() acts inside the dataset function of main.default.numbers" in warning
    stream = spark.readStream.format("rate").load().selectExpr("value AS id")
    with pytest.raises(PipelineError, match=f"{name}.. acts on a stream"):
        ACTS[name](stream)


def test_statistics_that_are_frames_act_when_they_are_written(spark, in_dataset_function):
    jobs, frame = spark.sparkContext.statusTracker().getJobIdsForGroup, spark.range(3)
    before = jobs(None)
    for plan in (frame.describe(), frame.summary(), frame.freqItems(["id"]), frame.sampleBy("id", {1: 1.0})):
        assert plan.columns
    assert jobs(None) == before


def test_a_pivot_with_values_reads_nothing(spark, in_dataset_function):
    assert spark.range(3).groupBy().pivot("id", [1, 2]).sum().columns == ["1", "2"]


def test_outside_the_pipelines_code_the_session_acts_as_ever(runtime, spark):
    assert spark.range(3).count() == 3 and spark.sql("SELECT 1 AS n").first().n == 1


def test_what_a_source_file_may_do_while_it_declares(runtime, spark):
    file = Path(localize(runtime.storage, "/Volumes/a/b/c/one.txt"))
    file.parent.mkdir(parents=True)
    file.write_text("one")
    with declaring(runtime.spark):
        assert Path("/Volumes/a/b/c/one.txt").read_text() == "one"
        assert os.listdir("/Volumes/a/b") == ["c"]  # noqa: PTH208 (the function that is patched)
        assert spark.sql("SET cdc.some = 1") is not None and spark.range(2).count() == 2
        with pytest.raises(PipelineError, match="DROP TABLE t.* is not a query"):
            spark.sql("DROP TABLE t")
    assert not Path("/Volumes/a/b/c/one.txt").exists()
    spark.conf.unset("cdc.some")


def test_what_a_source_file_writes_and_reads_lies_in_the_storage(runtime, spark):
    with declaring(runtime.spark):
        for number in (1, 2):
            spark.range(number).write.parquet(f"/Volumes/a/b/{number}")
        assert spark.read.parquet("/Volumes/a/b/1", "/Volumes/a/b/2").count() == 3
        assert spark.read.format("parquet").option("path", "/Volumes/a/b/2").load().count() == 2
        spark.range(4).write.saveAsTable("crm.numbers")
        assert spark.read.table("crm.numbers").count() == 4 == spark.table("main.crm.numbers").count()
    assert (runtime.storage.root / "Volumes/a/b/2").is_dir()
    assert runtime.storage.tables() == [TableName("main", "crm", "numbers")]
