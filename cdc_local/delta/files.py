"""The Parquet files of a Delta table, read by DuckDB: the stored rows of a few keys in some milliseconds."""

import glob
from pathlib import Path

import pyarrow
from deltalake import DeltaTable

from cdc_local.sql_names import quote_for_duckdb


def list_data_files(
    table: DeltaTable,  # The table
    path: Path,  # Its folder
) -> list[Path]:
    "List the files that hold the rows of a table."
    return [path / name for name in pyarrow.table(table.get_add_actions())["path"].to_pylist()]


def can_read_files(
    files: list[Path],  # Of a Delta table
) -> bool:
    "Whether all files lie in the table's folder, and no footer has a timestamp in the old format."
    if not all(file.exists() for file in files):
        return False  # a clone's files lie elsewhere, and are named in another way
    import duckdb  # costs time that an update without new rows need not take

    query = "SELECT count(*) FROM parquet_schema($files) WHERE type = 'INT96'"
    return duckdb.connect().execute(query, {"files": _escape(files)}).fetchone() == (0,)


def read_rows_with_keys(
    files: list[Path],  # Of a Delta table, which `can_read_files`
    keys: pyarrow.Table,  # The keys looked for: a row each, of the table's key columns
    schema: pyarrow.Schema,  # Columns of the table
    limit: int,  # Read no more rows than that
) -> pyarrow.Table:  # All columns of the stored rows
    "Read the stored rows of some keys."
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("keys", keys)
    connection.register("columns", schema.empty_table())
    stored = "FROM read_parquet($files, union_by_name=true, hive_partitioning=false)"
    names = ", ".join(map(quote_for_duckdb, keys.column_names))
    query = f"FROM columns UNION ALL BY NAME ({stored} SEMI JOIN keys USING ({names})) LIMIT {limit}"
    rows = connection.sql(query, params={"files": _escape(files)})
    found = rows.to_arrow_table().select(schema.names).cast(schema)
    # Spark reads no nested column that has not even an empty piece
    return found if found.num_rows else schema.empty_table()


def _escape(
    files: list[Path],  # Whatever signs their names have
) -> list[str]:  # Patterns that match just these files
    return [glob.escape(str(file)) for file in files]
