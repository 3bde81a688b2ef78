"""`spark.catalog` while a pipeline's code runs."""

# ruff: noqa: N802, N803 (PySpark's own names)

from pyspark.sql.catalog import CatalogMetadata, Column, Database, Table

from cdc_local.analysis.catalog import PipelineCatalog, StoredTable, join_names, matches


def _describe_table(table: StoredTable) -> Table:
    name = table.name
    return Table(name.table, name.catalog, [name.schema], table.comment, table.kind, False)


class CatalogMethods:
    "The methods of `spark.catalog` that tell of tables, by their names and parameters in PySpark."

    def __init__(
        self,
        catalog: PipelineCatalog,  # Answers
    ) -> None:
        self._catalog = catalog

    def currentCatalog(self) -> str:
        """The catalog of names that give none."""
        return self._catalog.graph.catalog

    def currentDatabase(self) -> str:
        """The schema of names that give none."""
        return self._catalog.graph.schema

    def listCatalogs(
        self,
        pattern: str | None = None,  # `*` for any signs
    ) -> list[CatalogMetadata]:
        """Every catalog."""
        return [CatalogMetadata(name, None) for name in self._catalog.catalogs() if matches(name, pattern)]

    def listDatabases(
        self,
        pattern: str | None = None,  # `*` for any signs
    ) -> list[Database]:
        """Every schema of the catalog."""
        catalog = self.currentCatalog()
        found = [name for name in self._catalog.schemas(catalog) if matches(name, pattern)]
        return [self._describe_schema(catalog, name) for name in found]

    def getDatabase(
        self,
        dbName: str,  # `schema` or `catalog.schema`
    ) -> Database:
        """One schema."""
        catalog, name = self._catalog.split_schema(dbName)
        self._catalog.tables_of(dbName)
        return self._describe_schema(catalog, name)

    def databaseExists(
        self,
        dbName: str,  # `schema` or `catalog.schema`
    ) -> bool:
        """Whether there is a schema."""
        catalog, name = self._catalog.split_schema(dbName)
        return name in self._catalog.schemas(catalog)

    def listTables(
        self,
        dbName: str | None = None,  # `schema` or `catalog.schema`; that of the scope by default
        pattern: str | None = None,  # `*` for any signs
    ) -> list[Table]:
        """The tables of a schema."""
        found = self._catalog.tables_of(dbName)
        return [_describe_table(table) for table in found if matches(table.name.table, pattern)]

    def listViews(
        self,
        dbName: str | None = None,  # `schema` or `catalog.schema`; that of the scope by default
        pattern: str | None = None,  # `*` for any signs
    ) -> list[Table]:
        """No view: those of a pipeline are temporary, and no catalog has them."""
        self._catalog.tables_of(dbName)
        return []

    def getTable(
        self,
        tableName: str,  # Of one, two or three parts
    ) -> Table:
        """One table."""
        return _describe_table(self._catalog.find_table(tableName))

    def tableExists(
        self,
        tableName: str,  # Of one, two or three parts
        dbName: str | None = None,  # `schema` or `catalog.schema`; that of the scope by default
    ) -> bool:
        """Whether the update found a table."""
        return self._catalog.has_table(join_names(tableName, dbName))

    def listColumns(
        self,
        tableName: str,  # Of one, two or three parts
        dbName: str | None = None,  # `schema` or `catalog.schema`; that of the scope by default
    ) -> list[Column]:
        """The columns of a table."""
        table = self._catalog.find_table(join_names(tableName, dbName))
        return [
            Column(
                field.name,
                field.metadata.get("comment"),
                field.dataType.simpleString(),
                field.nullable,
                field.name in table.partitions,
                False,
                False,
            )
            for field in table.fields
        ]

    def getTableProperties(
        self,
        tableName: str,  # Of one, two or three parts
    ) -> dict[str, str]:
        """The properties of a table."""
        return self._catalog.find_table(tableName).properties

    def refreshTable(
        self,
        tableName: str,  # Of one, two or three parts
    ) -> None:
        """Nothing: a table is read as it is."""
        self._catalog.find_table(tableName)

    def refreshByPath(
        self,
        path: str,  # A file or a folder
    ) -> None:
        """Nothing: files are read as they are."""

    def _describe_schema(self, catalog: str, name: str) -> Database:
        return Database(name, catalog, None, f"{catalog}/{name}")


CATALOG_METHODS = tuple(name for name in vars(CatalogMethods) if not name.startswith("_"))

# Methods of `spark.catalog` that a pipeline has no use for, and what to do instead
REFUSED_CATALOG_METHODS = {
    **dict.fromkeys(
        ("createTable", "createExternalTable", "dropTable", "dropView", "truncateTable"),
        "a pipeline declares its tables; run other statements outside it",
    ),
    **dict.fromkeys(("createDatabase", "dropDatabase"), "a schema comes with its first table"),
    **dict.fromkeys(
        ("cacheTable", "uncacheTable", "isCached", "clearCache"),
        "declare a temporary view, or a table, for what is read several times",
    ),
    **dict.fromkeys(
        ("setCurrentCatalog", "setCurrentDatabase"),
        "write names of three parts, or spark.sql('USE catalog.schema') outside dataset functions",
    ),
    **dict.fromkeys(
        ("recoverPartitions", "listPartitions", "analyzeTable", "getCreateTableString"),
        "the local runner has no such thing",
    ),
}
