"Small pipelines as others write them, each run unmodified and compared with tables worked out by hand."

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("pyspark")
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from cdc_local.delta.reader import read_table
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, TableName, localize
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update


@dataclass(frozen=True)
class Step:
    "What arrives, then one update, then what the tables hold."

    tables: dict[str, list[tuple]]  # 'table(column, column)' -> rows, in any order
    files: dict[str, object] = field(
        default_factory=dict
    )  # path -> text, or dictionaries that become JSON lines
    delta: dict[str, list] = field(default_factory=dict)  # table or path -> rows to append
    change: Callable[[Storage], None] = lambda storage: None  # Anything else that happens
    rules: dict[str, tuple] = field(default_factory=dict)  # rule -> (passed, failed), over all datasets
    failure: str = ""  # Words of the error; empty for an update that completes


@dataclass(frozen=True)
class Case:
    "A pipeline and its updates."

    sources: dict[str, str]
    steps: list[Step]
    configuration: dict[str, str] = field(default_factory=dict)


def full_name(text):
    return TableName.parse(text, "main", "crm")


def arrive(storage, step):
    for path, content in step.files.items():
        file = Path(localize(storage, path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
        )
    for name, rows in step.delta.items():
        path = localize(storage, name) if name.startswith("/") else str(storage.table_path(full_name(name)))
        write_deltalake(path, pa.Table.from_pylist(rows), mode="append")
    step.change(storage)


def held(storage, wanted):
    "The rows of 'table(column, column)' or '/Volumes/…(column, column)'."
    name, _, columns = wanted.rstrip(")").partition("(")
    columns = [each.strip() for each in columns.split(",")]
    rows = (
        DeltaTable(localize(storage, name)).to_pyarrow_table()
        if name.startswith("/")
        else read_table(storage, full_name(name))
    )
    return [tuple(row[column] for column in columns) for row in rows.to_pylist()]


def in_order(rows):
    return sorted(rows, key=repr)


def update(folder, case, **options):
    source = folder / "src" / "etl"
    for name, text in case.sources.items():
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return run_update(
        UpdateRequest((str(source),), folder / "storage", "main", "crm", case.configuration, **options)
    )


CASES = {}

# Spellings

CASES["both spellings, old names, decorators on either side, one-, two- and three-part names, LIVE"] = Case(
    {
        "new.py": """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

@dp.table
@dp.expect('small', 'n < 3')
def numbers(): return spark.range(5).select(F.col('id').alias('n'))

@dp.expect_or_drop('even', 'n % 2 = 0')
@dp.materialized_view(name='evens', comment='Even numbers', cluster_by=['n'],
    table_properties={'quality': 'gold'})
def any_name(): return spark.read.table('main.crm.numbers')

@dp.temporary_view()
def pairs():
    return spark.sql('SELECT a.n, b.n AS m FROM crm.numbers a JOIN evens AS b ON a.n = b.n + 1')

@dp.materialized_view(private=True)
def pair_count(): return spark.table('pairs').groupBy().count()
""",
        "old.py": """
import dlt
from pyspark.sql.functions import col, expr

@dlt.view
@dlt.expect_all_or_drop({'positive': 'n > 0', 'not four': 'n <> 4'})
def positive(): return dlt.read('numbers')

@dlt.table(temporary=True, partition_cols=['odd'], schema='n BIGINT, odd BOOLEAN')
def kept(): return spark.sql('SELECT LIVE.positive.n, n % 2 = 1 AS odd FROM LIVE.positive')

@dlt.table
def arrivals():
    return (spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
        .schema('id INT, city STRING, at INT')
        .load('dbfs:/Volumes/main/crm/raw/arrivals'))

dlt.create_streaming_live_table('copied', expect_all={'named': 'city IS NOT NULL'})

@dlt.append_flow(target='copied')
def copying(): return dlt.read_stream('arrivals').where(col('id') > 1)

dlt.create_target_table(name='latest')
dlt.apply_changes(target='LIVE.latest', source='arrivals', keys=['id'], sequence_by=col('at'),
    apply_as_deletes=expr("city = 'gone'"), except_column_list=['at'])
""",
    },
    [
        Step(
            {
                "numbers(n)": [(0,), (1,), (2,), (3,), (4,)],
                "evens(n)": [(0,), (2,), (4,)],
                "pair_count(count)": [(2,)],
                "kept(n, odd)": [(1, True), (2, False), (3, True)],
                "arrivals(id, city)": [(1, "Ulm"), (2, None)],
                "copied(id)": [(2,)],
                "latest(id, city)": [(1, "Ulm"), (2, None)],
            },
            files={"/Volumes/main/crm/raw/arrivals/1.json": [dict(id=1, city="Ulm", at=1), dict(id=2, at=1)]},
            rules={"small": (3, 2), "even": (3, 2), "positive": (4, 1), "not four": (4, 1), "named": (0, 1)},
        ),
        Step(
            {"copied(id)": [(2,), (2,)], "latest(id, city)": [(2, "Bonn")], "evens(n)": [(0,), (2,), (4,)]},
            files={
                "/Volumes/main/crm/raw/arrivals/2.json": [
                    dict(id=2, city="Bonn", at=2),
                    dict(id=1, city="gone", at=2),
                ]
            },
            rules={"named": (1, 0), "even": (3, 2)},
        ),
    ],
)

# SQL

ORDERS, PEOPLE = "/Volumes/main/crm/raw/orders", "/Volumes/main/crm/raw/people"
CASES["SQL files: read_files, _metadata, constraints, APPLY CHANGES, AUTO CDC, a stream joined with rows"] = (
    Case(
        {
            "bronze.sql": """
SET pipelines.demo;
SET demo.currency = EUR;
CREATE OR REFRESH STREAMING TABLE orders_raw
COMMENT "as they come" TBLPROPERTIES ('quality' = 'bronze')
AS SELECT *, _metadata.file_name AS file, '${demo.currency}' AS currency
FROM STREAM read_files("${raw}/orders", format => "json", schemaHints => "amount DECIMAL(9,2)");

create or refresh streaming live table people_raw
as select *, _metadata.file_name as file
from stream(read_files('${raw}/people', format => 'csv', header => true));

-- a file with a header, and no word about it
CREATE STREAMING TABLE towns AS SELECT city, int(size) AS size
FROM STREAM cloud_files('/Volumes/main/crm/raw/towns', 'csv', map('cloudFiles.inferColumnTypes', 'true'))""",
            "silver/people.sql": """
CREATE OR REFRESH STREAMING TABLE people;
APPLY CHANGES INTO LIVE.people FROM STREAM(LIVE.people_raw) KEYS (id)
  APPLY AS DELETE WHEN operation = "DELETE" SEQUENCE BY at -- the order of events
  COLUMNS * EXCEPT (operation, at, file, _rescued_data) STORED AS SCD TYPE 2;

CREATE OR REFRESH STREAMING TABLE people_now;
CREATE FLOW people_now_flow AS AUTO CDC INTO people_now FROM STREAM people_raw
  KEYS (`ID`) APPLY AS DELETE WHEN operation = 'DELETE' SEQUENCE BY at
  COLUMNS (id, city) STORED AS SCD TYPE 1;

CREATE TEMPORARY STREAMING LIVE VIEW paid_orders (CONSTRAINT paid EXPECT (amount > 0) ON VIOLATION DROP ROW)
  AS SELECT * FROM STREAM(orders_raw);""",
            "silver/orders.sql": """-- Databricks notebook source
-- MAGIC %md
-- MAGIC # Orders, with SELECT * FROM nowhere in its text

-- COMMAND ----------

-- MAGIC %python
-- MAGIC displayHTML(f"<b>{1 + 1}</b>")

-- COMMAND ----------

-- DBTITLE 1,Orders with the city their buyer lives in now
CREATE OR REFRESH STREAMING TABLE orders (
  order_id BIGINT COMMENT "number", buyer BIGINT, amount DECIMAL(9,2), city STRING,
  CONSTRAINT `has a buyer` EXPECT (buyer IS NOT NULL) ON VIOLATION DROP ROW,
  CONSTRAINT known EXPECT (city IS NOT NULL)
) PARTITIONED BY (city)
AS SELECT o.order_id, o.buyer, o.amount, p.city
FROM STREAM(paid_orders) o LEFT JOIN people p ON o.buyer = p.id AND p.__END_AT IS NULL

-- COMMAND ----------

CREATE OR REFRESH MATERIALIZED VIEW per_city CLUSTER BY (city) AS
WITH sums AS (SELECT city, sum(amount) AS total FROM main.crm.orders GROUP BY ALL)
SELECT s.city, s.total, t.size FROM sums s LEFT JOIN LIVE.towns t USING (city)""",
        },
        [
            Step(
                {
                    "orders_raw(order_id, file, currency)": [
                        (1, "1.json", "EUR"),
                        (2, "1.json", "EUR"),
                        (3, "1.json", "EUR"),
                        (4, "1.json", "EUR"),
                    ],
                    "towns(city, size)": [("Ulm", 7), ("Bonn", 9)],
                    "people(id, city, __START_AT, __END_AT)": [(1, "Ulm", 1, None), (2, "Bonn", 1, None)],
                    "people_now(id, city)": [(1, "Ulm"), (2, "Bonn")],
                    "per_city(city, size)": [("Ulm", 7), (None, None)],
                },
                files={
                    f"{ORDERS}/1.json": [
                        dict(order_id=1, buyer=1, amount=5),
                        dict(order_id=2, buyer=9, amount=2.5),
                        dict(order_id=3, buyer=1, amount=-1),
                        dict(order_id=4, amount=1),
                    ],
                    f"{PEOPLE}/1.csv": "id,city,operation,at\n1,Ulm,INSERT,1\n2,Bonn,INSERT,1\n",
                    "/Volumes/main/crm/raw/towns/1.csv": "city,size\nUlm,7\nBonn,9\n",
                },
                rules={"paid": (3, 1), "has a buyer": (2, 1), "known": (1, 2)},
            ),
            Step(
                {
                    "people(id, city, __START_AT, __END_AT)": [
                        (1, "Ulm", 1, 3),
                        (1, "Kiel", 3, 4),
                        (1, "Hof", 4, None),
                        (2, "Bonn", 1, 2),
                    ],
                    "people_now(id, city)": [(1, "Hof")],
                    "orders(order_id, city)": [(1, "Ulm"), (2, None), (5, "Hof")],
                },
                files={
                    f"{ORDERS}/2.json": [dict(order_id=5, buyer=1, amount=3)],
                    f"{PEOPLE}/2.csv": "id,city,operation,at\n1,Hof,UPDATE,4\n1,Kiel,UPDATE,3\n2,,DELETE,2\n",
                },
            ),
        ],
        {"raw": "/Volumes/main/crm/raw"},
    )
)

# Where code lives

NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Totals"]},
        {
            "cell_type": "code",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": ["%pip install nothing-real\n", "import dlt"],
        },
        {
            "cell_type": "code",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": [
                "@dlt.table\n",
                "def totals():\n",
                '    both = dlt.read("cats_clean").unionByName(dlt.read("dogs_clean"))\n',
                '    return both.groupBy("kind").count()\n',
                'display("never")',
            ],
        },
        {
            "cell_type": "code",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": [
                "%sql\n",
                "CREATE OR REFRESH MATERIALIZED VIEW most AS SELECT max(count) AS n FROM totals",
            ],
        },
    ],
    "metadata": {"language_info": {"name": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def change(at, op, id=None, name=None, city=None, changed=None):
    return {"at": at, "op": op, "id": id, "name": name, "city": city, "changed": changed}


# The vendor's documented feed with its truncate, then events that do not say everything,
# all of them late or out of order
CASES["AUTO CDC: truncates, NULLs that say nothing, lists of changed columns"] = Case(
    {
        "partial.py": """
from pyspark import pipelines as dp

@dp.table
def changes():
    return (spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
        .schema('at int, op string, id int, name string, city string, changed array<string>')
        .load('/Volumes/main/crm/raw/changes'))

COMMON = dict(source='changes', keys=['id'], sequence_by='at', apply_as_deletes="op = 'DELETE'",
    except_column_list=['at', 'op', 'changed'])
dp.create_streaming_table('emptied', expect_all_or_drop={'known': 'id IS NOT NULL'})
dp.create_auto_cdc_flow(target='emptied', apply_as_truncates="op = 'TRUNCATE'", **COMMON)

@dp.temporary_view
def keyed(): return spark.readStream.table('changes').where('id IS NOT NULL')

for target, options in {'silent': dict(ignore_null_updates=True),
        'listed_history': dict(columns_to_update='changed', stored_as_scd_type='2')}.items():
    dp.create_streaming_table(target)
    dp.create_auto_cdc_flow(target=target, **COMMON | dict(source='keyed') | options)
"""
    },
    [
        Step(
            files={
                "/Volumes/main/crm/raw/changes/1.json": [
                    change(1, "INSERT", 124, "Raul", "Oaxaca"),
                    change(1, "INSERT", 123, "Isabel", "Monterrey"),
                    change(2, "INSERT", 125, "Mercedes", "Tijuana"),
                    change(2, "INSERT", 126, "Lily", "Cancun"),
                    change(6, "DELETE", 123),
                    change(3, "TRUNCATE"),
                ]
            },
            tables={
                "emptied(id)": [],
                "silent(id, city)": [(124, "Oaxaca"), (125, "Tijuana"), (126, "Cancun")],
            },
        ),
        Step(
            files={
                "/Volumes/main/crm/raw/changes/2.json": [
                    change(6, "UPDATE", 125, None, "Guadalajara", ["city"])
                ]
            },
            tables={
                "emptied(id, name, city)": [(125, None, "Guadalajara")],
                "silent(id, name, city)": [
                    (124, "Raul", "Oaxaca"),
                    (125, "Mercedes", "Guadalajara"),
                    (126, "Lily", "Cancun"),
                ],
            },
        ),
        Step(
            files={
                "/Volumes/main/crm/raw/changes/3.json": [
                    change(5, "UPDATE", 125, None, "Mexicali", ["city"]),
                    change(5, "UPDATE", 123, "Isabel", "Chihuahua"),
                    change(2, "UPDATE", 124, "Raoul"),
                    change(4, "UPDATE", 126, None, None, ["name"]),
                    change(7, "UPDATE", 126, "Lilian"),
                ]
            },
            tables={
                "emptied(id, name, city)": [(125, None, "Guadalajara"), (126, "Lilian", None)],
                "silent(id, name, city)": [
                    (124, "Raoul", "Oaxaca"),
                    (125, "Mercedes", "Guadalajara"),
                    (126, "Lilian", "Cancun"),
                ],
                "listed_history(id, name, city, __START_AT, __END_AT)": [
                    (123, "Isabel", "Monterrey", 1, 5),
                    (123, "Isabel", "Chihuahua", 5, 6),
                    (124, "Raul", "Oaxaca", 1, 2),
                    (124, "Raoul", None, 2, None),
                    (125, "Mercedes", "Tijuana", 2, 5),
                    (125, "Mercedes", "Mexicali", 5, 6),
                    (125, "Mercedes", "Guadalajara", 6, None),
                    (126, "Lily", "Cancun", 2, 4),
                    (126, None, "Cancun", 4, 7),
                    (126, "Lilian", None, 7, None),
                ],
            },
        ),
    ],
)


CASES["notebooks, modules beside the sources, factories in loops over a volume and over configuration"] = (
    Case(
        {
            "pets.py": """# Databricks notebook source
# MAGIC %md
# MAGIC ## Pets
# MAGIC `@dlt.table` is explained here and runs nowhere

# COMMAND ----------

# MAGIC %pip install faker

# COMMAND ----------

import ast, dlt
from pyspark.sql import SparkSession
from rules.pet_rules import RULES, with_kind

spark = SparkSession.builder.getOrCreate()
root = spark.conf.get('pets.root')

# COMMAND ----------

displayHTML('<i>pets</i>')

def declare_kind(kind):
    @dlt.table(name=f'{kind}_raw')
    def read_kind():
        files = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
        return files.option('cloudFiles.inferColumnTypes', 'true').load(f'{root}/{kind}')

    @dlt.table(name=f'`main`.`crm`.`{kind}_clean`')
    @dlt.expect_all_or_drop(RULES)
    def clean_kind():
        return with_kind(spark.readStream.table(f'LIVE.{kind}_raw'), kind)

for folder in dbutils.fs.ls(root):
    declare_kind(folder.name[:-1])

# COMMAND ----------

for year in ast.literal_eval(spark.conf.get('pets.years')):
    @dlt.table(name=f'born_{year}')
    def born(year=year):
        return spark.read.table('cats_clean').where(f'born = {year}').select('name')
""",
            "totals.ipynb": json.dumps(NOTEBOOK),
            "rules/pet_rules.txt": "not a source",
            "../rules/pet_rules.py": """
from pyspark.sql import functions as F

RULES = {'named': 'name IS NOT NULL', 'born': 'born > 1990'}

def with_kind(frame, kind): return frame.withColumn('kind', F.lit(kind))
""",
        },
        [
            Step(
                {
                    "cats_clean(name, kind)": [("Mia", "cats"), ("Tom", "cats")],
                    "dogs_clean(name)": [("Rex",)],
                    "born_2001(name)": [("Mia",)],
                    "born_2002(name)": [("Tom",)],
                    "totals(kind, count)": [("cats", 2), ("dogs", 1)],
                    "most(n)": [(2,)],
                },
                files={
                    "/Volumes/main/crm/pets/cats/1.json": [
                        dict(name="Mia", born=2001),
                        dict(name="Tom", born=2002),
                        dict(born=2001),
                    ],
                    "/Volumes/main/crm/pets/dogs/1.json": [
                        dict(name="Rex", born=2001),
                        dict(name="Old", born=1950),
                    ],
                },
                rules={"named": (4, 1), "born": (4, 1)},
            )
        ],
        {"pets.root": "/Volumes/main/crm/pets", "pets.years": "[2001, 2002]"},
    )
)

CASES["USE in a source file, Delta folders as streams, keys in another case, rules above the decorator"] = (
    Case(
        {
            "landing.py": """
import dlt
spark.sql("USE CATALOG shop"); spark.sql("USE SCHEMA landing")
places = {'goods': '/Volumes/shop/landing/goods/'}
def stream_of(name, path):
    @dlt.table(name=name)
    def landed(): return spark.readStream.format('delta').load(path)
for name, path in places.items(): stream_of(name, path)
""",
            "refined.py": """
import dlt
from pyspark.sql.functions import *
spark.sql("USE CATALOG shop"); spark.sql("USE SCHEMA refined")

@dlt.expect_all_or_drop({'priced': 'price > 0'})
@dlt.view(name='goods_view')
def goods_view():
    return spark.readStream.table('shop.landing.goods').withColumn('name', initcap('name'))

dlt.create_streaming_table(name='goods', expect_all_or_drop={'named': 'name IS NOT NULL'})
dlt.create_auto_cdc_flow(target='goods', source='goods_view', keys=['goodskey'], sequence_by='changed',
    stored_as_scd_type=2,
    track_history_except_column_list=None, name=None, once=False)
""",
            "report.sql": "CREATE MATERIALIZED VIEW report AS SELECT g.name, goods.price "
            "FROM shop.refined.goods AS g "
            "JOIN shop.landing.goods ON g.GoodsKey = goods.GoodsKey AND g.__START_AT = goods.changed",
        },
        [
            Step(
                {
                    "shop.refined.goods(GoodsKey, name, __START_AT, __END_AT)": [(1, "Tea", 1, None)],
                    "shop.landing.goods(GoodsKey)": [(1,), (2,), (3,)],
                    "main.crm.report(name, price)": [("Tea", 2.0)],
                },
                delta={
                    "/Volumes/shop/landing/goods": [
                        dict(GoodsKey=1, name="tea", price=2.0, changed=1),
                        dict(GoodsKey=2, name="free", price=0.0, changed=1),
                        dict(GoodsKey=3, name=None, price=1.0, changed=1),
                    ]
                },
            ),
            Step(
                {
                    "shop.refined.goods(GoodsKey, name, __START_AT, __END_AT)": [
                        (1, "Tea", 1, 2),
                        (1, "Green Tea", 2, None),
                    ]
                },
                delta={
                    "/Volumes/shop/landing/goods": [dict(GoodsKey=1, name="green tea", price=3.0, changed=2)]
                },
            ),
        ],
    )
)

# Flows, sinks, sources that change


def correct_a_row(storage):
    DeltaTable(str(storage.table_path(full_name("raw.east")))).update(
        predicate="id = 1", new_values={"place": "'corrected'"}
    )


CASES["several flows into one table, once, sinks, and a source whose rows change"] = Case(
    {
        "flows.py": """
from pyspark import pipelines as dp

dp.create_streaming_table('sales', partition_cols=['place'], cluster_by=None,
    expect_all_or_drop={'counted': 'id > 0'})

for place in ('east', 'west'):
    @dp.append_flow(target='sales', name=f'sales_{place}')
    def flow(place=place): return spark.readStream.option('skipChangeCommits', 'true').table(f'raw.{place}')

@dp.append_flow(target='sales', once=True)
def backfill(): return spark.read.table('raw.past')

dp.create_sink('archive', 'delta', {'path': '/Volumes/main/crm/out/archive'})
dp.create_sink(name='ledger', format='delta', options={'tableName': 'main.crm.ledger'})

@dp.append_flow(target='archive')
def archiving(): return spark.readStream.table('sales')

@dp.append_flow(target='ledger', name='bookkeeping')
def booking(): return spark.readStream.table('sales').selectExpr('id AS entry')

@dp.foreach_batch_sink(name='counts')
def count_batch(batch, batch_id):
    batch.groupBy().count().write.format('delta').mode('append').save('/Volumes/main/crm/out/counts')

@dp.append_flow(target='counts')
def counting(): return spark.readStream.table('sales')
""",
        "strict.py": """
from pyspark import pipelines as dp

@dp.table
def strict(): return spark.readStream.table('raw.east')
""",
    },
    [
        Step(
            {
                "sales(id, place)": [(1, "east"), (2, "west"), (9, "past")],
                "ledger(entry)": [(1,), (2,), (9,)],
                "strict(id)": [(1,)],
                "/Volumes/main/crm/out/archive(id, place)": [(1, "east"), (2, "west"), (9, "past")],
                "/Volumes/main/crm/out/counts(count)": [(3,)],
            },
            delta={
                "raw.east": [dict(id=1, place="east")],
                "raw.west": [dict(id=2, place="west"), dict(id=-1, place="west")],
                "raw.past": [dict(id=9, place="past")],
            },
            rules={"counted": (3, 1)},
        ),
        Step(
            {
                "sales(id, place)": [(1, "east"), (2, "west"), (9, "past"), (3, "west")],
                "strict(id)": [(1,)],
                "ledger(entry)": [(1,), (2,), (9,), (3,)],
                "/Volumes/main/crm/out/counts(count)": [(3,), (1,)],
            },
            delta={"raw.west": [dict(id=3, place="west")], "raw.past": [dict(id=10, place="past")]},
            change=correct_a_row,
            failure="skipChangeCommits",
        ),
    ],
)

# AUTO CDC: the vendor's example

CDC = """
from pyspark import pipelines as dp
from pyspark.sql.functions import col, expr

@dp.view
def users():
    return (spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
        .schema('userId INT, name STRING, city STRING, operation STRING, sequenceNum INT')
        .load('/Volumes/main/crm/raw/users'))

def keep(target, **options):
    dp.create_streaming_table(target)
    dp.create_auto_cdc_flow(target=target, source='users', keys=['userId'], sequence_by=col('sequenceNum'),
        apply_as_deletes=expr("operation = 'DELETE'"),
        except_column_list=['operation', 'sequenceNum'], **options)

keep('scd1', stored_as_scd_type=1)
keep('scd2', stored_as_scd_type='2')
keep('scd2_not_city', stored_as_scd_type=2, track_history_except_column_list=['city'])
"""
USERS = [
    (124, "Raul", "Oaxaca", "INSERT", 1),
    (123, "Isabel", "Monterrey", "INSERT", 1),
    (125, "Mercedes", "Tijuana", "INSERT", 2),
    (126, "Lily", "Cancun", "INSERT", 2),
    (123, None, None, "DELETE", 6),
    (125, "Mercedes", "Guadalajara", "UPDATE", 6),
    (125, "Mercedes", "Mexicali", "UPDATE", 5),
    (123, "Isabel", "Chihuahua", "UPDATE", 5),
]
SCD1 = [(124, "Raul", "Oaxaca"), (125, "Mercedes", "Guadalajara"), (126, "Lily", "Cancun")]
SCD2 = [
    (123, "Isabel", "Monterrey", 1, 5),
    (123, "Isabel", "Chihuahua", 5, 6),
    (124, "Raul", "Oaxaca", 1, None),
    (125, "Mercedes", "Tijuana", 2, 5),
    (125, "Mercedes", "Mexicali", 5, 6),
    (125, "Mercedes", "Guadalajara", 6, None),
    (126, "Lily", "Cancun", 2, None),
]
SCD2_NOT_CITY = [
    (123, "Isabel", "Chihuahua", 1, 6),
    (124, "Raul", "Oaxaca", 1, None),
    (125, "Mercedes", "Guadalajara", 2, None),
    (126, "Lily", "Cancun", 2, None),
]
HISTORY = "userId, name, city, __START_AT, __END_AT"
DOCUMENTED = {
    "scd1(userId, name, city)": SCD1,
    f"scd2({HISTORY})": SCD2,
    f"scd2_not_city({HISTORY})": SCD2_NOT_CITY,
}


def users(number, *events):
    columns = ("userId", "name", "city", "operation", "sequenceNum")
    return {
        f"/Volumes/main/crm/raw/users/{number}.json": [
            dict(zip(columns, event, strict=True)) for event in events
        ]
    }


CASES["the documented AUTO CDC example in one update"] = Case(
    {"cdc.py": CDC}, [Step(DOCUMENTED, files=users(1, *USERS))]
)

CASES["the documented AUTO CDC example over three updates, the latest events first"] = Case(
    {"cdc.py": CDC},
    [
        Step(
            {
                "scd1(userId, name, city)": [(125, "Mercedes", "Guadalajara")],
                f"scd2({HISTORY})": [(125, "Mercedes", "Guadalajara", 6, None)],
            },
            files=users(1, *[event for event in USERS if event[-1] == 6]),
        ),
        Step(
            {
                "scd1(userId, name, city)": [(125, "Mercedes", "Guadalajara"), (126, "Lily", "Cancun")],
                f"scd2({HISTORY})": [
                    (123, "Isabel", "Chihuahua", 5, 6),
                    (125, "Mercedes", "Mexicali", 5, 6),
                    (125, "Mercedes", "Guadalajara", 6, None),
                    (126, "Lily", "Cancun", 2, None),
                ],
            },
            files=users(2, *[event for event in USERS if event[-1] == 5 or event[0] == 126]),
        ),
        Step(
            DOCUMENTED,
            files=users(3, *[event for event in USERS if event[-1] < 5 and event[0] != 126], USERS[6]),
        ),
    ],
)


def summed(result):
    "Rule -> (passed, failed) over all flows."
    found = {}
    for rule in (rule for flow in result.flows for rule in flow.expectations):
        passed, failed = found.get(rule.name, (0, 0))
        found[rule.name] = passed + rule.passed_records, failed + rule.failed_records
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_pipeline(case, tmp_path):
    storage = Storage(tmp_path / "storage").create()
    for number, step in enumerate(case.steps, 1):
        arrive(storage, step)
        result = update(tmp_path, case)
        assert result.state == ("FAILED" if step.failure else "COMPLETED"), f"update {number}: {result.error}"
        assert step.failure in (result.error or "")
        assert {name: in_order(held(storage, name)) for name in step.tables} == {
            name: in_order(rows) for name, rows in step.tables.items()
        }, f"update {number}"
        assert {
            name: counts for name, counts in summed(result).items() if name in step.rules
        } == step.rules, f"update {number}"


# What Lakeflow refuses

HEAD = "from pyspark import pipelines as dp\n"
REFUSED = {
    "an action in a dataset function": (
        HEAD + "@dp.table\ndef a(): return spark.range(spark.range(3).count())",
        "count is an action",
    ),
    "a write in a dataset function": (
        HEAD + '@dp.table\ndef a():\n    spark.range(3).write.saveAsTable("b")\n    return spark.range(3)',
        "write is a write",
    ),
    "a cycle": (
        HEAD + '@dp.table\ndef a(): return spark.table("b")\n@dp.table\ndef b(): return spark.table("a")',
        "a cycle",
    ),
    "one name twice": (
        HEAD
        + "@dp.table\ndef a(): return spark.range(1)\n"
        + '@dp.table(name="main.crm.a")\ndef b(): return spark.range(1)',
        "declared twice",
    ),
    "a misspelt parameter": (
        HEAD + 'dp.create_streaming_table("a", expect_al={})',
        "did you mean `expect_all`",
    ),
    "an old parameter that never was": (
        'import dlt\ndlt.create_streaming_table("a")\n'
        'dlt.apply_changes(target="a", source="b", keys=["id"], sequence_by="at", apply_as_delete_when="x")',
        "no parameter `apply_as_delete_when`",
    ),
    "a batch in an append flow": (
        HEAD + 'dp.create_streaming_table("a")\n@dp.append_flow(target="a")\ndef b(): return spark.range(1)',
        "appends a batch",
    ),
    "a stream in a flow that runs once": (
        HEAD
        + 'dp.create_streaming_table("a")\n@dp.append_flow(target="a", once=True)\n'
        + 'def b(): return spark.readStream.format("rate").load()',
        "runs once",
    ),
    "a stream in a materialized view": (
        HEAD + '@dp.materialized_view\ndef a(): return spark.readStream.format("rate").load()',
        "reads a stream",
    ),
    "a stream from a materialized view": (
        HEAD
        + '@dp.table\ndef b(): return spark.range(1)\n@dp.table\ndef a(): return spark.readStream.table("b")',
        "cannot be streamed from",
    ),
    "a table that is nowhere": (
        HEAD + '@dp.table\ndef orders(): return spark.table("crm.ordrs2")',
        "crm.ordrs2",
    ),
    "a module that is nowhere": (
        "import databricks.pipelines as dp",
        "No module named 'databricks.pipelines'",
    ),
    "a rule with a typing error": (
        HEAD + '@dp.table\n@dp.expect("r", "idd > 0")\ndef a(): return spark.range(1)',
        "expectation 'r'",
    ),
}


@pytest.mark.parametrize("text, words", REFUSED.values(), ids=REFUSED.keys())
def test_refused_before_anything_is_written(text, words, tmp_path):
    with pytest.raises(PipelineError) as caught:
        update(tmp_path, Case({"a.py": text}, []))
    assert words in str(caught.value) + str(caught.value.hint) and "a.py:" in str(caught.value)
    assert not Storage(tmp_path / "storage").tables()
