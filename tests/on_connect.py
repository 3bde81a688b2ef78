"""Run chapters on Spark Connect, assertions and all: `python tests/on_connect.py sail|spark NOTEBOOK…`.

`local_spark` gives them a session of Connect: of Sail, or of Spark's own server.
"""

import os
import sys

from nbdev.test import nb_test_cells

from cdc_local.engines import session


def start_spark_server():
    "Make `local_spark` give a session of Spark's own server of Connect."
    from pyspark.sql import SparkSession

    from cdc_local.engines.spark.jars import jar_folder
    from cdc_local.engines.spark.session import JAVA_OPTIONS, SESSION_OPTIONS, session_java_options

    server = {
        JAVA_OPTIONS: session_java_options(jar_folder()),
        "spark.sql.shuffle.partitions": SESSION_OPTIONS["spark.sql.shuffle.partitions"],
    }
    spark = SparkSession.builder.remote("local[2]").config(map=server).getOrCreate()

    def connected(**kwargs):
        for name, value in {"spark.sql.session.timeZone": "UTC", **kwargs.pop("options", {})}.items():
            spark.conf.set(name, value)
        kwargs.pop("engine", None)  # whichever a chapter asks for
        assert not kwargs, f"local_spark got {kwargs}, which a session of Connect can't be given"
        return spark

    session.local_spark = connected
    return spark


engine, *paths = sys.argv[1:]
assert engine in session.ENGINES, engine
os.environ[session.ENGINE_VARIABLE] = engine
spark = start_spark_server() if engine == "spark" else session.local_spark()
assert "connect" in type(spark).__module__, type(spark)
for path in paths:
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
