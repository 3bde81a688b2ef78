"A stream of Auto Loader reads each file once."

import os

from landed_files import JSON, RESCUING, no_warning, put, stream_into

from cdc_local.autoloader.read import read_batch, read_stream


def test_a_stream_reads_each_file_once_old_hidden_and_nested_ones_right(spark, tmp_path):
    data, state = tmp_path / "in put", tmp_path / "state"
    put(data, "new.json", '{"id": "1"}')
    put(data, "a[1]/old.json", '{"id": "2", "extra": 1}')
    (
        put(data, "_hidden.json", '{"id": "no"}'),
        put(data, ".hidden.json", '{"id": "no"}'),
        put(data, "_dir/x.json", '{"id": "no"}'),
    )
    options = {
        **RESCUING,
        "cloudFiles.maxFilesPerTrigger": "1",
        "cloudFiles.useNotifications": "true",
        "cloudFiles.schemaLocation": "/x",
    }

    def update():
        frame = read_stream(spark, str(data), options, "id string", state, no_warning)
        assert frame.columns == ["id", "_rescued_data"]
        facts = ("file_path", "file_name", "file_size", "file_modification_time")
        file = frame.select("*", *[f"_metadata.{fact}" for fact in facts])
        return stream_into(spark, file.where("id is not null"), tmp_path)

    batches, rows = update()
    assert batches == 2 and {row.id: row.file_name for row in rows.collect()} == {
        "1": "new.json",
        "2": "old.json",
    }
    late = put(data, "late.json", '{"id": "3"}')
    os.utime(late, (1e9, 1e9))  # landed now, dated 2001: Spark's default of seven days would lose it
    assert sorted(row.id for row in update()[1].collect()) == ["1", "2", "3"]


def test_a_new_column_of_a_later_day_is_appended_and_only_the_new_file_is_read(spark, tmp_path):
    options = {
        **JSON,
        "cloudFiles.inferColumnTypes": "true",
        "cloudFiles.schemaHints": "amount decimal(9,2)",
    }

    def update():
        frame = read_stream(spark, str(tmp_path / "days"), options, None, tmp_path / "state", no_warning)
        query = frame.writeStream.format("delta").option("mergeSchema", "true")
        query = query.option("checkpointLocation", str(tmp_path / "checkpoint")).trigger(availableNow=True)
        query.start(str(tmp_path / "table")).awaitTermination()
        return spark.read.format("delta").load(str(tmp_path / "table"))

    put(tmp_path, "days/day=1/a.json", '{"id": "1", "amount": 10}')
    assert update().columns == ["amount", "id", "day", "_rescued_data"]
    put(tmp_path, "days/day=2/b.json", '{"id": "2", "amount": 20.5, "note": "call back"}')
    table = update()
    assert [(row.id, str(row.amount), row.day, row.note) for row in table.orderBy("id").collect()] == [
        ("1", "10.00", "1", None),
        ("2", "20.50", "2", "call back"),
    ]
    assert update().count() == 2
    assert read_batch(spark, str(tmp_path / "days"), {}).dtypes == [
        ("amount", "double"),
        ("id", "string"),
        ("note", "string"),
        ("day", "string"),
        ("_rescued_data", "string"),
    ]
