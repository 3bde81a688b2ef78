"Columns are inferred, remembered and grown; types stay."

import pytest
from landed_files import JSON, no_warning, put
from pyspark.sql.types import StructType

from cdc_local.autoloader.files import list_files
from cdc_local.autoloader.options import parse_options
from cdc_local.autoloader.read import read_stream
from cdc_local.autoloader.schema import KnownSchemas, infer_schema, merge_schemas, new_columns
from cdc_local.autoloader.schema_hints import apply_hints
from cdc_local.errors import PipelineError


def test_columns_evolve_and_types_stay(spark, tmp_path):
    data, state = tmp_path / "in put", tmp_path / "state"
    put(data, "a[1].json", '{"id": 1, "size": {"w": 1}}')
    options = {**JSON, "cloudFiles.inferColumnTypes": True}

    def types(extra=None, folder=state):
        return dict(
            read_stream(spark, str(data), {**options, **(extra or {})}, None, folder, no_warning).dtypes
        )

    assert types() == {"id": "bigint", "size": "struct<w:bigint>", "_rescued_data": "string"}
    put(data, "b.json", '{"a": true, "id": "x", "size": {"w": 1, "h": 2}}')
    assert types({"cloudFiles.schemaEvolutionMode": "rescue"})["size"] == "struct<w:bigint>"
    assert "_rescued_data" not in types({"cloudFiles.schemaEvolutionMode": "none"})
    with pytest.raises(PipelineError, match="new columns: size.h, a "):
        types({"cloudFiles.schemaEvolutionMode": "failOnNewColumns"})
    assert len(KnownSchemas.read(state).files) == 1  # none of these stored anything
    assert list(types()) == ["id", "size", "a", "_rescued_data"] and types()["id"] == "bigint"
    assert types({"schemaHints": "size.w int, _corrupt_record string"}) == {
        "id": "bigint",
        "size": "struct<w:int,h:bigint>",
        "a": "boolean",
        "_corrupt_record": "string",
        "_rescued_data": "string",
    }
    before = (state / "auto_loader.json").read_text()
    types(folder=None)
    assert (state / "auto_loader.json").read_text() == before and [file.name for file in state.iterdir()] == [
        "auto_loader.json"
    ]
    (data / "a[1].json").unlink(), (data / "b.json").unlink()
    assert "a" in types()  # an empty folder needs no files once the columns are known


def test_names_in_two_cases_are_one_column_and_a_repeated_key_is_no_fault(spark, tmp_path):
    put(
        tmp_path,
        "a.json",
        '{"id": 1, "ID": 2, "size": {"w": 1.5}}',
        '{"id": 2, "n": "x", "n": 2}',
        '{"broken',
    )
    files = list_files(spark, str(tmp_path), {}, True)
    as_text, typed = (
        infer_schema(spark, files, parse_options({**JSON, "inferColumnTypes": infers}, no_warning))
        for infers in (False, True)
    )
    assert as_text.simpleString() == "struct<ID:string,n:string,size:string>"
    assert typed.simpleString() == "struct<ID:bigint,n:bigint,size:struct<w:double>>"


@pytest.fixture
def stored(spark):
    return StructType.fromDDL("id bigint, size struct<w: int>, tags array<struct<k: int>>")


def test_new_columns_are_appended_and_named(stored):
    later = "a int, ID string, size struct<h: int, w: string>, tags array<struct<v: int>>"
    merged = merge_schemas(stored, StructType.fromDDL(later))
    columns = "struct<id:bigint,size:struct<w:int,h:int>,tags:array<struct<k:int,v:int>>,a:int>"
    assert merged.simpleString() == columns
    assert new_columns(stored, merged) == ["size.h", "tags.element.v", "a"]


def test_what_is_known_of_files_is_remembered_in_a_folder(stored, tmp_path):
    known = KnownSchemas(stored, ("a.json",), 1.5)
    assert KnownSchemas.read(tmp_path) == KnownSchemas.read(None) == KnownSchemas()
    known.write(None)
    known.write(tmp_path)
    assert KnownSchemas.read(tmp_path) == known


@pytest.fixture
def inferred(spark):
    return StructType.fromDDL(
        "id string, size struct<w: double, h: double>, tags array<string>, m map<int,int>"
    )


def test_hints_reach_into_structs_arrays_and_maps(inferred):
    hints = (
        "ID bigint, size.w decimal(9,2), tags.element int, m.key string, m.value date, `A,b` map<string,int>"
    )
    assert apply_hints(inferred, hints).simpleString() == (
        "struct<id:bigint,size:struct<w:decimal(9,2),h:double>,tags:array<int>,m:map<string,date>,"
        "A,b:map<string,int>>"
    )
    assert apply_hints(inferred, "new.part int").simpleString().endswith(",new:struct<part:int>>")
    assert apply_hints(inferred, "") == inferred


def test_a_text_that_is_no_hint_is_refused(inferred):
    for text in ("id bigint, size.w nonsense", "size.w nonsense"):
        with pytest.raises(PipelineError, match="schemaHints has 'size.w nonsense'"):
            apply_hints(inferred, text)
    with pytest.raises(PipelineError, match="schemaHints has 'id'"):
        apply_hints(inferred, "id")
