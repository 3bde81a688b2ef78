"""What a user says of a project, and what is asked where neither that nor the sample is clear."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cdc_local.errors import UsageError


@dataclass(frozen=True)
class Options:
    "What is said of a project; what is None is found in the sample."

    sample: Path | None = None  # A file or folder of the feed
    kind: str | None = None  # A name of `kinds.NAMES`
    database: str | None = None  # Where a tool reads several
    table: str | None = None  # Of the source, as the feed spells it, or what the table is to be called
    keys: tuple[str, ...] | None = None  # Columns that identify a row
    columns: Mapping[str, str] | None = None  # Column to SQL type
    encodings: Mapping[str, str] = field(default_factory=dict)  # Column to how it is written
    sequence: str | None = None  # Column that orders the changes
    operation: str | None = None  # Column that says what a change is; empty: there is none
    deletes: str | None = None  # Its value that means a delete
    marker: str | None = None  # File that is written last into a snapshot; empty: there is none
    has_history: bool = True  # Whether a table with every version is wanted


class UnclearError(UsageError):
    "A question that only the user can answer: asked in a terminal, an error elsewhere."

    def __init__(
        self,
        option: str,  # Field of `Options` that answers it
        message: str,  # What is not clear
        choices: Sequence[str] = (),  # Answers that come into question
        hint: str = "",  # What to do, where it is more than to choose
    ) -> None:
        self.option, self.choices = option, tuple(choices)
        advice = f"say it with --{option}"
        if choices:
            advice += f": {', '.join(self.choices)}"
        super().__init__(message, hint=f"{hint}; {advice}" if hint else advice)
