"""Spark with Delta Lake on this machine, started the same way for a notebook, a test and an update."""

import atexit
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any

from cdc_local.engines.sail.session import end_session, gives_way
from cdc_local.engines.spark.jars import (
    delta_options,
    failure_line,
    fetch_jars,
    has_jars,
    jar_folder,
    open_work_folder,
)
from cdc_local.engines.spark.java import await_java_end, class_archive_options, class_archive_path, find_java
from cdc_local.engines.spark.memory import MEMORY_SETTING, choose_memory
from cdc_local.errors import PipelineError, UsageError, install_hint

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA_OPTIONS = "spark.driver.extraJavaOptions"

SESSION_OPTIONS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.sql.streaming.numRecentProgressUpdates": "10000",
    "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
    # as nanoseconds, the year 9999 overflows in every other reader
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Spark 4.2.0 hangs for ever in a Python function that reads columns of Parquet (SPARK-58241)
    "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": "false",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.repl.eagerEval.enabled": "true",
    # half the CPU of a short session
    JAVA_OPTIONS: "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m",
}

# Options of a local master: nothing listens beyond this machine
LOOPBACK_OPTIONS = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}


def session_java_options(
    folder: Path,  # Folder of the jars
) -> str:  # For the JVM of a local session
    "Those of `SESSION_OPTIONS`, and those for the archive if there is one."
    return SESSION_OPTIONS[JAVA_OPTIONS] + class_archive_options(class_archive_path(folder, find_java()))


# A session that uses what updates use; the archive is written as its JVM ends
WARM_UP = """import sys, tempfile
from cdc_local.engines.spark.session import JAVA_OPTIONS, SESSION_OPTIONS, start_spark
java = SESSION_OPTIONS[JAVA_OPTIONS] + f' -Xlog:disable -XX:ArchiveClassesAtExit={sys.argv[1]}'
spark = start_spark(options={JAVA_OPTIONS: java})
with tempfile.TemporaryDirectory() as folder:
    spark.range(9).selectExpr('id', 'string(id) AS text').write.format('delta').save(folder + '/from')
    stream = spark.readStream.format('delta').load(folder + '/from').writeStream.format('delta')
    stream = stream.trigger(availableNow=True)
    stream.option('checkpointLocation', folder + '/checkpoint').start(folder + '/to').awaitTermination()
    spark.read.format('delta').load(folder + '/to').groupBy('text').count().collect()
java = spark.sparkContext._gateway.proc
spark.stop(); java.stdin.close(); java.wait()"""


def make_class_archive(
    folder: Path,  # Folder of the jars, which are there
) -> None:
    "Run a session to its end, so that later ones start faster; `UsageError` where none was written."
    archive = class_archive_path(folder, find_java())
    with open_work_folder(folder, "classes") as work:
        made = work / archive.name
        done = subprocess.run(
            [sys.executable, "-c", WARM_UP, str(made)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if not made.exists():
            raise UsageError(
                f"Java wrote no archive of Spark's classes: {failure_line(done.stderr or done.stdout)}"
            )
        made.replace(archive)


def prepare_spark() -> None:
    """Do once what sessions profit from: the jars, and the archive of Spark's classes, which takes longer to
    make than it saves a session. Without it the first session fetches the jars, and none has the archive."""
    folder = jar_folder()
    if not has_jars(folder):
        fetch_jars(folder)
    if not class_archive_path(folder, find_java()).exists():
        make_class_archive(folder)


@cache
def make_warehouse() -> Path:  # One folder a process, deleted when it ends
    "A warehouse folder for this process alone."
    folder = Path(tempfile.mkdtemp(prefix="cdc-utils-warehouse-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def start_jvm(
    log: Path,  # File that takes what the JVM writes on standard error, from its start to its end
) -> Iterator[None]:
    "Start a JVM whose standard error is a file; `PipelineError` shows its end if it does not start."
    log.parent.mkdir(parents=True, exist_ok=True)
    ours, file = os.dup(2), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(file, 2)
        yield
    except Exception as failed:
        last = " ".join(log.read_text(errors="replace").split())[-500:]
        raise PipelineError(
            f"Spark did not start: {type(failed).__name__}: {str(failed)[:300]}",
            hint=f"its log {log} ends: {last}",
        ) from failed
    finally:
        os.dup2(ours, 2)
        os.close(ours)
        os.close(file)


def silence_loggers() -> None:
    """Keep pyspark and py4j from logging what an exception says: the JVM's stack of a mistake in a query,
    the connections that Ctrl-C broke, or the end of the JVM."""
    from pyspark.logger import PySparkLogger

    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).disabled = True
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(is_not_raised_too)


def is_not_raised_too(
    record: logging.LogRecord,  # Of any library
) -> bool:  # Whether it is logged
    "Leave out what py4j logs under the root logger's name, since it raises it: Ctrl-C, a lost JVM."
    return record.msg not in ("KeyboardInterrupt while sending command.", "Exception while sending command.")


@contextmanager
def restore_interrupts() -> Iterator[None]:
    "Put back what Ctrl-C does, after pyspark has changed it."
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if before is not None and current_thread() is main_thread():
            signal.signal(signal.SIGINT, before)


def leave_connect() -> None:
    """Forget that the process which started this one speaks Spark Connect: PySpark tells so by a variable,
    which is inherited. A session of Sail that only updates have used ends; `UsageError` for another one."""
    if gives_way():
        end_session()
    connect = sys.modules.get("pyspark.sql.connect.session")
    if connect is not None and connect.SparkSession._get_default_session() is not None:
        raise UsageError(
            "this process has a session of Spark Connect already, and PySpark speaks to one engine at a time",
            hint="restart the kernel, or start Spark in another process",
        )
    os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)


def start_spark(
    master: str | None = None,  # Spark master; `local[*]`, all cores of this machine, by default
    options: dict[str, str] | None = None,  # Spark options that add to or replace `SESSION_OPTIONS`
    warehouse: Path | None = None,  # Folder for Spark's own files; a temporary one by default
    log: Path | None = None,  # File for Spark's own words; a temporary one by default
) -> "SparkSession":  # A running one, which reads and writes Delta
    """Start, or find, the Spark session of this process; the first one fetches the Delta jars.

    `UsageError` where Java is missing, or this process has a session of Sail.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise UsageError("pyspark is not installed", hint=install_hint()) from None
    leave_connect()
    find_java()
    master = master or "local[*]"
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ.setdefault(
            "PYSPARK_PYTHON", sys.executable
        )  # else the first `python3` of the PATH, which may lack packages
        local = LOOPBACK_OPTIONS | {JAVA_OPTIONS: session_java_options(jar_folder())}
    chosen = (
        SESSION_OPTIONS
        | {MEMORY_SETTING: choose_memory()}
        | (local if master.startswith("local") else {})
        | delta_options(jar_folder())
        | (options or {})
    )
    builder = (
        SparkSession.builder.master(master)
        .appName("cdc_utils")
        .config("spark.sql.warehouse.dir", str(warehouse or make_warehouse()))
    )
    for key, value in chosen.items():
        builder = builder.config(key, value)
    log = log or Path(tempfile.gettempdir()) / f"cdc-utils-spark-{os.getpid()}.log"
    silence_loggers()
    with start_jvm(log), restore_interrupts():
        spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    gateway: Any = spark.sparkContext._gateway
    await_java_end(gateway.proc)
    return spark


def renew_spark_session(
    restart_workers: bool,  # Whether Python workers begin anew: they keep the modules that they imported
) -> None:
    """Let `start_spark` find another session of the same JVM, which knows nothing of what the one before was
    given: views, functions, variables, settings, cached rows."""
    from pyspark.sql import SparkSession

    before = SparkSession._instantiatedSession
    if before is None:
        return
    before.catalog.clearCache()
    if restart_workers:
        environment = before.sparkContext.environment  # Spark has workers for each environment
        environment["WORKER_GENERATION"] = str(int(environment.get("WORKER_GENERATION", "0")) + 1)
    session = before.newSession()
    SparkSession._instantiatedSession = SparkSession._activeSession = session
    jvm: Any = session._jvm
    jvm.org.apache.spark.sql.SparkSession.setDefaultSession(session._jsparkSession)
    jvm.org.apache.spark.sql.SparkSession.setActiveSession(session._jsparkSession)
