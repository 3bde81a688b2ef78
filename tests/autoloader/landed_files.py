"Files that land in a folder, and what is read of them."

import json

JSON = {"cloudFiles.format": "json"}
RESCUING = {**JSON, "rescuedDataColumn": "_rescued_data"}


def put(folder, name, *lines, encoding="utf-8"):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding=encoding)
    return file


def no_warning(text):
    raise AssertionError(text)


def rescued(row):
    found = json.loads(row["_rescued_data"])
    assert found.pop("_file_path").startswith("file:")
    return found


def stream_into(spark, frame, folder):
    "Run a stream to its end and give the number of its batches and all rows so far."
    query = frame.writeStream.format("parquet").option("checkpointLocation", str(folder / "checkpoint"))
    query = query.trigger(availableNow=True).start(str(folder / "out"))
    query.awaitTermination()
    batches = sum(1 for progress in query.recentProgress if progress["numInputRows"])
    return batches, spark.read.parquet(str(folder / "out"))
