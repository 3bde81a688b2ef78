"""Catalogs, schemas and tables as a task of a job sees them: those of the storage, at the moment it asks."""

import difflib
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from pyspark.errors import AnalysisException

from cdc_local.analysis.catalog import PipelineCatalog, UnknownTableError
from cdc_local.analysis.catalog_methods import CatalogMethods
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, TableName, spell_as_known

DEFAULT_CATALOG, DEFAULT_SCHEMA = "main", "default"


class UnknownSchemaError(PipelineError, AnalysisException):
    "A catalog or schema that is not there; code that asks for one catches Spark's class of it."

    def getCondition(self) -> str:  # noqa: N802 (PySpark's own name for it)
        """Spark's name of the mistake."""
        return "SCHEMA_NOT_FOUND"


def list_schemas(
    storage: Storage,  # The folder that stands for the workspace
) -> set[tuple[str, str]]:  # Catalog and schema
    "List the schemas there are: declared, or with a table or a volume; each catalog has `default`."
    found = {(DEFAULT_CATALOG, DEFAULT_SCHEMA), *_list_declared(storage)}
    for tree in ("tables", "Volumes"):
        found |= {(folder.parent.name, folder.name) for folder in (storage.root / tree).glob("*/*")}
    return found | {(catalog, DEFAULT_SCHEMA) for catalog, _ in found}


def _list_declared(
    storage: Storage,  # The folder that stands for the workspace
) -> Iterator[tuple[str, str]]:  # Catalog and schema
    "List the schemas that were declared by the workspace's API: a note each."
    for note in (storage.root / "workspace" / "schemas").glob("[!.]*.json"):
        catalog, _, schema = unquote(note.stem).partition(".")
        yield catalog, schema


class TaskCatalog(PipelineCatalog):
    "Answers a task's questions about tables, and makes and drops schemas."

    def catalogs(self) -> list[str]:
        "The catalogs that there are."
        return sorted({catalog for catalog, _ in list_schemas(self.storage)})

    def schemas(
        self,
        catalog: str,  # Where
    ) -> list[str]:
        "The schemas of a catalog."
        return sorted(name for within, name in list_schemas(self.storage) if within == catalog)

    def describe_unknown(
        self,
        text: str,  # A name as written
    ) -> UnknownTableError:
        "Describe a name that nothing has, with the nearest one that there is."
        name = self.graph.name(text)
        near = difflib.get_close_matches(str(name), map(str, self.storage.tables()), 1)
        hint = f"did you mean {near[0]}?" if near else "SHOW TABLES IN catalog.schema lists them"
        return UnknownTableError(f"[TABLE_OR_VIEW_NOT_FOUND] there is no table {name}", hint=hint)

    def find_path(
        self,
        text: str,  # Name of a table, as written
    ) -> Path:
        "Find the folder of a table; `UnknownTableError` where there is none."
        return self.find_table(text).path

    def choose_path(
        self,
        text: str,  # Name of a table to write, there or not
    ) -> Path:  # Its folder
        "Choose where a table is written; `UnknownSchemaError` where its schema is not there."
        name = spell_as_known(self.graph.name(text), self.storage.tables())
        self._need_schema(name.catalog, name.schema)
        return self.storage.table_path(name)

    def _need_schema(self, catalog: str, schema: str) -> None:
        "Raise `UnknownSchemaError` for a schema that a workspace has not; elsewhere it comes with a table."
        if schema in self.schemas(catalog) or not (self.storage.root / "workspace").is_dir():
            return
        raise UnknownSchemaError(
            f"[SCHEMA_NOT_FOUND] there is no schema {catalog}.{schema}",
            hint=f"CREATE SCHEMA {catalog}.{schema}, or write one of {', '.join(self._all_schemas())}",
        )

    def _all_schemas(self) -> list[str]:
        "Every schema, by its full name."
        return sorted(f"{catalog}.{schema}" for catalog, schema in list_schemas(self.storage))

    def use_catalog(
        self,
        name: str,  # A catalog
    ) -> None:
        "Complete names by another catalog from now on; `UnknownSchemaError` where it is not there."
        if name not in self.catalogs():
            raise UnknownSchemaError(
                f"[CATALOG_NOT_FOUND] there is no catalog {name}",
                hint=f"there are {', '.join(self.catalogs())}",
            )
        self.graph.catalog, self.graph.schema = name, DEFAULT_SCHEMA

    def use_schema(
        self,
        text: str,  # `schema` or `catalog.schema`
    ) -> None:
        "Complete names by another schema from now on; `UnknownSchemaError` where it is not there."
        catalog, schema = self.split_schema(text)
        if schema not in self.schemas(catalog):
            raise UnknownSchemaError(
                f"[SCHEMA_NOT_FOUND] there is no schema {catalog}.{schema}",
                hint=f"there are {', '.join(self._all_schemas())}",
            )
        self.graph.catalog, self.graph.schema = catalog, schema

    def create_schema(
        self,
        text: str,  # `schema` or `catalog.schema`
        may_exist: bool,  # Whether it may be there
    ) -> None:
        "Make a schema; `PipelineError` where it is there and may not be."
        catalog, schema = self.split_schema(text)
        if schema in self.schemas(catalog) and not may_exist:
            raise PipelineError(f"[SCHEMA_ALREADY_EXISTS] there is a schema {catalog}.{schema} already")
        TableName.parse(f"`{catalog}`.`{schema}`.t", "", "")
        (self.storage.root / "tables" / catalog / schema).mkdir(parents=True, exist_ok=True)

    def drop_table(
        self,
        text: str,  # Name of a table
        may_lack: bool,  # Whether it may be absent
    ) -> None:
        "Drop a table; `UnknownTableError` where it is absent and may not be."
        if may_lack and not self.has_table(text):
            return
        shutil.rmtree(self.find_path(text))


class TaskCatalogMethods(CatalogMethods):
    "The methods of `spark.catalog` in a task, by their names and parameters in PySpark."

    def __init__(
        self,
        catalog: TaskCatalog,  # Answers
    ) -> None:
        super().__init__(catalog)
        self._tables = catalog

    def setCurrentCatalog(  # noqa: N802 (PySpark's own name for it)
        self,
        catalogName: str,  # noqa: N803 (as above)  # A catalog
    ) -> None:
        """Complete names by another catalog."""
        self._tables.use_catalog(catalogName)

    def setCurrentDatabase(  # noqa: N802 (as above)
        self,
        dbName: str,  # noqa: N803 (as above)  # `schema` or `catalog.schema`
    ) -> None:
        """Complete names by another schema."""
        self._tables.use_schema(dbName)
