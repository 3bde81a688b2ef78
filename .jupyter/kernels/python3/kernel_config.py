"""The kernel that `make lab` and nbval start: it shows a Spark frame as `nbdev-test --save` does.

PySpark's plain text of a frame is its rows or its type, depending on whether its HTML was asked for before.
Here it is the type; the HTML beside it has the rows."""

from IPython.lib.pretty import for_type_by_name


def print_type(frame, printer, cycle):
    columns = ", ".join(f"{name}: {kind}" for name, kind in frame.dtypes)
    printer.text(f"DataFrame[{columns}]")


for module in ("pyspark.sql.classic.dataframe", "pyspark.sql.connect.dataframe"):
    for_type_by_name(module, "DataFrame", print_type)
c = get_config()  # noqa: F821  IPython's own
c.HistoryManager.enabled = False
