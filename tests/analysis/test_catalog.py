"What a pipeline's code may ask about tables."

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cdc_local.analysis.catalog import PipelineCatalog, UnknownTableError, matches
from cdc_local.analysis.catalog_methods import CatalogMethods
from cdc_local.analysis.catalog_statements import answer_statement, read_information_schema
from cdc_local.analysis.evaluation import declaring
from cdc_local.dataflow.graph import Dataset, Graph
from cdc_local.errors import PipelineError
from cdc_local.storage import TableName


@pytest.fixture
def catalog(spark, storage):
    rows = pa.table({"id": pa.array([1]), "day": pa.array(["a"])})
    for name in ("main.default.orders", "main.default.secret", "main.raw.events", "lab.ops.runs"):
        path = storage.table_path(TableName(*name.split(".")))
        write_deltalake(str(path), rows, partition_by=["day"], description=f"About {name}")
    graph = Graph("main", "default")
    graph.add_dataset(Dataset(graph.name("orders"), "streaming_table"))
    graph.add_dataset(Dataset(graph.name("secret"), "materialized_view", private=True))
    graph.add_dataset(Dataset(graph.name("later"), "materialized_view"))
    return PipelineCatalog(spark, graph, storage)


def rows_of(frame):
    return [tuple(row) for row in frame.collect()]


def test_tables_are_those_that_the_update_found_but_private_ones(catalog):
    methods = CatalogMethods(catalog)
    assert [table.name for table in methods.listTables()] == ["orders"]
    assert [table.name for table in methods.listTables("raw")] == ["events"]
    assert [table.name for table in methods.listTables("lab.ops", pattern="r*")] == ["runs"]
    table = methods.getTable("orders")
    assert (table.catalog, table.namespace, table.tableType) == ("main", ["default"], "STREAMING_TABLE")
    assert table.description == "About main.default.orders" and not table.isTemporary
    assert methods.getTable("lab.ops.runs").tableType == "MANAGED"
    for name in ("orders", "default.orders", "main.default.orders", "`main`.`raw`.events", "lab.ops.runs"):
        assert methods.tableExists(name), name
    assert methods.tableExists("events", "raw") and methods.tableExists("events", "main.raw")
    for name in ("later", "secret", "main.default.nope", "nope.ops.runs"):
        assert not methods.tableExists(name), name
    with pytest.raises(PipelineError, match=r"no schema main.nope; there are default, raw"):
        methods.listTables("nope")


def test_a_table_of_this_update_is_not_there_before_the_next_one(catalog):
    rows = pa.table({"id": pa.array([1])})
    write_deltalake(str(catalog.storage.table_path(TableName("main", "default", "later"))), rows)
    assert not CatalogMethods(catalog).tableExists("later")
    again = PipelineCatalog(catalog.spark, catalog.graph, catalog.storage)
    assert CatalogMethods(again).tableExists("later")


def test_a_name_that_nothing_has_is_caught_as_sparks_own_mistake(catalog):
    from pyspark.errors import AnalysisException

    with pytest.raises(
        AnalysisException, match=r"table ordes is neither .* did you mean main.default.orders\?"
    ) as wrong:
        CatalogMethods(catalog).getTable("ordes")
    assert isinstance(wrong.value, UnknownTableError)
    assert wrong.value.getCondition() == "TABLE_OR_VIEW_NOT_FOUND"


def test_schemas_catalogs_and_columns(catalog):
    methods = CatalogMethods(catalog)
    assert (methods.currentCatalog(), methods.currentDatabase()) == ("main", "default")
    assert [each.name for each in methods.listCatalogs()] == ["lab", "main"]
    assert [each.name for each in methods.listDatabases()] == ["default", "raw"]
    assert [each.name for each in methods.listDatabases("r*")] == ["raw"]
    assert methods.getDatabase("raw").catalog == "main"
    exist = [methods.databaseExists(name) for name in ("raw", "lab.ops", "ops", "lab.raw")]
    assert exist == [True, True, False, False]
    [key, day] = methods.listColumns("orders")
    assert (key.name, key.dataType, key.isPartition) == ("id", "bigint", False)
    assert (day.name, day.dataType, day.isPartition) == ("day", "string", True)


@pytest.mark.parametrize(
    "text, rows",
    [
        ("SHOW TABLES", [("default", "orders", False)]),
        ("show tables in main.raw;", [("raw", "events", False)]),
        ("SHOW TABLES FROM `raw` LIKE 'E*|x'", [("raw", "events", False)]),
        ("SHOW TABLES LIKE 'x*'", []),
        ("SHOW CATALOGS", [("lab",), ("main",)]),
        ("SHOW SCHEMAS IN lab", [("ops",)]),
        ("SHOW DATABASES LIKE 'r*'", [("raw",)]),
        ("SHOW VIEWS IN raw", []),
        ("SHOW COLUMNS IN main.raw.events", [("id",), ("day",)]),
        ("SHOW COLUMNS FROM events IN raw", [("id",), ("day",)]),
        ("SHOW TBLPROPERTIES orders", []),
        (
            "DESCRIBE TABLE raw.events",
            [
                ("id", "bigint", None),
                ("day", "string", None),
                ("# Partition Information", "", ""),
                ("# col_name", "data_type", "comment"),
                ("day", "string", None),
            ],
        ),
    ],
)
def test_statements_that_tell_of_tables(catalog, text, rows):
    assert rows_of(answer_statement(catalog, text)) == rows


@pytest.mark.parametrize(
    "text", ["DROP TABLE t", "DESCRIBE HISTORY orders", "SHOW FUNCTIONS", "SHOW TABLES x y z"]
)
def test_other_statements_are_not_answered(catalog, text):
    assert answer_statement(catalog, text) is None


def test_information_schema(catalog):
    def read(name, *columns):
        return rows_of(read_information_schema(catalog, TableName(*name.split("."))).select(*columns))

    tables = "table_schema", "table_name", "table_type"
    assert read("main.information_schema.tables", *tables) == [
        ("default", "orders", "STREAMING_TABLE"),
        ("raw", "events", "MANAGED"),
    ]
    assert len(read("system.information_schema.tables", *tables)) == 3
    assert read("lab.information_schema.columns", "column_name", "ordinal_position", "data_type") == [
        ("id", 1, "BIGINT"),
        ("day", 2, "STRING"),
    ]
    assert ("main", "raw") in read("main.information_schema.schemata", "catalog_name", "schema_name")
    with pytest.raises(
        PipelineError, match="information_schema.routines is not supported .* it has catalogs"
    ):
        read("main.information_schema.routines", "*")


def test_patterns():
    assert matches("orders", "o*") and matches("Orders", "ORDERS") and matches("b", "a|b")
    assert not matches("orders", "o") and not matches("a.b", "aab")


def test_spark_catalog_while_the_pipelines_code_runs(runtime, spark):
    path = runtime.storage.table_path(TableName("main", "default", "t"))
    write_deltalake(str(path), pa.table({"id": pa.array([1])}))
    spark.range(1).createOrReplaceTempView("a_view_of_the_session")
    with declaring(spark):
        assert spark.catalog.tableExists("main.default.t") and spark.catalog.currentCatalog() == "main"
        assert spark.catalog.tableExists("a_view_of_the_session")
        assert rows_of(spark.sql("SHOW TABLES IN main.default")) == [("default", "t", False)]
        found = spark.sql("SELECT table_name FROM main.information_schema.tables")
        assert rows_of(found) == [("t",)]
        with pytest.raises(PipelineError, match="spark.catalog.dropTable is not for a pipeline's code"):
            spark.catalog.dropTable("t")
    assert spark.catalog.currentCatalog() == "spark_catalog"
    spark.catalog.dropTempView("a_view_of_the_session")
