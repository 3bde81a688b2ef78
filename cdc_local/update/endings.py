"""What ends an update from outside, as one sentence: a full disk, a Java without memory, a damaged file."""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cdc_local.delta.damage import find_damage
from cdc_local.engines.spark.catalyst import exception_messages
from cdc_local.engines.spark.java import describe_java_end
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, full_disk_error, is_full_disk

# What py4j, Spark and Python say where the JVM does not answer any more
_NO_ANSWER = re.compile(
    r"Py4JNetworkError|Connection(?:Refused|Reset)Error"
    r"|Answer from Java side|Error while (?:sending|receiving)"
)
# Errors of these packages may come from a file that is damaged; the user's own and ours say what is wrong
_READERS = ("py4j", "pyspark", "deltalake", "_internal", "pyarrow", "json")


def describe_ending(
    error: BaseException,  # Raised while an update, or another command, ran
    storage: Storage,  # Where it wrote
    tables: Iterable[Path] = (),  # Folders of tables that it read and wrote
    checkpoints: Iterable[Path] = (),  # Folders of streams' checkpoints
) -> PipelineError | None:  # None where the error has another cause
    "Say what ended an update that neither the pipeline nor this project is to blame for."
    messages = list_messages(error)
    if any(is_full_disk(cause) for cause in list_causes(error)) or any(
        is_full_disk(text) for text in messages
    ):
        spilling = (os.environ.get("SPARK_LOCAL_DIRS") or tempfile.gettempdir()).split(",")
        return full_disk_error(storage.root, *map(Path, spilling))
    if ended := describe_java_end(messages, _is_connection_error(error, messages)):
        return PipelineError(ended, hint="then run again: the next update goes on from what was committed")
    return find_damage(tables, checkpoints) if _is_of_reader(error) else None


def _is_of_reader(
    error: BaseException,  # What was raised
) -> bool:  # Whether a library that reads and writes tables raised it
    "Tell an error that a damaged file may be behind; delta-rs raises plain exceptions, too."
    return type(error).__module__.partition(".")[0] in _READERS or type(error) in (Exception, OSError)


def list_messages(
    error: BaseException,  # Raised by Spark, by a library or by Python
) -> list[str]:  # Its messages and those of its causes
    "List what an exception says; one whose JVM has ended says nothing more."
    try:
        return exception_messages(error)
    except Exception as lost:  # asked for its message, a JVM that has ended raises another error
        return [f"{type(lost).__name__}: {lost}"]


def list_causes(
    error: BaseException,  # What was raised
) -> list[BaseException]:  # It, and what it was raised from or in the handling of
    "List an exception and the ones before it."
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _is_connection_error(
    error: BaseException,  # What was raised
    messages: list[str],  # What it and its causes say
) -> bool:  # Whether the connection to the JVM broke
    "Tell a question that the JVM did not answer."
    names = [type(cause).__name__ for cause in list_causes(error)]
    return any(isinstance(cause, ConnectionError) for cause in list_causes(error)) or any(
        _NO_ANSWER.search(text) for text in (*names, *messages)
    )


@contextmanager
def explain_endings(
    storage: Storage,  # Where is written
) -> Iterator[None]:
    "Raise `PipelineError` for what ends an update, or another command, from outside; else what was raised."
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        tables = [storage.event_log_path, *map(storage.table_path, storage.tables())]
        checkpoints = (storage.root / "checkpoints").glob("*/*/*/*/checkpoint")
        if ending := describe_ending(error, storage, tables, checkpoints):
            raise ending from error
        raise
