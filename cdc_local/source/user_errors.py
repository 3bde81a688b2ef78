"""An exception of the user's code, as one sentence at the user's line."""

import os
import re
import sys
import traceback
from pathlib import Path

import cdc_utils
from cdc_local.errors import Location, PipelineError
from cdc_local.volumes import explain


def display_path(
    file: str,  # What a cell is compiled as
) -> str:  # Relative to the current folder where it lies below it
    "A path the way a person in this folder would write it."
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative


def describe_exception(
    error: BaseException,  # Anything that was raised
) -> str:  # Its type and first words; no plan, no JVM stack
    "One sentence for an exception."
    text = str(error)
    java = getattr(error, "java_exception", None)  # py4j: the message ends in a JVM stack
    if java is not None:
        text = str(java.toString())
    text = re.split(r"\n+(?='|== SQL|\+- |:- |\tat |JVM stacktrace)", text.strip())[0].strip().rstrip(";")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def user_location(
    sources: set[str],  # Names that user code is compiled as: `Source.files`
) -> Location:  # The nearest line of user code that is running; `None` outside of it
    "Find the user's line that called us, as that of a decorator."
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename not in sources:
        frame = frame.f_back
    return None if frame is None else Location(display_path(frame.f_code.co_filename), frame.f_lineno)


def is_library(
    file: str,  # A file name in a traceback
) -> bool:  # True for Python, its packages and ourselves
    "Tell installed code from the user's."
    ours = (str(Path(__file__).parents[1]) + os.sep, os.path.dirname(cdc_utils.__file__) + os.sep)
    return file.startswith((*ours, os.path.dirname(os.__file__) + os.sep, "<")) or any(
        part in file for part in ("site-packages", "dist-packages", "ipykernel_")
    )


def user_error(
    error: BaseException,  # Raised while user code ran
    sources: set[str],  # Names that user code is compiled as
) -> PipelineError:  # The same for a reader: type, message, the user's file and line
    "Turn any exception of user code into a `PipelineError` at the user's line."
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    users = [Location(display_path(file), line) for file, line in frames if file in sources]
    location = users[-1] if users else None
    if isinstance(error, PipelineError):
        error.location = error.location or location
        return error
    if isinstance(error, SyntaxError):
        return PipelineError(
            f"{type(error).__name__}: {error.msg}",
            Location(display_path(error.filename), error.lineno or 0) if error.filename else location,
        )
    deeper = [
        f"{display_path(file)}:{line}"
        for file, line in frames
        if file not in sources and not is_library(file)
    ]
    text = describe_exception(error) + (f" (in {deeper[-1]})" if deeper else "")
    return PipelineError(text, location, explain(error) or "")
