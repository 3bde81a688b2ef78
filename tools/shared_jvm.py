"""One JVM for the notebooks that a pytest worker runs, one after the other: it is started once, and warm for
all but the first.

Each notebook's kernel still makes a Spark context of its own; the one that the kernel before it left is
stopped first. So what a notebook sees of another is a warm compiler."""

import os
import tempfile
from itertools import count
from pathlib import Path

from jupyter_client import BlockingKernelClient
from py4j.java_gateway import JavaGateway

from cdc_local.engines.spark.jars import delta_options, jar_folder
from cdc_local.engines.spark.memory import MEMORY_SETTING, choose_memory
from cdc_local.engines.spark.session import JAVA_OPTIONS, session_java_options

OBJECTS = count(0, 10**9)  # numbers of Python's objects, as Java knows them, begin here; see `connect`
CONNECT = """\
import os
os.environ.update({environ!r})
from pyspark import SparkContext
SparkContext._ensure_initialized()
for name in {environ!r}: del os.environ[name] # a process that the notebook starts gets a JVM of its own
SparkContext._gateway.gateway_property.pool.next_id = {first_object}
spark_of_java = SparkContext._jvm.org.apache.spark
left = getattr(getattr(spark_of_java, "SparkContext$"), "MODULE$").getActive()
if left.isDefined(): left.get().stop()
classic_session = spark_of_java.sql.classic.SparkSession
classic_session.clearActiveSession()
classic_session.clearDefaultSession()
del classic_session, left, name, os, spark_of_java, SparkContext
"""


def launch():
    """A JVM with what only its start can give it, and no Spark context yet; it ends with this process, or by
    `close`"""
    from pyspark import SparkConf
    from pyspark.java_gateway import launch_gateway

    conf = SparkConf(loadDefaults=False).setAll(
        [
            (MEMORY_SETTING, choose_memory()),
            (JAVA_OPTIONS, session_java_options(jar_folder())),
            *delta_options(jar_folder()).items(),
        ]
    )
    with (Path(tempfile.gettempdir()) / f"cdc-utils-spark-{os.getpid()}.log").open("ab") as log:
        return launch_gateway(conf, {"stderr": log})


def connect(client: BlockingKernelClient, gateway: JavaGateway):
    """Give the JVM to a kernel that has no Spark yet.

    Objects that Python gave to Java (what `foreachBatch` calls is one) get numbers that no kernel before had:
    Java tells the kernel of the day which of them it needs no more, and some were another's."""
    found = gateway.gateway_parameters
    code = CONNECT.format(
        environ={"PYSPARK_GATEWAY_PORT": str(found.port), "PYSPARK_GATEWAY_SECRET": found.auth_token},
        first_object=next(OBJECTS),
    )
    reply = client.execute_interactive(
        code, store_history=False, allow_stdin=False, output_hook=lambda message: None
    )["content"]
    if reply["status"] != "ok":
        raise RuntimeError("the kernel did not get the JVM: " + "\n".join(reply["traceback"]))


def close(gateway: JavaGateway):
    "End the JVM, and wait for it"
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()
