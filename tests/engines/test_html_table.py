"A notebook shows a frame as the same table on either engine: values of every type, names, cuts, more rows."

import pytest

pytestmark = pytest.mark.sail


def shown(frame):
    from cdc_local.engines.sail.html_table import write_html

    return frame._repr_html_() if hasattr(frame, "_jdf") else write_html(frame)


@pytest.fixture
def settings(spark):
    "Settings of the session for one test."
    before = {}

    def put(name, value):
        before.setdefault(name, spark.conf.get(name, None))
        spark.conf.set(name, value)

    yield put
    for name, value in before.items():
        spark.conf.unset(name) if value is None else spark.conf.set(name, value)


TEXTS = {  # an expression in SQL, and the cell that shows it
    "CAST(NULL AS int)": "NULL",
    "true": "true",
    "-7L": "-7",
    "1.50BD": "1.50",
    "CAST(0 AS decimal(12,9))": "0.000000000",
    "1.0D": "1.0",
    "0.001D": "0.001",
    "12345678.9D": "1.23456789E7",
    "0.0005D": "5.0E-4",
    "CAST('NaN' AS double)": "NaN",
    "CAST('-Infinity' AS double)": "-Infinity",
    "CAST(0.1 AS float)": "0.1",
    "DATE'2026-01-02'": "2026-01-02",
    "TIMESTAMP'2026-01-02 03:04:05'": "2026-01-02 03:04:05",
    "TIMESTAMP'2026-01-02 03:04:05.120'": "2026-01-02 03:04:05.12",
    "TIMESTAMP_NTZ'2026-01-02 03:04:05'": "2026-01-02 03:04:05",
    "X'00FF41'": "[00 FF 41]",
    "array('a', NULL)": "[a, NULL]",
    "named_struct('n', 1, 't', CAST(NULL AS string))": "{1, NULL}",
    "map('k', array(true))": "{k -&gt; [true]}",
    "'<b> & \"Zürich\" it\\'s 😀'": "&lt;b&gt; &amp; &quot;Z&uuml;rich&quot; it's 😀",
    r"'a\tb\nc'": r"a\tb\nc",
}


def test_values_of_every_type_are_written_as_spark_writes_them(spark, settings):
    settings("spark.sql.repl.eagerEval.truncate", "0")
    frame = spark.sql(f"SELECT {', '.join(f'{text} AS c{n}' for n, text in enumerate(TEXTS))}")
    cells = "</td><td>".join(TEXTS.values())
    names = "</th><th>".join(f"c{n}" for n in range(len(TEXTS)))
    assert (
        shown(frame)
        == f"<table border='1'>\n<tr><th>{names}</th></tr>\n<tr><td>{cells}</td></tr>\n</table>\n"
    )


def test_timestamps_are_in_the_zone_of_the_session(spark, settings):
    frame = spark.sql("SELECT timestamp_seconds(0) AS began")
    settings("spark.sql.session.timeZone", "Asia/Tokyo")
    assert "<td>1970-01-01 09:00:00</td>" in shown(frame)


def test_long_cells_are_cut_and_further_rows_are_told(spark, settings):
    frame = spark.sql("SELECT repeat('x', 20 + CAST(id AS int)) AS `<long>` FROM range(2)").orderBy("<long>")
    exact = f"<tr><td>{'x' * 20}</td></tr>\n"
    head = "<table border='1'>\n<tr><th>&lt;long&gt;</th></tr>\n"
    assert shown(frame) == f"{head}{exact}<tr><td>{'x' * 17}...</td></tr>\n</table>\n"
    settings("spark.sql.repl.eagerEval.maxNumRows", "1")
    assert shown(frame) == f"{head}{exact}</table>\nonly showing top 1 row\n"
    settings("spark.sql.repl.eagerEval.truncate", "3")
    assert shown(frame) == f"{head}<tr><td>xxx</td></tr>\n</table>\nonly showing top 1 row\n"


def test_nothing_is_shown_where_the_session_says_so(spark, settings):
    settings("spark.sql.repl.eagerEval.enabled", "false")
    assert shown(spark.range(1)) is None
