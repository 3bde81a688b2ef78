"Who writes a table, delta-rs or Spark, and why."

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import (
    ArrayType,
    DoubleType,
    IntegerType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
    VariantType,
    _parse_datatype_string,
)

from cdc_local.delta import choice
from cdc_local.delta.choice import (
    Choice,
    can_round_trip,
    choose_append,
    choose_create,
    choose_merge,
    choose_overwrite,
    has_exact_equality,
    is_local,
)
from cdc_local.delta.writer import collect_few_rows, collect_rows, hold_few_rows, hold_rows


def make_table(path, schema="id int, city string", **options):
    columns = to_arrow_schema(_parse_datatype_string(schema), timezone="UTC")
    return DeltaTable.create(str(path), columns, **options)


@pytest.fixture
def table(tiny, tmp_path):  # the session reads the types
    return make_table(tmp_path / "visits")


@pytest.fixture
def visits(tiny):
    return tiny.sql("SELECT * FROM VALUES (7, 'Lyon'), (8, 'Rome'), (9, 'Bonn') AS visits(id, city)")


@pytest.fixture
def any_size(monkeypatch):
    "Let a frame without rows pass, whose size Spark does not know."
    monkeypatch.setattr(choice, "MOST_BYTES", 2**63)


def test_a_choice_ends_at_the_first_reason():
    def must_not_be_asked():
        raise AssertionError("asked after a reason was found")
        yield

    assert Choice.from_reasons([], ["it is large"], must_not_be_asked()) == Choice("it is large")
    assert Choice.from_reasons([], []).is_delta_rs
    assert not Choice("it is large").is_delta_rs


@pytest.mark.parametrize(
    "kind, round_trips, exact",
    [
        (StringType(), True, True),
        (TimestampType(), True, True),
        (StructType().add("day", "date"), True, True),
        (DoubleType(), True, False),  # it has two zeros
        (StructType().add("price", "double"), True, False),
        (MapType(StringType(), ArrayType(DoubleType())), True, False),
        (VariantType(), False, False),
        (ArrayType(VariantType()), False, False),
        (MapType(StringType(), VariantType()), False, False),
        (StringType("UNICODE_CI"), False, False),  # compared by other rules than its bytes
    ],
    ids=lambda value: value.simpleString() if hasattr(value, "simpleString") else str(value),
)
def test_which_types_come_back_as_they_were_and_which_identify_a_row(kind, round_trips, exact):
    assert (can_round_trip(kind), has_exact_equality(kind)) == (round_trips, exact)


@pytest.mark.parametrize(
    "schema, reason",
    [
        ("id int, city string", None),
        ("id int", None),
        ("id int, city string, zip int", "column zip is new"),
        ("id bigint, city string", "column id is int, and bigint in the rows"),
        ("ID int, city string", "column ID is new"),
    ],
)
def test_rows_are_appended_by_delta_rs_if_they_are_spelt_as_the_table(any_size, tiny, table, schema, reason):
    assert choose_append(table, tiny.createDataFrame([], schema)).reason == reason


@pytest.mark.parametrize(
    "schema, rows, reason",
    [
        ("id int NOT NULL", "id int", "column id is NOT NULL, and may be NULL in the rows"),
        ("id int NOT NULL, city string", "city string", "column id is NOT NULL, and may be NULL in the rows"),
        (
            "place struct<zip: int NOT NULL>",
            "place struct<zip: int>",
            "a field of column place is NOT NULL, and may be NULL in the rows",
        ),
        ("id int NOT NULL, city string", "id int NOT NULL", None),
        ("place struct<zip: int NOT NULL>", "place struct<zip: int NOT NULL>", None),
    ],
)
def test_a_column_that_may_be_null_against_the_table_is_left_to_spark(
    any_size, tiny, tmp_path, schema, rows, reason
):
    table = make_table(tmp_path / "strict", schema)
    assert choose_append(table, tiny.createDataFrame([], rows)).reason == reason


@pytest.mark.parametrize(
    "options, reason",
    [
        ({"partition_by": ["city"]}, "the table is partitioned by city"),
        (
            {"configuration": {"delta.enableDeletionVectors": "true"}},
            "the table has the features deletionVectors",
        ),
        ({"configuration": {"delta.enableChangeDataFeed": "true"}}, "the table has the "),
        (
            {"configuration": {"delta.autoOptimize.autoCompact": "true"}},
            "the table has the property delta.autoOptimize.autoCompact",
        ),
    ],
)
def test_a_table_that_asks_for_more_is_left_to_spark(tmp_path, visits, options, reason):
    table = make_table(tmp_path / "more", **options)
    assert choose_append(table, visits).reason.startswith(reason)


def test_a_variant_in_the_table_is_left_to_spark(tiny, tmp_path):
    path = tmp_path / "variant"
    tiny.sql(f"CREATE TABLE delta.`{path}` (id int, data variant) USING delta")
    assert "variant" in choose_append(DeltaTable(path), tiny.createDataFrame([], "id int")).reason


def test_the_size_is_known_before_anything_is_read(tiny, tmp_path):
    table = make_table(tmp_path / "numbers", "id bigint")
    few, many = tiny.range(3), tiny.range(10_000_000)
    pairs = tiny.range(9_999).crossJoin(tiny.range(9_999).select(F.col("id").alias("other"))).select("id")
    assert choose_append(table, few).is_delta_rs
    for large in (many, pairs):
        assert choose_append(table, large).reason == "the rows may be more than 16777216 bytes"


def test_rows_that_turn_out_to_be_many_go_to_spark_and_are_held(visits):
    exploded = visits.select("id", F.explode(F.sequence(F.lit(1), F.lit(50_000))).alias("day"))
    exploded = exploded.withColumn("token", F.expr("uuid()"))
    with hold_few_rows(visits, Choice()) as (held, few):
        assert (held.count(), few.num_rows) == (3, 3)
    with hold_few_rows(exploded, Choice()) as (held, few):
        assert held.agg(F.min("token")).first() == held.agg(F.min("token")).first()
        assert (held.count(), few) == (150_000, None)
    with hold_few_rows(visits, Choice("it needs Spark")) as (held, few):
        assert held is visits and few is None


def test_rows_that_are_held_are_not_held_again(visits):
    with hold_rows(visits) as held, hold_rows(held) as again, hold_rows(held.select("id")) as narrower:
        assert again is held
        assert narrower is not held


def test_just_as_many_rows_as_the_limit_are_few(tiny, monkeypatch):
    monkeypatch.setattr(choice, "MOST_EVENTS", 3)
    assert collect_few_rows(tiny.range(3)) == collect_rows(tiny.range(3))
    assert collect_few_rows(tiny.range(4)) is None


@pytest.mark.parametrize(
    "schema, options, reason",
    [
        ("id int, city string", {}, None),
        ("city string, id int", {}, "the rows have other columns than the table"),
        ("id int", {}, "the rows have other columns than the table"),
        ("id int, city string", {"partition_cols": ["city"]}, "the table is partitioned by city"),
        ("id int, city string", {"cluster_by": ["city"]}, "the table is clustered by city"),
    ],
)
def test_delta_rs_replaces_rows_and_spark_replaces_columns(any_size, tiny, table, schema, options, reason):
    found = choose_overwrite(table, tiny.createDataFrame([], schema), **options).reason
    assert found is None if reason is None else found.startswith(reason)


@pytest.mark.parametrize(
    "schema, reason",
    [
        ("id int, place struct<city:string>", None),
        ("id int, ID int", "two of id, ID differ in nothing but case"),
        ("id int, place struct<`the city`:string>", "the column's name 'the city' has a sign"),
        ("id int, at array<timestamp_ntz>", "a column is timestamp_ntz"),
        ("id int, data variant", "column data is variant"),
    ],
)
def test_a_new_table_of_ordinary_columns_needs_no_spark(tiny, schema, reason):
    found = choose_create(tiny, _parse_datatype_string(schema), {}).reason
    assert found is None if reason is None else found.startswith(reason)


def test_a_new_table_without_columns_or_with_a_rule_for_writers_is_left_to_spark(tiny):
    rule = StructType([StructField("id", IntegerType(), metadata={"delta.generationExpression": "1"})])
    assert choose_create(tiny, StructType([]), {}).reason == "a struct has no fields"
    assert choose_create(tiny, rule, {}).reason == "column id has the metadata delta.generationExpression"


def test_a_property_of_delta_lake_is_left_to_spark(tiny, visits):
    assert choose_create(tiny, visits.schema, {"quality": "bronze"}).is_delta_rs
    fed = {"quality": "bronze", "delta.enableChangeDataFeed": "true"}
    assert choose_create(tiny, visits.schema, fed).reason == (
        "the table has the property delta.enableChangeDataFeed"
    )


def test_events_are_merged_by_delta_rs_if_keys_are_equal_for_all_in_the_same_cases(tiny, table, visits):
    assert choose_merge(table, visits, ["id"]).is_delta_rs
    assert choose_merge(table, visits.withColumn("zip", F.lit(1)), ["id"]).reason == "column zip is new"


def test_rows_that_a_float_tells_apart_are_merged_by_spark(tiny, tmp_path):
    write_deltalake(tmp_path / "prices", pa.table({"price": [1.5]}))
    rows = tiny.createDataFrame([], "price double")
    reason = choose_merge(DeltaTable(tmp_path / "prices"), rows, ["price"]).reason
    assert reason == "column price tells rows apart, and is double"


def test_a_cluster_writes_for_itself(tiny, table, visits, monkeypatch):
    assert is_local(tiny)
    monkeypatch.setattr(choice, "is_local", lambda spark: False)
    chosen = [
        choose_append(table, visits),
        choose_overwrite(table, visits),
        choose_merge(table, visits, ["id"]),
        choose_create(tiny, visits.schema, {}),
    ]
    assert [each.reason for each in chosen] == ["Spark runs on a cluster"] * 4
