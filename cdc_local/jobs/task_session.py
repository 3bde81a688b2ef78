"""The session of a task: made where its code asks for one, on Sail or on Spark, with the storage's tables."""

import re
import sys
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from cdc_local.storage import Storage

# What of a task's code only Spark does -> how its line on standard error calls it
_SPARK_ALONE = {
    r"\bdelta\.tables\b|\bDeltaTable\b": "DeltaTable",
    r"\.readStream\b|\.writeStream\b": "a stream",
    r"\.mergeInto\(|\.writeTo\(": "a write of DataFrameWriterV2",
    r"(?i)\bMERGE\s+(?:WITH\s+SCHEMA\s+EVOLUTION\s+)?INTO\b": "MERGE INTO",
    r"\bUPDATE\s+[\w.`{}]+\s+SET\b": "UPDATE",
    r"\bDELETE\s+FROM\b": "DELETE FROM",
    r"\bALTER\s+TABLE\b": "ALTER TABLE",
    r"\bTRUNCATE\s+TABLE\b": "TRUNCATE TABLE",
}


def choose_task_engine(
    sources: Iterable[str],  # Code of the task
) -> str:  # `sail` or `spark`
    "Choose the engine of a task: Sail, unless CDC_ENGINE or something in its code asks for Spark."
    from cdc_local.engines.session import choose_engine

    chosen = choose_engine()
    if chosen != "auto":
        return chosen
    code = "\n".join(sources)
    reason = next((name for pattern, name in _SPARK_ALONE.items() if re.search(pattern, code)), None)
    if reason is None:
        return "sail"
    print(f"runs on Spark: {reason} is not run by Sail", file=sys.stderr)
    return "spark"


def start_task_session(
    storage: Storage,  # Its tables; takes the log of Spark's Java
    sources: Iterable[str],  # Code of the task
) -> Any:  # A SparkSession
    """Start the session of a task; names of three parts are tables of the storage.

    What of its queries is not known to give the same on Sail is said on standard error."""
    if choose_task_engine(sources) == "sail":
        from cdc_local.autoloader.plain_reader import install_plain_readers
        from cdc_local.engines.sail.session import start_sail

        install_plain_readers()
        spark = start_sail(warns=True)
    else:
        from cdc_local.engines.spark.session import start_spark

        spark = start_spark(log=storage.spark_log_path)
    from cdc_local.analysis.task_tables import install_task_tables

    install_task_tables(spark, storage)
    return spark


def provide_session(
    storage: Storage,  # Its tables
    sources: Iterable[str],  # Code of the task
) -> Callable[[], Any]:  # Starts the session, or finds it
    "Let a script and a wheel find the session of their task wherever they ask PySpark for one."
    from pyspark.sql import SparkSession

    places = (
        (SparkSession.Builder, "getOrCreate"),
        (SparkSession, "getActiveSession"),
        (SparkSession, "active"),
    )
    own = [vars(owner)[name] for owner, name in places]

    @cache
    def start() -> Any:
        for (owner, name), method in zip(places, own, strict=True):
            setattr(owner, name, method)  # which make the session, and on Spark find it later
        spark = start_task_session(storage, sources)
        if type(spark) is not SparkSession:
            _answer_with(places, lambda *_, **__: spark)
        return spark

    _answer_with(places, lambda *_, **__: start())
    return start


def _answer_with(
    places: Iterable[tuple[Any, str]],  # Methods: their class, their name
    find: Callable[..., Any],  # Answers them
) -> None:
    "Put a function in the place of methods."
    for owner, name in places:
        setattr(owner, name, find if name == "getOrCreate" else classmethod(find))
