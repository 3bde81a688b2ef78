"Delta tables that grow by small commits, as updates make them, without Spark."

import json
import os

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake

from cdc_local.delta.checksum import write_checksum

SCHEMA = pa.schema([("id", pa.string()), ("value", pa.string())])


def rows(*ids, value="a"):
    return pa.table(
        [[f"{number:06}" for number in ids], [f"{value}{number}" for number in ids]], schema=SCHEMA
    )


def create(path, *, keys=(), **properties):
    "An empty table; with keys it is a target of AUTO CDC."
    if keys:
        properties["cdc.declaration"] = json.dumps({"keys": keys})
    schema = Schema.from_json(Schema.from_arrow(rows().schema).to_json())
    DeltaTable.create(str(path), schema, configuration=properties, raise_if_key_not_exists=False)
    write_checksum(DeltaTable(str(path)))
    return path


def commit(path, table, number=None, mode="append"):
    "Write rows in one commit, as the batch of a stream where it has a number."
    transactions = None if number is None else [Transaction("stream", number)]
    properties = CommitProperties(app_transactions=transactions)
    write_deltalake(str(path), table, mode=mode, commit_properties=properties)
    write_checksum(DeltaTable(str(path)))


def merge(path, table, number):
    "Replace rows of the same id and insert the others."
    properties = CommitProperties(app_transactions=[Transaction("stream", number)])
    action = DeltaTable(str(path)).merge(
        table, "old.id = new.id", "new", "old", commit_properties=properties, streamed_exec=False
    )
    action.when_matched_update_all().when_not_matched_insert_all().execute()
    write_checksum(DeltaTable(str(path)))


def age(path, seconds):
    "Let all files of a table be older than they are."
    for file in path.rglob("*"):
        moment = file.stat().st_mtime - seconds
        os.utime(file, (moment, moment))


def stored(path, version=None):
    return sorted(map(repr, DeltaTable(str(path), version=version).to_pyarrow_table().to_pylist()))


def log_versions(path):
    "Versions whose commits are in the log."
    return sorted(int(file.stem) for file in (path / "_delta_log").glob("*.json") if file.stem.isdigit())
