"Pipelines of tables and flows that hold no rows, and a log that is a list."

from types import SimpleNamespace

from cdc_local.dataflow.graph import Dataset, Flow, Graph
from cdc_local.errors import Location
from cdc_local.storage import TableName
from cdc_local.update.streams import Run


class Log(list):
    def record(self, *args, **options):
        self.append((args, options))


def table(name):
    return TableName("main", "default", name)


def pipeline(*names, **properties):
    "A graph with a table and a flow for each name, and a run of it."
    graph = Graph("main", "default")
    for name in names:
        graph.add_dataset(Dataset(table(name), "streaming_table", table_properties=properties.get(name, {})))
        graph.add_flow(Flow(name, table(name), "append", location=Location(f"{name}.py", 1)))
    return Run(SimpleNamespace(graph=graph), Log())
