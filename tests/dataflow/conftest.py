import pytest


@pytest.fixture
def graph():
    from cdc_local.dataflow.graph import Graph
    from cdc_local.errors import Location

    return Graph("main", "default", lambda: Location("a.py", 7))


@pytest.fixture
def dp(graph):
    from cdc_local.dataflow.dp import LakeflowModule

    return LakeflowModule("dlt", graph, {"read": lambda name: f"rows of {name}"})
