"Which Delta table a stream reads."

from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from cdc_local.delta.stream_progress import find_streamed_table


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
