"""Run chapters on Spark Connect, assertions and all: `python tests/on_connect.py NOTEBOOK…`.

`local_spark` gives them a session of Connect.
"""

import sys

from nbdev.test import nb_test_cells
from pyspark.sql import SparkSession

from cdc_local.engines.spark import session
from cdc_local.engines.spark.jars import jar_folder

server = {
    session.JAVA_OPTIONS: session.session_java_options(jar_folder()),
    "spark.sql.shuffle.partitions": session.SESSION_OPTIONS["spark.sql.shuffle.partitions"],
}
spark = SparkSession.builder.remote("local[2]").config(map=server).getOrCreate()
assert "connect" in type(spark).__module__, type(spark)


def connected(**kwargs):
    for name, value in {"spark.sql.session.timeZone": "UTC", **kwargs.pop("options", {})}.items():
        spark.conf.set(name, value)
    assert not kwargs, f"local_spark got {kwargs}, which a session of Connect can't be given"
    return spark


session.local_spark = connected
for path in sys.argv[1:]:
    names, cells = (
        {"__name__": "__main__"},
        [cell for cell in nb_test_cells(path) if "nbdev_export()" not in cell.source],
    )
    assert cells, f"{path} has no cells to run"
    for cell in cells:
        exec(compile(cell.source, f"{path}, cell {cell.id}", "exec"), names)
    assert names["spark"] is spark, f"{path} made a session of its own"
    print(f"{path}: {len(cells)} cells", flush=True)
spark.stop()
