"""What Sail refuses is left to Spark: it may do it, and if it doesn't, its error is the one to show."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import PySparkException

from cdc_local.dataflow.graph import Flow
from cdc_local.delta.replacement import NULL_SEQUENCE
from cdc_local.errors import NeedsSparkError, PipelineError, UsageError
from cdc_local.source.user_errors import describe_exception
from cdc_local.update.endings import list_causes
from cdc_utils import snapshots

_RAISED_BY_US = ("AUTO CDC:", NULL_SEQUENCE, snapshots.DUPLICATE_KEY)  # In queries of our own


@contextmanager
def leave_to_spark(
    may_leave: bool,  # Whether Spark may run the update
) -> Iterator[None]:
    "Turn an error of Sail into a `NeedsSparkError`; a mistake that we have found ourselves stays what it is."
    try:
        yield
    except (NeedsSparkError, UsageError):
        raise
    except PipelineError as wrong:
        if may_leave and any(map(_is_from_engine, list_causes(wrong))):
            raise NeedsSparkError(f"Sail says {_first_line(wrong.message)}", wrong.location) from None
        raise


def find_need_of_spark(
    flow: Flow,  # A flow that failed on Sail
    error: BaseException,  # What was raised
) -> NeedsSparkError | None:  # None for a mistake that we have found ourselves
    "Say why Spark should run what has failed on Sail: it may do it, and if it doesn't, its error is shown."
    if isinstance(error, NeedsSparkError):
        return error
    if not _is_from_engine(error) or any(words in str(error) for words in _RAISED_BY_US):
        return None
    return NeedsSparkError(f"{flow.name}: Sail says {_first_line(describe_exception(error))}", flow.location)


def _first_line(
    message: str,  # Of an engine; lists and advice may follow
) -> str:  # One line without a full stop, for a sentence
    return message.partition("\n")[0].rstrip(".")


def _is_from_engine(
    error: BaseException,  # Any
) -> bool:
    "Whether an engine raised an error; a table that we miss is of a class of PySpark's, too."
    return isinstance(error, PySparkException) and not isinstance(error, PipelineError)
