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

pytestmark = pytest.mark.sail


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


CASES["a stream of read_files tells the format by the names of files"] = Case(
    {
        "orders.sql": "CREATE STREAMING TABLE orders AS\n"
        "SELECT * FROM STREAM read_files('/Volumes/main/crm/raw/orders')"
    },
    [
        Step(
            {"orders(id, n)": [(1, 10)]}, files={"/Volumes/main/crm/raw/orders/1.json": [{"id": 1, "n": 10}]}
        ),
        Step(
            {"orders(id, n)": [(1, 10), (2, None)]},
            files={"/Volumes/main/crm/raw/orders/day=2/2.JSONL": [{"id": 2}]},
        ),
    ],
)

# Where Databricks has Spark 3.5, a star import brings them, too
CASES["a star import brings the older spellings of functions"] = Case(
    {
        "report.py": """
from pyspark import pipelines as dp
from pyspark.sql.functions import *

@dp.materialized_view
def totals():
    numbers = spark.range(6).withColumn('half', shiftRight('id', 1)).withColumn('name', lit(chr(65)))
    return numbers.groupBy('name').agg(countDistinct('half').alias('halves'), count('*').alias('rows'))
"""
    },
    [Step({"totals(name, halves, rows)": [("A", 3, 6)]})],
)

CASES["a table of current rows takes a history, and leaves out the columns that make it one"] = Case(
    {
        "chain.py": """
from pyspark import pipelines as dp

@dp.temporary_view
def changes():
    return (spark.readStream.format("cloudFiles").option("cloudFiles.format", "json")
        .schema("id int, city string, at int").load("/Volumes/main/crm/raw/changes"))

dp.create_streaming_table("history")
dp.create_auto_cdc_flow("history", "changes", ["id"], "at", stored_as_scd_type=2)
dp.create_streaming_table("now")
dp.create_auto_cdc_flow("now", "history", ["id"], "__START_AT", except_column_list=["__START_AT", "__END_AT"])
"""
    },
    [
        Step(
            {
                "now(id, city, at)": [(1, "Bonn", 2), (2, "Oslo", 1)],
                "history(id, city, __START_AT, __END_AT)": [
                    (1, "Bern", 1, 2),
                    (1, "Bonn", 2, None),
                    (2, "Oslo", 1, None),
                ],
            },
            files={
                "/Volumes/main/crm/raw/changes/1.json": [
                    {"id": 1, "city": "Bonn", "at": 2},
                    {"id": 1, "city": "Bern", "at": 1},
                    {"id": 2, "city": "Oslo", "at": 1},
                ]
            },
        )
    ],
)

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


def assert_case(case, folder):
    "Run the updates of a case in a folder, and compare tables and rules after each."
    storage = Storage(folder / "storage").create()
    for number, step in enumerate(case.steps, 1):
        arrive(storage, step)
        result = update(folder, case)
        assert result.state == ("FAILED" if step.failure else "COMPLETED"), f"update {number}: {result.error}"
        assert step.failure in (result.error or "")
        assert {name: in_order(held(storage, name)) for name in step.tables} == {
            name: in_order(rows) for name, rows in step.tables.items()
        }, f"update {number}"
        assert {
            name: counts for name, counts in summed(result).items() if name in step.rules
        } == step.rules, f"update {number}"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_pipeline(case, tmp_path):
    assert_case(case, tmp_path)


# What Lakeflow refuses

HEAD = "from pyspark import pipelines as dp\n"
REFUSED = {
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


def assert_refused(text, words, folder):
    "A pipeline of one file is refused with these words and its line, and nothing is written."
    with pytest.raises(PipelineError) as caught:
        update(folder, Case({"a.py": text}, []))
    assert words in str(caught.value) + str(caught.value.hint) and "a.py:" in str(caught.value)
    assert not Storage(folder / "storage").tables()


@pytest.mark.parametrize("text, words", REFUSED.values(), ids=REFUSED.keys())
def test_refused_before_anything_is_written(text, words, tmp_path):
    assert_refused(text, words, tmp_path)
