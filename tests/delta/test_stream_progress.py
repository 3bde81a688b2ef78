"How far a stream has read, and whether it has anything to do."

import shutil
from types import SimpleNamespace

import pytest

from cdc_local.delta.log import read_table_version
from cdc_local.delta.stream_progress import (
    choose_starting_options,
    delete_unwritten_offsets,
    find_streamed_table,
    has_caught_up,
    has_unfinished_batch,
    list_batches,
    read_offsets,
)


class Orders:
    "A table, and a stream that reads it."

    def __init__(self, spark, folder):
        self.spark, self.path, self.checkpoint = spark, folder / "orders", folder / "checkpoint"
        self.clean = folder / "clean"

    def land(self, *rows):
        frame = self.spark.createDataFrame(rows, "id int, city string").coalesce(1)
        frame.write.format("delta").mode("append").save(str(self.path))

    def stream(self):
        return self.spark.readStream.format("delta").load(str(self.path))

    def run(self):
        writer = self.stream().writeStream.format("delta").trigger(availableNow=True)
        writer = writer.option("checkpointLocation", str(self.checkpoint))
        writer.start(str(self.clean)).awaitTermination()

    def has_caught_up(self):
        return has_caught_up(self.stream(), self.checkpoint)


@pytest.fixture
def orders(tiny, tmp_path):
    orders = Orders(tiny, tmp_path)
    orders.land((1, "Oslo"), (2, "Rome"))
    return orders


def test_a_stream_has_something_to_do_until_it_has_read_the_newest_version(orders):
    assert not orders.has_caught_up() and read_offsets(orders.checkpoint) == []
    orders.run()
    assert orders.has_caught_up()
    assert [offset["reservoirVersion"] for offset in read_offsets(orders.checkpoint)] == [1]
    orders.land((4, "Bonn"))
    assert not orders.has_caught_up()
    orders.run()
    assert orders.has_caught_up()


def test_a_stream_runs_where_it_is_not_certain_that_nothing_is_new(tiny, orders, tmp_path):
    orders.run()
    other = tmp_path / "other"
    tiny.read.format("delta").load(str(orders.path)).write.format("delta").save(str(other))
    checkpoint = orders.checkpoint
    assert not has_caught_up(orders.stream().union(orders.stream()), checkpoint), "another number of sources"
    assert not has_caught_up(tiny.readStream.format("delta").load(str(other)), checkpoint), "another table"
    assert not has_caught_up(tiny.readStream.format("rate").load(), checkpoint), "no Delta table"
    (checkpoint / "state").mkdir()
    assert not orders.has_caught_up(), "a state that time may close"
    (checkpoint / "state").rmdir()
    assert orders.has_caught_up()


def test_a_table_that_was_rebuilt_is_another_table(orders):
    orders.run()
    shutil.rmtree(orders.path)
    orders.land((1, "Oslo"), (2, "Rome"))
    assert read_table_version(orders.path)[1] == 0 and not orders.has_caught_up()


def test_a_batch_is_unfinished_between_its_plan_and_its_commit(tmp_path):
    "Batches are compared as numbers: 10 comes after 9."
    for folder, number, unfinished in (
        ("offsets", 9, True),
        ("commits", 9, False),
        ("offsets", 10, True),
        ("commits", 10, False),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / str(number)).touch()
        assert has_unfinished_batch(tmp_path) == unfinished
    assert list_batches(tmp_path, "offsets") == [9, 10]


def test_offsets_that_were_not_written_to_the_end_are_deleted_before_a_stream_starts(orders):
    "Spark refuses a folder that is not empty before the first batch."
    offsets = orders.checkpoint / "offsets"
    delete_unwritten_offsets(orders.checkpoint)  # nothing is there yet
    offsets.mkdir(parents=True)
    for name in (".0.8db62e5f.tmp", "..0.8db62e5f.tmp.crc"):
        (offsets / name).write_text("v1")
    with pytest.raises(Exception, match="should be empty on batch 0"):
        orders.run()
    assert list_batches(orders.checkpoint, "offsets") == []
    delete_unwritten_offsets(orders.checkpoint)
    assert list(offsets.iterdir()) == []
    orders.run()
    delete_unwritten_offsets(orders.checkpoint)
    assert list_batches(orders.checkpoint, "offsets") == [0] and orders.has_caught_up()


def test_options_of_the_author_stand_as_they_are(orders, tmp_path):
    given = {"maxFilesPerTrigger": "1"}
    assert choose_starting_options(orders.path, tmp_path / "checkpoint", given) == given


def test_only_a_stream_of_a_delta_table_on_this_disk_has_a_version(tmp_path):
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log/00000000000000000000.json").touch()

    def streamed(node="StreamingRelation", kind="delta", path=str(tmp_path)):
        option = SimpleNamespace(isDefined=lambda: path is not None, get=lambda: path)
        source = SimpleNamespace(
            className=lambda: kind, options=lambda: SimpleNamespace(get={"path": option}.get)
        )
        return find_streamed_table(SimpleNamespace(nodeName=lambda: node, dataSource=lambda: source))

    assert streamed() == streamed(path=f"file:{tmp_path}") == tmp_path
    for other in (
        {"node": "LogicalRelation"},
        {"kind": "parquet"},
        {"path": None},
        {"path": f"s3:/{tmp_path}"},
    ):
        assert streamed(**other) is None
