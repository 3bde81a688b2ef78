"Keys that nobody declared are found, however deep."

from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from cdc_local.autoloader.rescue import has_undeclared_key


def test_undeclared_keys_are_found_inside_arrays_and_structs(tiny):
    declared = DataType.fromDDL("struct<id: int, items: array<struct<sku: string>>, s: struct<a: int>>")
    answers = {
        '{"id": 1}': False,
        '{"Id": 1}': True,
        '{"items": [{"sku": "a", "n": 2}]}': True,
        '{"items": [{"sku": "a"}]}': False,
        '{"s": {"a": 1, "b": 2}}': True,
        "[1]": False,
    }
    texts = tiny.createDataFrame([(text,) for text in answers], "text string")
    rows = texts.select("text", has_undeclared_key(F.col("text"), declared).alias("undeclared")).collect()
    assert {row.text: row.undeclared for row in rows} == answers
