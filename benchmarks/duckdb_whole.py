"""The six tables computed whole by DuckDB, from the files of the landing folder, as Parquet. Nothing is
incremental: every run reads every file.

    python benchmarks/duckdb_whole.py LANDING TABLES

The rules are those of chapter customers, written once more in SQL."""

import sys
from pathlib import Path

import duckdb

BLANK = "' \t\n\r\f\v\u00a0\u2007\u202f\u3000\ufeff'"
FIELDS = ("id", "firstname", "lastname", "email", "address")
BRONZE = """
CREATE TABLE customers_cdc_bronze AS
WITH lines AS (SELECT line, json_valid(line) AS whole, filename FROM read_csv('{landing}/*.json', columns = {{'line': 'VARCHAR'}},
    delim = '\x01', quote = '', escape = '', header = false, auto_detect = false, filename = true)),
parsed AS (SELECT *, from_json(CASE WHEN whole THEN line END, '{{"id": "VARCHAR", "firstname": "VARCHAR", "lastname": "VARCHAR",
    "email": "VARCHAR", "address": "VARCHAR", "operation": "VARCHAR", "operation_date": "VARCHAR"}}') AS event FROM lines)
SELECT event.id, event.firstname, event.lastname, event.email, event.address, event.operation,
    try_cast(event.operation_date AS TIMESTAMP) AS operation_date, CASE WHEN NOT whole THEN line END AS _corrupt_record,
    CASE WHEN event.operation_date IS NOT NULL AND try_cast(event.operation_date AS TIMESTAMP) IS NULL THEN event.operation_date END AS _rescued_data,
    filename AS source_file
FROM parsed"""
CONFORMED = f"""
CREATE VIEW conformed AS SELECT * REPLACE ({", ".join(f"nullif(trim({name}, {BLANK}), '') AS {name}" for name in FIELDS)},
    upper(nullif(trim(operation, {BLANK}), '')) AS operation) FROM customers_cdc_bronze"""
CHECKED = """
CREATE TABLE checked AS SELECT *, list_filter([
    CASE WHEN id IS NULL THEN 'valid_id' END,
    CASE WHEN NOT coalesce(operation IN ('APPEND', 'UPDATE', 'DELETE'), false) THEN 'valid_operation' END,
    CASE WHEN operation_date IS NULL THEN 'valid_operation_date' END,
    CASE WHEN _rescued_data IS NOT NULL THEN 'no_rescued_data' END,
    CASE WHEN _corrupt_record IS NOT NULL THEN 'not_corrupt' END], lambda rule: rule IS NOT NULL) AS failed_rules FROM conformed"""
TABLES = {
    "customers_cdc_clean": "SELECT * EXCLUDE failed_rules FROM checked WHERE len(failed_rules) = 0",
    "customers_cdc_quarantine": "SELECT * FROM checked WHERE len(failed_rules) > 0",
    "customers": """SELECT id, firstname, lastname, email, address FROM (SELECT * FROM customers_cdc_clean
        QUALIFY row_number() OVER (PARTITION BY id ORDER BY operation_date DESC) = 1) WHERE operation <> 'DELETE'""",
    "customers_history": """
        WITH events AS (SELECT DISTINCT ON (id, operation_date) id, firstname, lastname, email, address, operation_date AS __START_AT,
            operation = 'DELETE' AS deleted FROM customers_cdc_clean),
        marked AS (SELECT *, lag(row(deleted, firstname, lastname, email, address)) OVER (PARTITION BY id ORDER BY __START_AT) AS before FROM events),
        changes AS (SELECT * FROM marked WHERE CASE WHEN before IS NULL THEN NOT deleted
            ELSE before IS DISTINCT FROM row(deleted, firstname, lastname, email, address) END),
        versions AS (SELECT *, lead(__START_AT) OVER (PARTITION BY id ORDER BY __START_AT) AS __END_AT FROM changes)
        SELECT id, firstname, lastname, email, address, __START_AT, __END_AT FROM versions WHERE NOT deleted""",
    "customers_history_agg": """SELECT id, count(address) AS address_count, count(email) AS email_count, count(firstname) AS firstname_count,
        count(lastname) AS lastname_count, count(*) AS version_count FROM customers_history GROUP BY id""",
}


def main(landing, tables):
    folder = Path(tables)
    folder.mkdir(parents=True)
    with duckdb.connect() as database:
        for statement in (BRONZE.format(landing=landing), CONFORMED, CHECKED):
            database.execute(statement)
        for name, query in TABLES.items():
            database.execute(f"CREATE TABLE {name} AS {query}")
        for name in ("customers_cdc_bronze", *TABLES):
            database.execute(f"COPY {name} TO '{folder / name}.parquet'")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
