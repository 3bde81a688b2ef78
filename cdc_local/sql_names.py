"""Names quoted for SQL: any column's name is safe in a query, whatever signs it has."""

import re


def quote_for_spark(
    name: str,  # A column, a field, a part of a table's name
) -> str:  # The same as an identifier of Spark SQL
    """Quote a name with backticks."""
    return "`" + name.replace("`", "``") + "`"


def unquote(
    name: str,  # A name as an author writes it, perhaps in backticks
) -> str:  # The name itself
    """Take a name out of its backticks."""
    quoted = re.fullmatch(r"`((?:[^`]|``)+)`", name.strip())
    return quoted[1].replace("``", "`") if quoted else name


def quote_for_duckdb(
    name: str,  # A column
) -> str:  # The same as an identifier of DuckDB's, DataFusion's and standard SQL
    """Quote a name with double quotes."""
    return '"' + name.replace('"', '""') + '"'
