"""An exception of the user's code, as one sentence at the user's line."""

import linecache
import os
import re
import sys
import traceback
from collections.abc import Collection
from pathlib import Path

import cdc_utils
from cdc_local.errors import Location, PipelineError
from cdc_local.volumes import explain

# Where the first sentence of an exception ends: at a plan, a query or a stack of Java's
_END_OF_SENTENCE = re.compile(r"\n+(?='|== SQL|== DataFrame|\+- |:- |\tat |JVM stacktrace)")


# What no code of ours raises on purpose while the user's code runs
_FAULTS_OF_CODE = (
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    StopIteration,
    UnboundLocalError,
)
_OWN_FOLDER = str(Path(__file__).parents[1]) + os.sep


def display_path(
    file: str,  # Name that a cell is compiled under
) -> str:  # Relative to the current folder where it lies below it
    """Write a path the way a person in this folder would."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative


def describe_exception(
    error: BaseException,  # Anything that was raised
) -> str:  # Its type and first words; no plan, no JVM stack
    """Describe an exception in one sentence."""
    java = getattr(error, "java_exception", None)  # py4j: its message ends in a JVM stack
    if java is None:
        name, text = type(error).__name__, str(error)
    else:
        from cdc_local.engines.spark.catalyst import describe_java_exception

        name, text = describe_java_exception(java)
    text = _END_OF_SENTENCE.split(text.strip())[0].strip().rstrip(";")
    return f"{name}: {text}" if text else name


def find_user_location(
    sources: Collection[str],  # Names that user code is compiled under: `Source.files`
) -> Location | None:  # The nearest line of user code that is running; `None` outside of it
    """Find the user's line that called us, as that of a decorator."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename not in sources:
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return Location(display_path(frame.f_code.co_filename), frame.f_lineno)


def to_pipeline_error(
    error: BaseException,  # Raised while user code ran
    sources: Collection[str],  # Names that user code is compiled under
) -> PipelineError:  # Type, message, the user's file and line
    """Turn any exception of user code into a `PipelineError` at the user's line."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [(frame.filename, frame.lineno or 0) for frame in frames]
    user_frames = [frame for frame in frames if frame.filename in sources]
    location = _locate_frame(user_frames[-1]) if user_frames else None
    if isinstance(error, PipelineError):
        error.location = error.location or location
        return error
    if isinstance(error, SyntaxError):
        if error.filename:  # the line that is wrong, in whatever file, is in no frame
            location = Location(display_path(error.filename), error.lineno or 0)
        return PipelineError(f"{type(error).__name__}: {error.msg}", location)
    imported = [
        Location(display_path(file), line)
        for file, line in lines
        if file not in sources and not _is_library(file)
    ]
    text = describe_exception(error)
    hint = explain(error) or explain_types(text, location)
    if isinstance(error, _FAULTS_OF_CODE) and lines and lines[-1][0].startswith(_OWN_FOLDER):
        place = f"{Path(lines[-1][0]).name}:{lines[-1][1]}"
        text = f"a fault of cdc_utils itself, not of this pipeline: {text} ({place})"
    return PipelineError(text + (f" (in {imported[-1]})" if imported else ""), location, hint)


def _locate_frame(
    frame: traceback.FrameSummary,  # A call in user code
) -> Location:
    "Find the line of a call, and the call in it."
    text, columns = linecache.getline(frame.filename, frame.lineno or 0).rstrip().encode(), None
    if frame.colno is not None and frame.end_colno is not None:
        end = frame.end_colno if frame.end_lineno == frame.lineno else len(text)
        columns = (len(text[: frame.colno].decode()), len(text[:end].decode()))
    return Location(display_path(frame.filename), frame.lineno or 0, columns)


def explain_types(
    text: str,  # What Spark says
    location: Location | None,  # The user's line
) -> str:  # What to do; empty where the error is another
    """Explain that a STRING is not converted in [ANSI
    mode](https://docs.databricks.com/aws/en/sql/language-manual/sql-ref-ansi-compliance), which serverless
    compute has and a pipeline on classic compute may lack."""
    if "[DATATYPE_MISMATCH." not in text or '"STRING"' not in text:
        return ""
    is_sql = location is not None and location.file.partition(" cell ")[0].endswith(".sql")
    cast = "CAST(amount AS DOUBLE)" if is_sql else 'col("amount").cast("double")'
    return (
        "ANSI mode converts no STRING here, on Databricks' serverless compute either: write a cast, such as "
        f"{cast}; without it, as on classic compute: --conf spark.sql.ansi.enabled=false"
    )


def _is_library(
    file: str,  # A file name in a traceback
) -> bool:  # True for Python, its packages and ourselves
    """Tell installed code from the user's."""
    folders = (Path(__file__).parents[1], Path(cdc_utils.__file__).parent, Path(os.__file__).parent)
    return file.startswith((*(str(folder) + os.sep for folder in folders), "<")) or any(
        part in file for part in ("site-packages", "dist-packages", "ipykernel_")
    )
