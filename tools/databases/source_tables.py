"""The two tables of the proof, as Debezium sends them."""

from cdc_utils.envelopes import debezium
from cdc_utils.envelopes.changes import SourceTable

COLUMNS = {
    "id": "int",
    "name": "string",
    "price": "decimal(12,2)",
    "made": "date",
    "seen": "timestamp_ntz",
    "sold": "timestamp",
    "weight": "double",
    "active": "boolean",
    "notes": "string",
    "tags": "array<string>",
    "data": "string",
    "code": "binary",
    "number": "bigint",
}
ENCODINGS = {"price": "Decimal", "seen": "MicroTimestamp", "code": "bytes"}
PRODUCTS = SourceTable(debezium.POSTGRES, ["id"], COLUMNS, ENCODINGS)  # truncated now and then
ORDERS = SourceTable(debezium.POSTGRES, ["id"], COLUMNS, ENCODINGS, keeps_history=True)
