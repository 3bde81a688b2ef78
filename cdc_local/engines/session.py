"""The session of a notebook, a script or a test, on the engine that it asks for."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cdc_local.engines.sail.session import end_session, has_sail_session, has_spark_session, start_sail
from cdc_local.engines.spark.session import renew_spark_session, start_spark
from cdc_local.errors import UsageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ENGINES = ("auto", "sail", "spark")
ENGINE_VARIABLE = "CDC_ENGINE"


def choose_engine(
    engine: str | None = None,  # Name that a call gave, if any
    environ: Mapping[str, str] = os.environ,  # Where CDC_ENGINE is looked up otherwise
    default: str = "auto",  # Where nobody asks
) -> str:  # One of ENGINES
    "Choose the engine of an update or a session; `UsageError` names the ones there are."
    asked, origin = (engine, "engine") if engine else (environ.get(ENGINE_VARIABLE), ENGINE_VARIABLE)
    if asked and asked not in ENGINES:
        raise UsageError(f"{origin} is {asked!r}", hint=f"name one of: {', '.join(ENGINES)}")
    return asked or default


def renew_session(
    restart_workers: bool,  # Whether Python workers of Spark begin anew: they keep modules that they imported
) -> None:
    """Let the next update find another session of the engine that runs: nothing that the one before was given
    is in it, as views, functions, variables, settings, cached rows."""
    if has_sail_session():
        end_session()
    elif has_spark_session():
        renew_spark_session(restart_workers)


def has_session() -> str | None:  # `sail` or `spark`; None where none runs
    "Tell which engine this process has a session of."
    if has_spark_session():
        return "spark"
    return "sail" if has_sail_session() else None


def local_spark(
    options: dict[str, str] | None = None,  # Spark options that add to or replace the engine's own
    engine: str | None = None,  # `sail` or `spark`; the variable CDC_ENGINE, else `spark`, by default
) -> "SparkSession":  # A running one, which reads and writes Delta
    """Start, or find, the session of this process.

    `UsageError` where the engine is unknown or not installed, or another one runs in this process.
    """
    chosen = choose_engine(engine, default="spark")
    return start_sail(options) if chosen == "sail" else start_spark(options=options)
