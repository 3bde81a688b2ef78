"What flows have yet to read of tables: from their own progress, and from checkpoints of Spark."

import pytest

from cdc_local.delta.retention import UnreadVersion
from cdc_local.errors import PipelineError
from cdc_local.storage import TableName
from cdc_local.update.progress import FILE_NAME, Progress
from cdc_local.update.unread_versions import find_unread_versions


def flow(storage, name):
    return storage.flow_path(TableName("main", "default", f"into_{name}"), name)


def read(storage, name, *batches, planned=None):
    "A flow that has read these slices, and has planned one more."
    progress = Progress.read(flow(storage, name) / FILE_NAME, name)
    for slices in batches:
        progress.plan(slices)
        progress.finish()
    if planned is not None:
        progress.plan(planned)


def slice_of(table, since, until):
    return {f"table tables/{table}": {"table": table, "from": since, "to": until}}


def test_a_flow_goes_on_after_the_versions_that_it_has_read(storage):
    read(
        storage, "clean", slice_of("t", None, 4), slice_of("t", 5, 9), {"files raw": {"files": {"a": [1, 2]}}}
    )
    assert find_unread_versions(storage) == {"t": UnreadVersion(10, "clean")}


def test_the_flow_that_is_farthest_behind_counts(storage):
    read(storage, "fast", slice_of("t", None, 9))
    read(storage, "slow", slice_of("t", None, 3), slice_of("u", None, 7))
    assert find_unread_versions(storage) == {"t": UnreadVersion(4, "slow"), "u": UnreadVersion(8, "slow")}


def test_a_batch_that_is_planned_is_read_again(storage):
    read(storage, "first", planned=slice_of("t", None, 4))
    read(storage, "later", slice_of("u", None, 4), planned=slice_of("u", 5, 9))
    assert find_unread_versions(storage) == {"t": UnreadVersion(4, "first"), "u": UnreadVersion(5, "later")}


def test_a_stream_of_spark_reads_its_newest_batches_again(storage):
    offsets = flow(storage, "windowed") / "checkpoint" / "offsets"
    offsets.mkdir(parents=True)
    for batch, version in enumerate((3, 9, 12)):
        offset = f'{{"reservoirId": "t", "reservoirVersion": {version}, "index": -1}}'
        (offsets / str(batch)).write_text(f'v1\n{{}}\n{offset}\n{{"logOffset": 7}}\n-')
    assert find_unread_versions(storage) == {"t": UnreadVersion(8, "windowed")}


def test_damaged_progress_is_an_error(storage):
    read(storage, "clean", slice_of("t", None, 4))
    with (flow(storage, "clean") / FILE_NAME).open("a") as log:
        log.write("nonsense\n")
    with pytest.raises(PipelineError, match=r"progress.jsonl, line 4: not what an update wrote"):
        find_unread_versions(storage)
