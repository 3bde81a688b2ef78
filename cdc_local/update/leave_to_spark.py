"""What Sail refuses is left to Spark: it may do it, and if it doesn't, its error is the one to show."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import PySparkException

from cdc_local.errors import NeedsSparkError, PipelineError, UsageError


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
        if may_leave and _is_of_engine(wrong):
            raise NeedsSparkError(f"Sail says {wrong.message}", wrong.location) from None
        raise


def _is_of_engine(
    error: BaseException,  # A mistake in the pipeline
) -> bool:  # Whether the engine found it
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, PySparkException):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
