"Parameters of a pipeline: `:name` in its SQL files, a string each time, of its settings or of `--param`."

import pytest
from deltalake import DeltaTable

from cdc_local.cli.options import read_parameters
from cdc_local.delta.reader import read_rows
from cdc_local.errors import PipelineError, UsageError
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

pytestmark = pytest.mark.sail

SQL = """
CREATE OR REFRESH STREAMING TABLE IDENTIFIER(:target_schema || '.landed') COMMENT :`what-it-is`
  AS SELECT id, city, :day AS day FROM STREAM read_files(:folder, format => 'json');
CREATE OR REFRESH MATERIALIZED VIEW late (CONSTRAINT known EXPECT (city <> :unknown) ON VIOLATION DROP ROW)
  AS SELECT city, id::bigint FROM IDENTIFIER(:target_schema || '.landed') WHERE day >= :day;
CREATE OR REFRESH STREAMING TABLE kept;
CREATE FLOW keep AS AUTO CDC INTO kept FROM STREAM(IDENTIFIER(:target_schema || '.landed'))
  KEYS (id) APPLY AS DELETE WHEN city = :unknown SEQUENCE BY id
"""
GIVEN = {"target_schema": "ops", "day": "2026-01-01", "unknown": "it's ${none}", "what-it-is": "rows"}


@pytest.fixture
def update(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text(
        '{"id": 1, "city": "Oslo"}\n{"id": 2, "city": "it\'s ${none}"}\n',
    )

    def run(text, suffix="sql", **parameters):
        source = tmp_path / f"p.{suffix}"
        source.write_text(text)
        parameters = {"folder": str(tmp_path / "in"), **parameters}
        return run_update(
            UpdateRequest(sources=(str(source),), storage=tmp_path / "cdc", parameters=parameters)
        )

    return run


def test_a_parameter_stands_for_a_string_wherever_one_may_stand(update, tmp_path):
    done = update(SQL, **GIVEN)
    assert done.state == "COMPLETED", done.error
    storage = Storage(tmp_path / "cdc")
    landed, late, kept = (
        TableName("main", schema, name)
        for schema, name in (("ops", "landed"), ("default", "late"), ("default", "kept"))
    )
    assert {row[2] for row in read_rows(storage, landed).values} == {"2026-01-01"}
    assert read_rows(storage, late).values == [("Oslo", 1)]
    assert [row[1] for row in read_rows(storage, kept).values] == ["Oslo"]
    assert DeltaTable(str(storage.table_path(landed))).metadata().description == "rows"


@pytest.mark.parametrize(
    "text, suffix, words",
    [
        (
            "CREATE OR REFRESH MATERIALIZED VIEW t AS\n  SELECT 1 AS id WHERE 'a' = :wanted",
            "sql",
            "p.sql:2: the parameter :wanted of this SQL has no value; given: folder; "
            "set it in the pipeline's parameters, or by --param wanted=value",
        ),
        (
            'import dlt\n@dlt.table\ndef t():\n    return spark.sql("SELECT :folder AS f", args={"a": 1})\n',
            "py",
            "the parameter :folder of this SQL has no value; given: a",
        ),
    ],
)
def test_one_without_a_value_is_named_at_its_line(text, suffix, words, update):
    with pytest.raises(PipelineError) as raised:
        update(text, suffix)
    assert words in str(raised.value)


def test_a_cast_and_a_path_into_json_are_no_parameters(update, tmp_path):
    with pytest.raises(PipelineError) as raised:
        update("CREATE OR REFRESH MATERIALIZED VIEW t AS SELECT '{}':id, '1'::int AS n, missing")
    assert "has no value" not in str(raised.value)


def test_a_name_of_other_signs_is_refused():
    assert read_parameters(["a-b.c_1=x=y", "d="]) == {"a-b.c_1": "x=y", "d": ""}
    with pytest.raises(UsageError, match="--param 'a b' is no name of a parameter"):
        read_parameters(["a b=1"])
