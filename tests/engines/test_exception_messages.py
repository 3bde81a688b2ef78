"The messages of an exception and of its causes."

from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from cdc_local.engines.spark.catalyst import exception_messages


def test_causes_go_to_the_innermost():
    inner = RuntimeError("inner")
    inner.java_exception = SimpleNamespace(
        getMessage=lambda: "java",
        getCause=lambda: SimpleNamespace(getMessage=lambda: "deep", getCause=lambda: None),
    )
    outer = ValueError("outer")
    outer.__cause__ = inner
    assert exception_messages(outer) == ["outer", "inner", "java", "deep"]
