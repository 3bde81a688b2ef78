"""Errors for whoever runs a pipeline: what is wrong, where, and what to do about it."""

from dataclasses import dataclass, field

from cdc_utils import __version__


@dataclass(frozen=True)
class Location:
    """A line of a source file; prints as `file:line`."""

    file: str  # Path as the user named it
    line: int = 0  # Line, counted from 1; 0 where none is known
    columns: tuple[int, int] | None = field(default=None, compare=False)  # Where in the line, end excluded

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class PipelineError(Exception):
    """What is wrong with a pipeline: message, location, what to do. Exit status 1: the update failed."""

    exit_code = 1

    def __init__(
        self,
        message: str,  # The thing and the value received
        location: Location | None = None,  # Where in the user's source
        hint: str = "",  # What to do
    ) -> None:
        super().__init__(message)
        self.message, self.location, self.hint = message, location, hint
        self.query = ""  # The dataset or flow in whose query it is, where that is known
        self.query_location: Location | None = None  # Where that query begins

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location else ""
        return where + self.message + (f"; {self.hint}" if self.hint else "")


class UsageError(PipelineError):
    """A command that is used wrongly: exit status 2, nothing was started."""

    exit_code = 2


class JavaMissingError(UsageError):
    """Spark is needed, and there is no Java that it runs on."""


class NeedsSparkError(PipelineError):
    """What Sail does not do, or is not known to do as Spark does. `auto` runs the update on Spark instead."""

    def __init__(
        self,
        reason: str,  # What needs Spark, as a sentence
        location: Location | None = None,  # Where in the user's source
    ) -> None:
        super().__init__(reason, location, "run it on Spark: --engine spark")


def install_hint() -> str:  # What to type; neither package is in an index
    "Say how a package that is missing is installed: with the wheels that need it."
    wheels = " ".join(f"{package}-{__version__}-py3-none-any.whl" for package in ("cdc_utils", "cdc_local"))
    return (
        f"install the project's wheels and what they need: pip install {wheels}; in a clone: make setup-run"
    )


def locate(
    sql: str,  # SQL text
    position: int,  # A position in it
    location: Location | None = None,  # Where the text's first line stands
) -> Location:  # The file and line of that position
    """Find the file and line of a position in a text."""
    line = sql.count("\n", 0, position)
    return Location(location.file, (location.line or 1) + line) if location else Location("SQL", line + 1)


def is_users_mistake(
    error: BaseException,  # What was raised
) -> bool:  # Whether its text is written for the user
    "Tell our own errors about wrong input, and plain `ValueError`s, from faults of this project."
    return (
        isinstance(error, PipelineError)
        or type(error) is ValueError
        or (isinstance(error, ValueError) and type(error).__module__.startswith(("cdc_utils.", "cdc_local.")))
    )
