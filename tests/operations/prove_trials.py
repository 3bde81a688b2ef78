"Inputs, flows and trials that tests of `cdc prove` share."

from types import SimpleNamespace

from pyspark.sql.types import StructType

from cdc_local.dataflow.graph import Flow
from cdc_local.operations.prove_deliveries import Trial
from cdc_local.operations.prove_feeds import Event
from cdc_local.operations.prove_survey import Input, Survey
from cdc_local.storage import TableName
from cdc_local.update.request import UpdateRequest
from cdc_utils.spec import CdcSpec

MOVES = Input(
    "Volumes/main/default/raw/moves",
    "json",
    StructType().add("id", "integer").add("city", "string").add("at", "integer"),
)


def table(name):
    return TableName("main", "default", name)


def moves(*rows):
    return [Event(0, (str(row[0]),), tuple(zip(("id", "city", "at"), row, strict=True))) for row in rows]


def flow(target, source, kind=1, **spec):
    spec = CdcSpec(target, source, ["id"], "at", stored_as_scd_type=kind, **spec)
    return Flow(target, table(target), "auto_cdc", spec=spec)


def trial(folder, *flows, **changes):
    graph = SimpleNamespace(flows={each.name: each for each in flows})
    found = Survey(graph, {each.name: [MOVES] for each in flows}, {}, {}, {})
    return Trial(
        UpdateRequest(("src",), folder / "none"),
        found,
        [MOVES],
        list(flows),
        folder,
        lambda line: None,
        **changes,
    )
