"A runtime over an empty graph, its patches installed."

import pytest


@pytest.fixture
def runtime(storage, spark):
    from cdc_local.analysis.flow_analysis import table_schema
    from cdc_local.analysis.patches import install_patches
    from cdc_local.analysis.runtime import Runtime
    from cdc_local.dataflow.dp import LakeflowModule
    from cdc_local.dataflow.graph import Graph

    runtime = Runtime(
        spark, Graph("main", "default", lambda: None), storage, table_schema, keep_schemas=False
    )
    runtime.dp = LakeflowModule("dlt", runtime.graph)
    with install_patches(runtime):
        yield runtime
