"""A pipeline with tables of its own: rows arrive, an update runs the part that a test is about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import pyarrow
from deltalake import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from cdc_local.analysis.runtime import Runtime
from cdc_local.delta.reader import read_table
from cdc_local.delta.rows import Rows, format_json
from cdc_local.delta.writer import commit_rows, create_table
from cdc_local.engines.engine import engine_of
from cdc_local.engines.session import choose_engine
from cdc_local.errors import Location, NeedsSparkError, PipelineError, UsageError
from cdc_local.source.user_errors import describe_exception
from cdc_local.storage import Storage, TableName, is_table, localize
from cdc_local.unit_tests.declarations import Given, GivenFile, GivenTable, LocatedRow
from cdc_local.unit_tests.nodes import UnitTestError, suggest
from cdc_local.unit_tests.part import LandingFolders, analyse_apart, cut_out, find_dataset
from cdc_local.unit_tests.settings import PipelineSettings, fill
from cdc_local.unit_tests.values import infer_columns, to_arrow
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update
from cdc_utils.results import UpdateResult


@dataclass
class StandIn:
    "A table that a test gives, in the place of the dataset of that name."

    given: GivenTable  # The first mention: its name, and what it says of columns
    rows: list[LocatedRow] = field(default_factory=list)  # All its rows, for their types
    waiting: list[GivenTable] = field(default_factory=list)  # Rows that have not arrived
    columns: StructType | None = None  # Its columns, once they are known


@dataclass(frozen=True)
class ModelName:
    "A dataset that an update is about, as a test names it."

    text: str  # Its name, or the source file that declares it
    declaring: str | None = None  # The function that declares it
    folder: Path = Path()  # Where a file's name begins
    location: Location | None = None  # Where it is named


class PipelineUnderTest:
    """A pipeline with a storage of its own, of which a test runs all, or a part.

    `give` and `land` say what arrives, `update` runs an update, `rows` reads a table. A table that is given
    stands in for the dataset of that name: nothing that would fill it is run.
    """

    def __init__(
        self,
        settings: PipelineSettings,  # Which pipeline
        folder: Path,  # Its storage is made in it
        configuration: Mapping[str, str] | None = None,  # Adds to the pipeline's
        on_told: Callable[[str], object] | None = None,  # Called with what an update has to tell, if anything
    ) -> None:
        self.settings = settings
        self.storage = Storage(folder / "storage").create()
        self.configuration = settings.full_configuration(configuration or {})
        self.stand_ins: dict[TableName, StandIn] = {}
        self.models: dict[ModelName, TableName] = {}  # Those that updates were about
        self._on_told, self._landed = on_told, 0

    def give(
        self,
        table: str,  # A dataset of the pipeline, or a table that it reads
        *rows: Mapping[str, Any],  # Column -> value; a column that is left out is NULL
        schema: str | None = None,  # Its columns as DDL; those that the pipeline says by default
        overwrite: bool = False,  # Whether the rows replace those that are there
    ) -> None:
        "Let rows arrive in a table before the next update."
        given = GivenTable(table, tuple(map(LocatedRow, rows)), None, schema, overwrite)
        self.announce(given)
        self.arrive(given)

    def land(
        self,
        path: str,  # A folder, as the pipeline names it; or a file, which ends in .json or .csv
        *rows: Mapping[str, Any],  # Its rows; a file in a folder is of JSON
        text: str | None = None,  # All of it, where it has no rows
    ) -> None:
        "Let a file land before the next update."
        if not Path(path).suffix:
            self._landed += 1
            path = f"{path.rstrip('/')}/{self._landed}.json"
        self.arrive(GivenFile(path, tuple(map(LocatedRow, rows)), text))

    def arrive(
        self,
        given: Given,  # Rows of a table that was announced, or a file
    ) -> None:
        "Let something arrive before the next update; `UnitTestError` where it cannot."
        if isinstance(given, GivenFile):
            self._write_file(given)
        else:
            self.stand_ins[self.name(given.table, given.location)].waiting.append(given)

    def announce(
        self,
        given: GivenTable,  # Rows that will arrive, before the next update or a later one
    ) -> None:
        "Let a table stand in for the dataset of its name from now on."
        name = self.name(given.table, given.location)
        stand_in = self.stand_ins.setdefault(name, StandIn(given))
        if given.schema is not None and stand_in.given.schema is None:
            stand_in.given = given
        stand_in.rows += given.rows

    def update(
        self,
        *datasets: str | ModelName,  # What it is about; the whole pipeline by default
    ) -> UpdateResult:
        """Run one update of these datasets, and of what lies between them and what is given.

        `PipelineError` where it fails, `UnitTestError` where the test names what is not there.
        """
        told: list[str] = []
        models = [ModelName(name) if isinstance(name, str) else name for name in datasets]
        result = run_update(
            UpdateRequest(
                sources=self.settings.sources,
                storage=self.storage.root,
                catalog=self.settings.catalog,
                schema=self.settings.schema,
                configuration=dict(self.configuration),
                parameters=dict(self.settings.parameters),
                root_path=self.settings.root_path,
            ),
            partial(_note_engine, told),
            LandingFolders(on_declared=partial(self._prepare, models), storage=self.storage),
        )
        told += [f"warning: {warning}" for warning in result.warnings]
        if told and self._on_told is not None:
            self._on_told("\n".join(told))
        if result.state != "COMPLETED":
            raise FailedUpdateError(result)
        return result

    def rows(
        self,
        table: str,  # A dataset that an update has filled
        *columns: str,  # Those to read; all by default
    ) -> list[tuple[Any, ...]]:  # Sorted by all columns
        "Read a table."
        found = self.read(self.name(table), columns)
        return list(zip(*(column.to_pylist() for column in found.columns), strict=True))

    def read(
        self,
        name: TableName,  # A dataset that an update has filled
        columns: Sequence[str] = (),  # Those to read; all by default
    ) -> pyarrow.Table:  # Sorted by all columns
        "Read a table as Arrow."
        return read_table(self.storage, name, columns or None, ordered=True)

    def name(
        self,
        text: str,  # A table's name; `${key}` is a key of the configuration
        location: Location | None = None,  # Where it stands
    ) -> TableName:
        "Complete a table's name."
        filled = fill(text, self.configuration, partial(_error_at, location))
        try:
            return TableName.parse(filled, self.settings.catalog, self.settings.schema)
        except UsageError as wrong:
            raise UnitTestError(wrong.message, location, wrong.hint) from None

    def _write_file(
        self,
        given: GivenFile,  # A file that lands
    ) -> None:
        "Write a file to where the pipeline looks for it."
        text = fill(given.path, self.configuration, partial(_error_at, given.location))
        path = Path(localize(self.storage, text))
        if not path.is_relative_to(self.storage.root):
            hint = "write /Volumes/CATALOG/SCHEMA/VOLUME/… or dbfs:/…: each test has its own"
            raise UnitTestError(f"{text} is a path of this machine", given.location, hint)
        if path.exists():
            raise UnitTestError(f"{text} has landed already", given.location, "give the file another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        content = given.text if given.text is not None else _write_rows(given.rows, path.suffix)
        unfinished = path.with_name(f".{path.name}.tmp")
        unfinished.write_text(content)
        unfinished.rename(path)

    def _prepare(
        self,
        models: Sequence[ModelName],  # What the update is about
        runtime: Runtime,  # Declared
    ) -> None:
        "Store what has arrived, and cut out what the update is about; again where Spark runs what Sail left."
        found = {model: self._find_model(runtime, model) for model in models}
        self.models |= found
        for model, name in found.items():
            if name in self.stand_ins:
                location = self.stand_ins[name].given.location
                message = f"{model.text} is given, and it is under test"
                raise UnitTestError(message, location, "give what it reads")
        self._settle_columns(runtime)
        for name, stand_in in self.stand_ins.items():
            self._store(runtime.spark, name, stand_in)
        cut_out(runtime, list(found.values()), self.stand_ins)
        if found:
            self._refuse_unread(runtime, ", ".join(name.table for name in found.values()))

    def _find_model(
        self,
        runtime: Runtime,  # Declared
        model: ModelName,  # As a test names it
    ) -> TableName:
        text = fill(model.text, self.configuration, partial(_error_at, model.location))
        return find_dataset(runtime.graph, text, model.declaring, model.folder, model.location)

    def _settle_columns(
        self,
        runtime: Runtime,  # Declared
    ) -> None:
        "Decide the columns of the tables that are given: what the test says, the pipeline, the values."
        open_names = []
        for name, stand_in in self.stand_ins.items():
            if stand_in.columns is None and stand_in.given.schema is not None:
                stand_in.columns = _parse_columns(stand_in.given)
            if stand_in.columns is None:
                open_names.append(name)
        known = analyse_apart(runtime, open_names) if open_names else {}
        for name in open_names:
            stand_in = self.stand_ins[name]
            columns = known.get(name) or infer_columns(stand_in.rows)
            queries = [given for given in stand_in.waiting if given.query is not None]
            if name not in known and queries:
                columns = _run_query(runtime.spark, queries[0]).schema
            if not columns.names:
                raise UnitTestError(
                    f"nothing says which columns {stand_in.given.table} has",
                    stand_in.given.location,
                    "add schema: id INT, city STRING",
                )
            stand_in.columns = columns

    def _store(
        self,
        spark: SparkSession,  # The update's session
        name: TableName,  # Of the table
        stand_in: StandIn,  # With rows that have not arrived
    ) -> None:
        "Write what has arrived in a table; each of its parts once, whichever engine goes on."
        columns, path = stand_in.columns, self.storage.table_path(name)
        if columns is None:
            raise TypeError(f"{name} has no columns yet")
        if not is_table(path):
            create_table(spark, path, columns)
        while stand_in.waiting:
            given = stand_in.waiting[0]
            rows = _rows_of(spark, given, columns)
            if rows.num_rows or given.overwrites:
                commit_rows(DeltaTable(str(path)), rows, "overwrite" if given.overwrites else "append")
            stand_in.waiting.pop(0)

    def _refuse_unread(
        self,
        runtime: Runtime,  # Analysed: its part that the update is about
        models: str,  # Names of the datasets under test
    ) -> None:
        "Refuse a table that is given and not read: its name is wrong, or the test is of something else."
        read = runtime.update_inputs.tables
        for name, stand_in in self.stand_ins.items():
            if self.storage.table_path(name) in read:
                continue
            datasets = {table.table for found in runtime.analysed.values() for table in found.reads}
            tables = {path.name for path in read}
            message = f"{models} reads no table {stand_in.given.table}"
            hint = suggest(stand_in.given.table, sorted(datasets | tables))
            raise UnitTestError(message, stand_in.given.location, hint)


class FailedUpdateError(PipelineError):
    "An update that did not complete."

    def __init__(
        self,
        result: UpdateResult,  # How it ended
    ) -> None:
        super().__init__(result.error or f"the update is {result.state}")
        self.result = result


def _note_engine(
    told: list[str],  # Takes what to tell
    event: Mapping[str, Any],  # Of an update
) -> None:
    "Note that an update runs on Spark, and why."
    if "engine" in event["details"].get("update_progress", {}):
        told.append(event["message"])


def _error_at(
    location: Location | None,  # Where a test says something
    message: str,  # What is wrong with it
    hint: str,  # What to write instead
) -> UnitTestError:
    return UnitTestError(message, location, hint)


def _parse_columns(
    given: GivenTable,  # With a `schema`
) -> StructType:
    "Read a schema; `UnitTestError` where it is none."
    try:
        columns = cast(StructType, StructType.fromDDL(given.schema or ""))
    except (PySparkException, ValueError) as wrong:
        hint = "write columns and types: id INT, city STRING"
        raise UnitTestError(
            f"schema {given.schema!r}: {describe_exception(wrong)}", given.location, hint
        ) from None
    return columns


def _run_query(
    spark: SparkSession,  # The update's session
    given: GivenTable,  # With a query
) -> Any:  # Its rows, a DataFrame
    "Run the query of a given table; `NeedsSparkError` where Sail is not known to answer as Spark does."
    try:
        frame = spark.sql(str(given.query))
        unknown = engine_of(spark).find_unknown(frame)
    except PySparkException as wrong:  # named as its cause: what Sail refuses is left to Spark
        raise PipelineError(f"{given.table}: {describe_exception(wrong)}", given.location) from wrong
    if unknown and choose_engine() == "auto":
        raise NeedsSparkError(f"{given.table}: {unknown[0]}", given.location)
    return frame


def _rows_of(
    spark: SparkSession,  # The update's session
    given: GivenTable,  # Rows, or a query for them
    columns: StructType,  # Of the table
) -> pyarrow.Table:
    "Take the rows of a given table, with its types."
    if given.query is None:
        return to_arrow(given.rows, columns, given.table)
    frame = _run_query(spark, given)
    for name in frame.columns:
        if name not in columns.names:
            raise UnitTestError(
                f"{given.table} has no column {name!r}", given.location, suggest(name, columns.names)
            )
    rows: pyarrow.Table = frame.toArrow()
    return rows


def _write_rows(
    rows: Sequence[LocatedRow],  # Of a file
    suffix: str,  # `.csv`, or one of JSON
) -> str:  # What the file holds
    "Write rows as lines of JSON or CSV."
    if suffix != ".csv":
        return "".join(format_json(dict(row.values)) + "\n" for row in rows)
    columns = tuple(dict.fromkeys(name for row in rows for name in row.values))
    values = [tuple(row.values.get(name) for name in columns) for row in rows]
    return "\n".join(Rows(columns, values).csv_lines()) + "\n"
