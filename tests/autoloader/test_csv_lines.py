"CSV goes by the names of each file's own header."

from landed_files import no_warning, put, rescued
from pyspark.sql.types import StructType

from cdc_local.autoloader.csv_lines import parse_files
from cdc_local.autoloader.layout import Layout
from cdc_local.autoloader.options import parse_options
from cdc_local.autoloader.read import read_batch, read_stream


def test_csv_with_lines_in_its_cells(spark, tmp_path):
    put(tmp_path, "a.csv", "id,note", '1,"two', 'lines"')
    said, options = [], {"format": "csv", "header": True, "multiLine": True, "rescuedDataColumn": "r"}
    assert [
        tuple(row)
        for row in read_batch(spark, str(tmp_path), options, "id int, note string", said.append).collect()
    ] == [(1, "two\nlines", None)]
    assert said == ["CSV with multiLine is matched by position, and nothing of it is rescued locally"]


def test_csv_by_name_by_position_and_inferred(spark, tmp_path):
    put(tmp_path, "a.csv", "# export", "id,n,day", "1,10,31.01.2026", '"2, b",x,1.2.26', "3")
    put(tmp_path, "b.csv", "# export", "DAY,ID", "02.01.2026,4")
    options = {
        "cloudFiles.format": "csv",
        "header": True,
        "skipRows": 1,
        "dateFormat": "dd.MM.yyyy",
        "rescuedDataColumn": "_rescued_data",
    }
    rows = read_batch(spark, str(tmp_path), options, "id string, n int, day date", no_warning).collect()
    by_id = {row.id: row for row in rows}
    assert (by_id["1"].n, str(by_id["1"].day), by_id["1"]._rescued_data) == (10, "2026-01-31", None)
    assert rescued(by_id["2, b"]) == {"n": "x", "day": "1.2.26"}
    assert tuple(by_id["3"]) == ("3", None, None, None)
    assert rescued(by_id[None]) == {"DAY": "02.01.2026", "ID": "4"}
    folded = read_batch(
        spark, str(tmp_path), {**options, "readerCaseSensitive": "false"}, "id string, n int, day date"
    )
    assert [str(row.day) for row in folded.where("id = '4'").collect()] == ["2026-01-02"]
    put(tmp_path, "c/x.csv", "id,n", "1,2"), put(tmp_path, "c/y.csv", "n,id,m", "z,3,4")
    options = {"format": "csv", "header": "true", "inferColumnTypes": "true"}
    inferred = read_stream(spark, str(tmp_path / "c"), options, None, None, no_warning)
    assert inferred.dtypes == [("id", "int"), ("n", "string"), ("m", "int"), ("_rescued_data", "string")]
    bare = read_batch(spark, str(tmp_path / "c" / "x.csv"), {}, "a string, b string", no_warning)
    assert sorted(map(tuple, bare.collect())) == [("1", "2"), ("id", "n")]


def test_csv_line_too_wide_to_rescue_is_kept_whole(spark, tmp_path):
    wide = ",".join(f"x{number}" for number in range(40))
    put(tmp_path, "a.csv", "id", "1", wide)
    options = {"format": "csv", "header": "true", "rescuedDataColumn": "_rescued_data"}
    rows = read_batch(
        spark, str(tmp_path), options, "id string, _corrupt_record string", no_warning
    ).collect()
    assert {row.id: row._corrupt_record for row in rows} == {"1": None, "x0": wide}


def test_a_column_in_the_middle_moves_no_other(spark, tmp_path):
    put(tmp_path, "a.csv", "id;price", "1;2.50", "2;")
    put(tmp_path, "b.csv", "id;colour;price", "3;red;4.00", "4;;cheap", "5;;6.00;left over")
    layout = Layout(
        StructType.fromDDL("id string, price decimal(9,2), _rescued_data string"), "_rescued_data"
    )
    options = parse_options({"cloudFiles.format": "csv", "header": "true", "sep": ";"}, no_warning, True)
    rows = parse_files(spark.read.text(str(tmp_path), wholetext=True), layout, options).orderBy("id")
    found = [
        (row.id, row.price and str(row.price), row._rescued_data and rescued(row)) for row in rows.collect()
    ]
    assert found == [
        ("1", "2.50", None),
        ("2", None, None),
        ("3", "4.00", {"colour": "red"}),
        ("4", None, {"price": "cheap"}),
        ("5", "6.00", {"_c3": "left over"}),
    ]
