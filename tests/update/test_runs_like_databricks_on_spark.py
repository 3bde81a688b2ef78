"Pipelines as others write them of which Spark alone does a part: layouts, sinks, streams, SQL."

import json

import pytest
from deltalake import DeltaTable
from test_runs_like_databricks import HEAD, Case, Step, assert_case, assert_refused, full_name

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


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_pipeline(case, tmp_path):
    assert_case(case, tmp_path)


REFUSED = {
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
}


@pytest.mark.parametrize("text, words", REFUSED.values(), ids=REFUSED.keys())
def test_a_stream_of_sparks_own_is_refused_before_anything_is_written(text, words, tmp_path):
    assert_refused(text, words, tmp_path)
