"Files read in Python give the rows that Spark gives, or are left to Spark by name."

import itertools
import random
import re

import pyarrow
import pyarrow.compute
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from json_lines import DOCUMENTS, TYPES, VALUES
from landed_files import JSON, RESCUING, no_warning, put
from pyspark.sql.types import StructType

from cdc_local.autoloader.arrow_rows import arrow_schema, infer_in_python, parse_files
from cdc_local.autoloader.csv_positions import PositionalCsvReader
from cdc_local.autoloader.files import list_files, open_with_spark
from cdc_local.autoloader.json_rows import DocumentReader, JsonReader
from cdc_local.autoloader.options import parse_options
from cdc_local.autoloader.read import read_batch
from cdc_local.autoloader.schema import _infer_with_spark, plan_layout
from cdc_local.errors import NeedsSparkError, PipelineError

not_said = []  # Warnings, which other tests look at
CSV = {"cloudFiles.format": "csv", "header": "true", "rescuedDataColumn": "_rescued_data"}
BARE_CSV = {"cloudFiles.format": "csv", "header": "true"}


def comparable(table):
    "Each row as a text, so that NaN is itself and -0.0 is not 0.0; times as numbers, which have no limits"
    for index, field in enumerate(table.schema):
        if pyarrow.types.is_temporal(field.type):
            number = pyarrow.int32() if pyarrow.types.is_date(field.type) else pyarrow.int64()
            table = table.set_column(index, field.name, table.column(index).cast(number))
    return [repr(list(row.values())) for row in table.to_pylist()]


def read_with_spark(spark, path, options, schema):
    "File name -> rows, in their order; and the columns' types"
    frame = read_batch(spark, str(path), options, schema, not_said.append)
    table = frame.selectExpr("*", "_metadata", "_metadata.file_path AS file").toArrow()
    rows, types = {}, table.schema.types[:-2]
    metadata = [{k: v for k, v in row.items() if k != "row_index"} for row in table["_metadata"].to_pylist()]
    texts = comparable(table.drop_columns(["_metadata", "file"]))
    for file, text, told in zip(table["file"].to_pylist(), texts, metadata, strict=True):
        told["file_modification_time"] = told["file_modification_time"].timestamp()
        rows.setdefault(file.rpartition("/")[2], []).append((text, told))
    return rows, types


def read_in_python(spark, path, options, schema):
    "The same, where a file that is left to Spark has the reason instead of rows"
    parsed = parse_options(options, not_said.append, has_schema=schema is not None, infers_types=True)
    layout, known = plan_layout(spark, str(path), parsed, schema, None, False)
    rows = {}
    for file in list_files(spark, str(path), parsed.file_filters, False):
        name = file.rpartition("/")[2]
        try:
            for batch in parse_files([file], layout, parsed, known.started):
                table = pyarrow.Table.from_batches([batch])
                told = table["_metadata"].to_pylist()
                for one in told:
                    one["file_modification_time"] = one["file_modification_time"].timestamp()
                texts = comparable(table.drop_columns(["_metadata"]))
                rows.setdefault(name, []).extend(zip(texts, told, strict=True))
        except NeedsSparkError as reason:
            rows[name] = reason.message
    return rows, arrow_schema(layout).types[:-1]


def assert_same_rows(spark, path, options, schema):
    "Gives the reasons for which files were left to Spark"
    expected, expected_types = read_with_spark(spark, path, options, schema)
    found, types = read_in_python(spark, path, options, schema)
    assert types == expected_types
    left = {name: reason for name, reason in found.items() if isinstance(reason, str)}
    for name in expected.keys() | found.keys() - left.keys():
        if name not in left:
            assert found.get(name, []) == expected.get(name, []), name
    return list(left.values())


def is_left_to_spark(reader, line):
    try:
        reader.read([line.encode("utf-8", "surrogatepass")], "file:/x")
    except NeedsSparkError:
        return True
    return False


def test_a_value_is_the_same_in_every_type(spark, tmp_path):
    columns = [f"c{number} {kind}" for number, kind in enumerate(TYPES)]
    schema = ", ".join([*columns, "n string", "_corrupt_record string"])
    parsed = parse_options(RESCUING, no_warning, True)
    layout, _ = plan_layout(spark, str(tmp_path), parsed, schema, None, False)
    reader = JsonReader(layout, parsed)
    left = 0
    for number in range(len(TYPES)):
        lines = [f'{{"c{number}": {value}, "n": "z"}}' for value in VALUES]
        kept = [line for line in lines if not is_left_to_spark(reader, line)]
        left += len(lines) - len(kept)
        put(tmp_path, f"{number}.json", *kept)
    assert assert_same_rows(spark, tmp_path, RESCUING, schema) == []
    assert left == 8, "values that only Spark reads"


@pytest.mark.parametrize(
    "more",
    [
        {"rescuedDataColumn": "_rescued_data"},
        {},
        {"rescuedDataColumn": "_rescued_data", "mode": "DROPMALFORMED"},
        {"rescuedDataColumn": "_rescued_data", "readerCaseSensitive": "false"},
        {"rescuedDataColumn": "_rescued_data", "multiLine": "true"},
    ],
    ids=["rescuing", "plain", "dropping", "other case", "multiline"],
)
def test_a_document_is_the_same(spark, tmp_path, more):
    for number, document in enumerate(DOCUMENTS):
        put(tmp_path, f"{number:03}.json", document)
    schema = "v int, n string, x array<int>, _corrupt_record string"
    left = assert_same_rows(spark, tmp_path, JSON | more, schema)
    assert {reason.partition(",")[0] for reason in left} <= {
        "A JSON key _file_path",
        "A JSON key with half a character (a lone surrogate) is read by Spark alone",
        "A JSON key in two spellings",
    }


def make_documents(count):
    "Documents of a few declared keys and others, many of them with a few characters changed"
    chosen = random.Random(6)

    def value(depth):
        if depth and chosen.random() < 0.3:
            return "[" + ", ".join(value(depth - 1) for _ in range(chosen.randint(0, 3))) + "]"
        if depth and chosen.random() < 0.3:
            return members(chosen.choices(["a", "b", "w", "x"], k=chosen.randint(0, 3)), depth - 1)
        return chosen.choice(VALUES)

    def members(names, depth):
        return "{" + ", ".join(f'"{name}": {value(depth)}' for name in names) + "}"

    def document():
        text = members(chosen.choices(["v", "n", "s", "l", "w", "V"], k=chosen.randint(0, 5)), 2)
        for _ in range(chosen.choice((0, 0, 1, 2))):
            at = chosen.randrange(len(text))
            text = text[:at] + chosen.choice("{}[]\",:\\ 1eE.-tnu'\t") + text[at + chosen.randint(0, 1) :]
        return text

    return [document() for _ in range(count)]


def test_generated_documents_are_the_same(spark, tmp_path):
    for number, document in enumerate(make_documents(600)):
        put(tmp_path, f"{number:03}.json", document)
    schema = "v int, n string, s struct<a: int, b: array<string>>, l array<struct<a: double>>"
    for options in (RESCUING, JSON):
        left = assert_same_rows(spark, tmp_path, options, schema + ", _corrupt_record string")
        assert len(left) < 60, left
        assert all("by Spark alone" in reason for reason in left)


CELLS = [
    *("1", "-0", "+5", "128", "2147483648", "1.5", "1e3", ".5", "5.", "1d", "0x1", "NaN", "inf", "-Infinity"),
    *("true", "T", "yes", "0", "x", " 7 ", "\t8\t", "1,5", "2026-01-02", "2026-01-02T03:04:05Z", "2026"),
    *("2026-02-30", "12345678.905", "1234567.994", "é", '"q"', "''", "9223372036854775808", "1e400", "-"),
]
MOMENTS = [
    *("2024-01-01", "2024-01-01T00:01:00Z", "2024-01-01 00:01:00", "2024-01-01T", "2024-01-01 ", "2024-1-1"),
    *("2024-01", "2024-01-01 x", "2024-01-01T00:01", "2024-01-01T00:01:00.123+02:00", "2024-02-30"),
    *("2024/01/01", "+10000-01-01", "10000-01-01", "-0001-01-01", "0000-01-01", "+2024-01-01", "20240101"),
    *("2024-01-01 00", "2024-01-01T24:00:00Z", "2024-12-31T23:59:60Z", "2024-01-01T00:00:00z", "24-01-01"),
    *("2024-01-01  00:00:00", "2024-01-01T1:2:3", "2024-01-01 00:01:00 UTC", "2024-01-01T00:00:00 Z"),
    *("2024-12-31 23:59:59.1234567", "2024-01-01T00:00:00+25:00", "2024-01-01T00:01:00[Europe/Paris]"),
    *(" 2024-01-01", "999999-01-01"),
]
QUOTED = [
    *('"a",b', '"a""b",c', '"a\\"b",c', '"a"b,c', '"a" ,c', ' "a",c', '"a,b"c,d', '"a', '"a,b', 'a"b"c,d'),
    *('"",x', '"" ,x', ",", '"a\\\\",b', "a\\,b", 'a\\"b,c', '"a\\,b",c', '"a"\t,b', '""a"",b', '"""a""",b'),
    *(
        '"a"",b",c',
        '"He said ""hi""",2',
        '"\\",b',
        '"a\\"',
        '"a","',
        'a,""',
        '"a"x"b",c',
        '" ""x"" ",y',
        'x"',
    ),
    *('"a\\\\"b",c', '"a""', "  ,a", "#a,b", "\ta\t,\tb", "1," * 60, "   ", "\t", "a,b,c,d,e", "é,ü,\u2028"),
]


def test_a_cell_of_csv_is_the_same_in_every_type(spark, tmp_path):
    kinds = [kind for kind in TYPES if not kind.startswith(("struct", "array", "map"))]
    for number in range(len(kinds)):
        put(
            tmp_path,
            f"{number}.csv",
            f"c{number};n",
            *[f"{cell};z" for cell in CELLS + MOMENTS if cell != "0x1"],
        )
    schema = ", ".join(f"c{number} {kind}" for number, kind in enumerate(kinds)) + ", n string"
    assert assert_same_rows(spark, tmp_path, CSV | {"sep": ";"}, schema) == []


def test_a_cell_that_is_not_rescued_is_the_same_in_every_type(spark, tmp_path):
    kinds = [kind for kind in TYPES if not kind.startswith(("struct", "array", "map", "timestamp_ntz"))]
    schema = ", ".join(f"c{number} {kind}" for number, kind in enumerate(kinds)) + ", _corrupt_record string"
    parsed = parse_options(BARE_CSV | {"sep": ";"}, no_warning, True)
    reader = PositionalCsvReader(plan_layout(spark, str(tmp_path), parsed, schema, None, False)[0], parsed)
    left = set()
    for number in range(len(kinds)):
        lines = []
        for cell in [*CELLS, *MOMENTS, "1,234.5", "+NaN", " Inf", "2024-01-01T00:00GMT+01:00", "truE"]:
            line = ";" * number + cell + ";" * (len(kinds) - number - 1)
            try:
                list(reader.read(f"h\n{line}\n", ""))
                lines.append(line)
            except NeedsSparkError:
                left.add(cell)
        put(tmp_path, f"{number}.csv", "h", *lines)
    assert assert_same_rows(spark, tmp_path, BARE_CSV | {"sep": ";"}, schema) == []
    assert left == {"0x1", "é"}


@pytest.mark.parametrize("more", [{}, {"header": "false"}, {"nullValue": "a"}, {"comment": "#"}], ids=str)
def test_a_line_of_csv_that_rescues_nothing_is_the_same(spark, tmp_path, more):
    for number, line in enumerate([*QUOTED, "\x01", " \t ", "x,y,z,", "only"]):
        put(tmp_path, f"{number:03}.csv", "", "A,b,d", line, "1,2,3")
    put(tmp_path, "empty.csv"), put(tmp_path, "bom.csv", "\ufeffa,b,,c", "1,2,3,4,5")
    for schema in ("a string, b string, c string, _corrupt_record string", "a string, b int, c string"):
        left = assert_same_rows(spark, tmp_path, BARE_CSV | more, schema)
        assert {re.sub("line .* are", "line are", reason, flags=re.DOTALL) for reason in left} <= {
            "The quotes of the CSV line are read by Spark alone",
            "The CSV cell 'ü' is read as int by Spark alone",
        }
        assert len(left) < 6


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"header": "false"},
        {"nullValue": "a"},
        {"mode": "DROPMALFORMED"},
        {"readerCaseSensitive": "false"},
        {"comment": "#"},
        {"skipRows": "1", "lineSep": "\n"},
    ],
    ids=str,
)
def test_a_line_of_csv_is_the_same(spark, tmp_path, more):
    for number, line in enumerate(QUOTED):
        put(tmp_path, f"{number:03}.csv", "A,b,d", line)
    put(tmp_path, "empty.csv"), put(tmp_path, "bom.csv", "\ufeffa,b,,c", "1,2,3,4,5")
    schema = "a string, b string, c string, _corrupt_record string"
    left = assert_same_rows(spark, tmp_path, CSV | more, schema)
    assert {re.sub("line .* are", "line are", reason, flags=re.DOTALL) for reason in left} <= {
        "The quotes of the CSV line are read by Spark alone",
        "A CSV header that has a name twice is read by Spark alone",
    }
    assert len(left) < 5


@seed(1)
@settings(max_examples=1, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.text('",\\a \t', min_size=1, max_size=14), min_size=500, max_size=500))
def test_generated_lines_of_csv_are_the_same(spark, tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("csv")
    for number in range(0, len(lines), 25):
        put(folder, f"{number:03}.csv", "a,b,c", *lines[number : number + 25])
    for number, line in enumerate(lines):
        put(folder, f"one{number:03}.csv", "a,b,c", line)
    for options in (CSV, BARE_CSV):
        left = assert_same_rows(spark, folder, options, "a string, b string, c string")
        assert len(left) < 200


def infer_both(spark, files, options):
    parsed = parse_options(options, no_warning, infers_types=True)
    files = [str(file) for file in files]
    return _infer_with_spark(spark, files, parsed), infer_in_python(files, parsed)


def test_columns_of_json_are_inferred_alike(spark, tmp_path):
    chosen, lines = random.Random(2), [f'{{"v": {value}, "n": "z"}}' for value in VALUES] + DOCUMENTS[:-1]
    for number, more in enumerate(
        ({}, {"primitivesAsString": "true"}, {"dropFieldIfAllNull": "true"}, {"multiLine": "true"})
    ):
        for size in (1, 2, 3, 5, 8, len(lines)):
            file = put(tmp_path, f"{number}-{size}.json", *chosen.sample(lines, size))
            expected, found = infer_both(spark, [file], JSON | more)
            assert found == expected, file.read_text()


def test_a_column_of_any_two_cells_of_csv_is_inferred_alike(spark, tmp_path):
    cells = [*(cell for cell in CELLS if cell not in ("0x1", "1e3", "1e400")), *MOMENTS, "", "TRUE", "7.5"]
    pairs = list(itertools.product(cells, repeat=2))
    header = ";".join(f"c{number}" for number in range(len(pairs)))
    rows = [";".join(pair[row] for pair in pairs) for row in (0, 1)]
    expected, found = infer_both(spark, [put(tmp_path, "pairs.csv", header, *rows)], CSV | {"sep": ";"})
    types = zip(pairs, expected, found, strict=True)
    assert [(pair, one.dataType, other.dataType) for pair, one, other in types if one != other] == []


def test_columns_of_csv_are_inferred_alike(spark, tmp_path):
    chosen = random.Random(3)
    cells = [*(cell for cell in CELLS if cell not in ("0x1", "1e3", "1e400")), "", "TRUE", "5", "6", "7.5"]
    for number in range(8):
        rows = [";".join(chosen.choice(cells) for _ in range(8)) for _ in range(1 + number % 4)]
        file = put(tmp_path, f"{number}.csv", "a;b;c;d;;f;g;h", *rows)
        expected, found = infer_both(spark, [file], CSV | {"sep": ";"})
        assert found == expected, file.read_text()
    other = put(tmp_path, "other.csv", "h;a", "x;1")
    expected, found = infer_both(spark, [other, tmp_path / "0.csv"], CSV | {"sep": ";"})
    assert found == expected
    untyped = CSV | {"sep": ";", "inferColumnTypes": "false"}
    assert infer_both(spark, [other], untyped)[0] == infer_both(spark, [other], untyped)[1]
    bare = put(tmp_path, "bare.csv", "1;2", "3;4")
    assert len(set(map(str, infer_both(spark, [bare], CSV | {"sep": ";", "header": "false"})))) == 1


def test_text_is_the_same(spark, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n\n \xff\xfe\xe2\x82x\nlast")
    (tmp_path / "b.txt").write_bytes(b"")
    (tmp_path / "c.txt").write_bytes(random.Random(4).randbytes(3000))
    text = {"cloudFiles.format": "text"}
    assert assert_same_rows(spark, tmp_path, text, None) == []
    assert assert_same_rows(spark, tmp_path, text | {"wholetext": "true"}, None) == []
    assert assert_same_rows(spark, tmp_path, text | {"lineSep": "e"}, None) == []


def test_parquet_is_the_same(spark, tmp_path):
    wide = spark.sql(
        "SELECT id, CAST(id AS TINYINT) AS b, CAST(id AS DECIMAL(9, 2)) AS d, DATE '2026-01-01' AS day, "
        "TIMESTAMP '2026-01-01 00:00:00.123456' AS t, TIMESTAMP_NTZ '2026-01-01 00:00:00' AS ntz, "
        "ARRAY(id, NULL) AS list, NAMED_STRUCT('x', id, 'y', 'é') AS s, MAP('k', id) AS m, X'00FF' AS raw, "
        "id > 1 AS flag, CAST(id AS FLOAT) AS f, 1.5D AS g FROM RANGE(3)"
    )
    wide.coalesce(1).write.parquet(str(tmp_path / "a"))
    spark.sql("SELECT 7L AS id, 'new' AS z").coalesce(1).write.parquet(str(tmp_path / "b"))
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    wide.select("t").coalesce(1).write.parquet(str(tmp_path / "c"))
    spark.conf.unset("spark.sql.parquet.outputTimestampType")
    parquet = {"cloudFiles.format": "parquet"}
    assert assert_same_rows(spark, tmp_path, parquet, None) == []
    assert assert_same_rows(spark, tmp_path, parquet, "ID bigint, z string, nowhere int") == []
    left = read_in_python(spark, tmp_path, parquet, "id int")[0].values()
    assert any("column id of type bigint is read as int by Spark alone" in reason for reason in left)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "/",
            "/*",
            "/*.json",
            "/a",
            "/a*",
            "/?.json",
            "/[ab].json",
            "/[^a].json",
            "/{a,b}.json",
            "/a.json",
        ),
        *(
            "/{a/x,b}.json",
            "/*/*/deep.json",
            "/_hidden/*",
            "/\\[1\\].json",
            "/a b.json",
            "/day=*/x.json",
            "/[a-c]*",
        ),
        *("/{a,{b,c}}.json", "/_hidden.json", "/nothing*", "/../{name}/a.json"),
    ],
)
def test_the_same_files_are_listed(spark, landed, path):
    path = f"{landed}{path}".replace("{name}", landed.name)
    for filters in ({}, {"pathglobfilter": "*.json"}, {"pathglobfilter": "{a,x}*"}):
        try:
            options = {"recursiveFileLookup": "true", **filters}
            frame = open_with_spark(spark, path, "binaryFile", options, False)
            expected = sorted(row.file for row in frame.selectExpr("path AS file").collect())
        except PipelineError as refused:
            with pytest.raises(PipelineError, match=re.escape(str(refused))):
                list_files(spark, path, filters, False)
            continue
        assert [
            file.replace("file:///", "file:/") for file in list_files(spark, path, filters, False)
        ] == expected


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("landed")
    names = [
        "a.json",
        "b.json",
        "c.csv",
        "_hidden.json",
        ".dot.json",
        "_hidden/x.json",
        "a/x.json",
        "a/deeper/deep.json",
        "[1].json",
    ]
    for name in [
        *names,
        "a b.json",
        "day=1/x.json",
        "_day=1/x.json",
        "b/_SUCCESS",
        "x._COPYING_",
        "_metadata",
    ]:
        put(folder, name, "{}")
    return folder


@pytest.mark.parametrize(
    "more, named",
    [
        ({"timestampFormat": "dd.MM.yyyy"}, "timestampformat"),
        ({"dateFormat": "dd.MM.yyyy"}, "dateformat"),
        ({"locale": "de"}, "locale"),
        ({"allowComments": "true"}, "allowcomments"),
        ({"encoding": "ISO-8859-1"}, "ISO-8859-1"),
        ({"ignoreCorruptFiles": "true"}, "ignorecorruptfiles"),
        ({"cloudFiles.format": "xml"}, "format xml"),
        ({"cloudFiles.format": "orc"}, "format orc"),
        ({"cloudFiles.format": "binaryFile"}, "format binaryfile"),
        ({"cloudFiles.format": "csv", "quote": "'"}, "quote"),
        ({"cloudFiles.format": "csv", "dateFormat": "dd.MM.yyyy"}, "dateformat"),
        ({"cloudFiles.format": "csv", "sep": "||"}, r"separated by '\\|\\|'"),
        ({"cloudFiles.format": "csv", "multiLine": "true"}, "multiLine"),
        ({"cloudFiles.format": "parquet", "datetimeRebaseMode": "LEGACY"}, "datetimerebasemode"),
    ],
)
def test_what_only_spark_obeys_is_named(spark, tmp_path, more, named):
    parsed = parse_options(RESCUING | more, no_warning, has_schema=True)
    layout, _ = plan_layout(spark, str(tmp_path), parsed, "id string", None, False)
    with pytest.raises(NeedsSparkError, match=named):
        list(parse_files([], layout, parsed, 0.0))


def test_lines_that_are_parsed_together_are_as_those_read_alone(spark):
    "Arrow's way, for lines in which nothing is off, among others in which something is"
    columns = "id string, n bigint, d double, t timestamp, day date, ok boolean, _corrupt_record string"
    plain = (
        '{"id": "%s", "n": 5, "d": 1.5, "t": "2026-01-02T03:04:05.%03dZ", "day": "2026-01-02", "ok": true}'
    )
    odd = [
        *DOCUMENTS,
        *(f'{{"id": {value}, "n": 1}}' for value in VALUES),
        *(f'{{"d": {value}, "n": 1}}' for value in VALUES),
        *(f'{{"n": 1, "t": {value}}}' for value in VALUES),
        *(f'{{"day": {value}}}' for value in VALUES),
        *('{"d": Inf}', '{"d": -NaN}', '{"u": Inf}', '{"id": "a"} {"id":', '"b"}', '{"id": "c", "id": "d"}'),
    ]
    for options in (RESCUING, JSON, RESCUING | {"readerCaseSensitive": "false"}):
        parsed = parse_options(options, no_warning, has_schema=True)
        layout, _ = plan_layout(spark, "/nowhere", parsed, StructType.fromDDL(columns), None, False)
        reader, chosen = JsonReader(layout, parsed), random.Random(5)
        names = [*layout.schema.names[:6], "rescued", "corrupt"]
        kept = [line for line in odd if not is_left_to_spark(reader, line)]
        for share in (0.0, 0.001, 0.02, 0.5):
            lines = [
                chosen.choice(kept) if chosen.random() < share else plain % (number, number % 1000)
                for number in range(600)
            ]
            texts = [line.encode("utf-8", "surrogatepass") for line in lines]
            together = pyarrow.table(reader.read(texts, "file:/x"), names=names)
            alone = [pyarrow.table(reader.read([text], "file:/x"), names=names) for text in texts]
            assert comparable(together) == comparable(pyarrow.concat_tables(alone))


def test_documents_parsed_whole_are_as_those_read_from_token_to_token(spark, monkeypatch):
    columns = [f"c{number} {kind}" for number, kind in enumerate(TYPES)] + ["n string", "v struct<a: int>"]
    lines = [f'{{"c{number}": {value}, "n": "z"}}' for number in range(len(TYPES)) for value in VALUES]
    for options in (RESCUING, JSON, RESCUING | {"readerCaseSensitive": "false"}):
        parsed = parse_options(options, no_warning, has_schema=True)
        layout, _ = plan_layout(
            spark, "/nowhere", parsed, StructType.fromDDL(", ".join(columns)), None, False
        )
        reader = DocumentReader(layout, parsed)

        def read(reader=reader):
            rows = []
            for line in [*DOCUMENTS, *lines]:
                try:
                    rows.append(repr(reader.read_text(line, "file:/x")))
                except NeedsSparkError as reason:
                    rows.append(reason.message)
            return rows

        whole = read()
        with monkeypatch.context() as patched:
            patched.setattr("cdc_local.autoloader.json_rows.parse_tree", lambda text: None)
            by_token = read()
        differing = [(one, other) for one, other in zip(whole, by_token, strict=True) if one != other]
        assert all("Spark alone" in other or "need Spark" in other for _, other in differing), differing[:3]
        assert not [one for one, _ in differing if not one.startswith("[")]
