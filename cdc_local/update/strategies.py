"""Which strategy a flow has: the one place where its kind decides."""

from cdc_local.dataflow.graph import Dataset, Flow
from cdc_local.update.append_flow import AppendFlow
from cdc_local.update.auto_cdc_flow import AutoCdcFlow
from cdc_local.update.flow_strategy import FlowStrategy
from cdc_local.update.materialized_view import MaterializedViewFlow
from cdc_local.update.replace_flow import ReplaceUsingFlow, ReplaceWhereFlow
from cdc_local.update.sink import SinkFlow
from cdc_local.update.snapshot_flow import SnapshotFlow

# Kind of a flow, as the event log has it -> how its target is brought up to date
STRATEGIES: dict[str, FlowStrategy] = {
    "append": AppendFlow(),
    "complete": MaterializedViewFlow(),
    "auto_cdc": AutoCdcFlow(),
    "snapshot": SnapshotFlow(),
    "replace_using": ReplaceUsingFlow(),
    "replace_where": ReplaceWhereFlow(),
}

_INTO_SINK = SinkFlow()


def choose_strategy(
    flow: Flow,  # A flow whose kind is settled
    target: Dataset,  # What it fills
) -> FlowStrategy:
    "Choose how a flow brings its target up to date."
    if target.kind == "sink" and flow.kind == "append":
        return _INTO_SINK
    return STRATEGIES[flow.kind]
