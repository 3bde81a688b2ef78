"Names quoted for SQL."

import duckdb

from cdc_local.sql_names import quote_for_duckdb, quote_for_spark


def test_a_double_quote_in_a_name_is_doubled_for_duckdb():
    assert quote_for_duckdb('say "hi"') == '"say ""hi"""'
    name = 'a.b "c" `d`'
    assert duckdb.sql(f"SELECT 1 AS {quote_for_duckdb(name)}").columns == [name]


def test_a_backtick_in_a_name_is_doubled_for_spark():
    assert quote_for_spark("a.b") == "`a.b`"
    assert quote_for_spark("it`s") == "`it``s`"
