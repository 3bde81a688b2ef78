"A pipeline with an SCD type 1, a type 2 and a file-fed target, which tests of repair and erase damage."

import json
from dataclasses import replace

from delta.tables import DeltaTable
from deltalake import DeltaTable as Files

from cdc_local.engines.spark.session import start_spark
from cdc_local.operations.repair import KeyChoice, repair_table
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

PIPELINE = """
from pyspark import pipelines as dp
@dp.table
def landed():
    files = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
    return files.option('cloudFiles.schemaHints', 'at int').load('/Volumes/main/default/raw/moves')
@dp.temporary_view
def wanted(): return spark.readStream.table('landed').where("city is null or city <> 'Nowhere'")
@dp.temporary_view
def keyed(): return spark.readStream.table('wanted').where('id is not null')
hidden = ['op', 'at', '_rescued_data']
common = dict(keys=['id'], sequence_by='at', apply_as_deletes="op = 'D'", except_column_list=hidden)
for target in ('now', 'history', 'direct'): dp.create_streaming_table(target)
dp.create_auto_cdc_flow('now', 'wanted', apply_as_truncates="op = 'T'", **common)
dp.create_auto_cdc_flow('history', 'keyed', stored_as_scd_type=2, **common)
@dp.temporary_view
def files(): return landed_files().where('id is not null')
def landed_files():
    files = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
    return files.load('/Volumes/main/default/raw/moves')
dp.create_auto_cdc_flow('direct', 'files', ['id'], 'int(at)', except_column_list=hidden)
"""
FIRST = [
    ("7", "Bern", 10, "U"),
    ("7", "Oslo", 12, "U"),
    ("8", "Rome", 10, "U"),
    ("8", "Rome", 13, "D"),
    ("9", "Nowhere", 1, "U"),
    ("9", "Kyiv", 11, "U"),
    ("6", "Gone", 3, "U"),
    (None, None, 5, "T"),
]


class Moves:
    "The pipeline after one update; `right` is what the files of its targets then held."

    def __init__(self, folder, first=FIRST, told=(8, 7, 6, 7)):
        self.sources, self.storage = folder / "transformations", Storage(folder / "storage")
        self.sources.mkdir()
        (self.sources / "moves.py").write_text(PIPELINE.lstrip())
        self.request = UpdateRequest((str(self.sources),), self.storage.root, master="local[2]")
        self.land("1", *first)
        assert self.update() == dict(zip(("landed", "now", "history", "direct"), told, strict=True))
        self.right = {table: self.stored(table) for table in ("now", "history", "direct")}

    def land(self, name, *events):
        landing = self.storage.root / "Volumes/main/default/raw/moves"
        landing.mkdir(parents=True, exist_ok=True)
        (landing / f"{name}.json").write_text(
            "".join(
                json.dumps(dict(zip(("id", "city", "at", "op"), event, strict=True))) + "\n"
                for event in events
            )
        )

    def update(self):
        result = run_update(self.request)
        assert result.state == "COMPLETED", result.error
        return {flow.dataset.split(".")[-1]: flow.num_output_rows for flow in result.flows}

    def path(self, table):
        return str(self.storage.table_path(TableName("main", "default", table)))

    def stored(self, table):
        return sorted(map(str, Files(self.path(table)).to_pyarrow_table().to_pylist()))

    def version(self, table):
        return Files(self.path(table)).version()

    def delta(self, table):
        return DeltaTable.forPath(start_spark(), self.path(table))

    def repair(self, table, where=None, since=None, until=None, force=False, **options):
        return repair_table(replace(self.request, **options), table, KeyChoice(where, since, until), force)
