"How far a stream of Spark has read."

import pytest

from cdc_local.delta.stream_progress import (
    delete_unwritten_offsets,
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


@pytest.fixture
def orders(tiny, tmp_path):
    orders = Orders(tiny, tmp_path)
    orders.land((1, "Oslo"), (2, "Rome"))
    return orders


def test_a_checkpoint_says_which_version_comes_next(orders):
    assert read_offsets(orders.checkpoint) == []
    orders.run()
    assert [offset["reservoirVersion"] for offset in read_offsets(orders.checkpoint)] == [1]
    orders.land((4, "Bonn"))
    orders.run()
    assert [offset["reservoirVersion"] for offset in read_offsets(orders.checkpoint)] == [2]


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
    assert list_batches(orders.checkpoint, "offsets") == [0]
