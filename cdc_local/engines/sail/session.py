"""Sail in this process: a server of Spark Connect on loopback, and the session that speaks to it."""

import atexit
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from cdc_local.engines.sail.html_table import show_frames_in_notebooks
from cdc_local.errors import UsageError, install_hint

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.session import SparkSession as ConnectSession

# What Spark's own SESSION_OPTIONS say of answers and of what a notebook shows. Partitions, jars, memory and
# Java mean nothing here; ANSI is on by default on both engines; Sail writes timestamps in microseconds.
SESSION_OPTIONS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
    "spark.sql.repl.eagerEval.enabled": "true",
    "spark.python.sql.dataFrameDebugging.enabled": "false",  # places in code, which Sail never reads
}

# What the server reads of the environment as it starts; whoever sets one of them keeps it
SERVER_VARIABLES = {
    "RUST_LOG": "off",  # errors come to the client; the log would be printed
    "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(365 * 24 * 60 * 60),  # 15 minutes by default: views are lost
}

CONNECT_VARIABLE = "SPARK_CONNECT_MODE_ENABLED"  # Tells PySpark which columns to make

# Nodes of plans that are this project's own: a name that is looked up, and a text over tables of the storage,
# which is read by its parts
_OWN_NODES = {f"the plan node `{node}` is not known" for node in ("catalog", "with_relations")}

_running: dict[str, Any] = {}  # the server of this process, once it runs


@contextmanager
def _keep_signals() -> Iterator[None]:
    """Put back what Ctrl-C and `kill` do: the server would end itself instead, and the client wait for it.

    In C, since Python sets handlers from the main thread alone, and a session may start in any."""
    library = ctypes.CDLL(None)
    before = {number: ctypes.create_string_buffer(1024) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, action in before.items():
        library.sigaction(number, None, action)
    try:
        yield
    finally:
        for number, action in before.items():
            library.sigaction(number, action, None)


def _start_server() -> str:  # Its address, as `sc://127.0.0.1:40641`
    "Start the server of this process, or find it; it stops as the process ends."
    if "server" not in _running:
        try:
            from pysail.spark import SparkConnectServer
        except ImportError:
            raise UsageError(
                "pysail is not installed, which is the Sail engine", hint=install_hint()
            ) from None
        for name, value in SERVER_VARIABLES.items():
            os.environ.setdefault(name, value)
        server = SparkConnectServer("127.0.0.1", 0)
        server.start(background=True)
        _running["server"] = server
        atexit.register(stop_server)  # before a client registers: it says goodbye first
    host, port = _running["server"].listening_address
    return f"sc://{host}:{port}"


def stop_server() -> None:
    "Stop the server of this process, if one runs."
    server = _running.pop("server", None)
    if server is not None:
        server.stop()


def start_sail(
    options: dict[str, str] | None = None,  # Spark options that add to or replace `SESSION_OPTIONS`
    warns: bool = False,  # Say on standard error what of a query is not known to give the same as on Spark
    gives_way: bool = False,  # Whether Spark may take its place later, as after an update
) -> "SparkSession":  # A session of Spark Connect, which reads and writes Delta
    """Start, or find, the Sail session of this process.

    `UsageError` where pysail or PySpark's client is not installed, or this process has a session of Spark.
    """
    try:
        import grpc  # noqa: F401  PySpark ends the process where it is absent
        from pyspark.sql.connect.session import SparkSession as ConnectSession
    except ImportError as missing:
        raise UsageError(f"Spark Connect has no client here: {missing}", hint=install_hint()) from None
    if has_spark_session():
        raise UsageError(
            "this process has a session of Spark already, and PySpark speaks to one engine at a time",
            hint="restart the kernel, or start Sail in another process",
        )
    with _keep_signals():  # the server sets its own before it answers
        address = _start_server()
        session = ConnectSession._get_default_session()
        if session is None:
            session = _connect(address, warns)
            _running["gives way"] = gives_way
        elif not gives_way:
            _running["gives way"] = False  # whoever asked now keeps it
        session.conf.get("spark.sql.session.timeZone")
    if session.client.host != address.removeprefix("sc://").partition(":")[0]:
        raise UsageError("this process has a session of another server of Spark Connect")
    spark = cast("SparkSession", session)
    for name, value in (SESSION_OPTIONS | (options or {})).items():
        spark.conf.set(name, value)
    show_frames_in_notebooks()
    return spark


def _connect(
    address: str,  # Of the server
    warns: bool,  # Of what is not known to give the same as on Spark
) -> "ConnectSession":  # Another session: nothing of an earlier one is in it
    from pyspark.sql.connect.client.core import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    from cdc_local.engines.sail.hidden_columns import HiddenColumns

    os.environ[CONNECT_VARIABLE] = "1"
    channel, hidden_columns = DefaultChannelBuilder(address), HiddenColumns()
    channel.add_interceptor(hidden_columns)
    session = ConnectSession.Builder().channelBuilder(channel).create()
    hidden_columns.client = session.client
    if warns:
        hidden_columns.on_query = partial(_warn_of_unknown, session.client, set[str]())
    return session


def _warn_of_unknown(
    client: Any,  # Of the session
    told: set[str],  # What was said already
    relation: Any,  # The root of a plan that is computed
) -> None:
    "Say once of each part of a query that it is not known to give the same as on Spark."
    from cdc_local.engines.known.plan import find_unknown_in_plan

    for sentence in find_unknown_in_plan(client, relation):
        if sentence not in told and sentence not in _OWN_NODES:
            told.add(sentence)
            text = f"{sentence} to give the same on Sail as on Spark; CDC_ENGINE=spark runs it there"
            print(f"warning: {text}", file=sys.stderr)


def gives_way() -> bool:
    "Whether the session of this process may end for Spark, since nobody but updates has asked for it."
    return bool(_running.get("gives way"))


def end_session() -> None:
    "End the session of this process, if there is one; the server stays. Spark may be started afterwards."
    _running["gives way"] = False
    if has_sail_session():
        sys.modules["pyspark.sql.connect.session"].SparkSession._get_default_session().stop()
    os.environ.pop(CONNECT_VARIABLE, None)


def has_sail_session() -> bool:
    "Whether this process has a running session of Sail."
    connect = sys.modules.get("pyspark.sql.connect.session")
    return connect is not None and connect.SparkSession._get_default_session() is not None


def has_spark_session() -> bool:
    "Whether this process has a running session of Spark in a JVM."
    context = sys.modules.get("pyspark.core.context")
    return context is not None and context.SparkContext._active_spark_context is not None
