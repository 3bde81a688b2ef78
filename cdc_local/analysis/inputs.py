"""What an update reads from outside its pipeline, noted while the pipeline's code runs."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdc_local.storage import strip_scheme


def _do_nothing(*_: Any) -> None:
    "Stand for a caller who need not know."


@dataclass
class UpdateInputs:
    "The files, tables and modules that an update reads and does not write."

    paths: set[str] = field(default_factory=set)  # Files, folders and globs of this machine, absolute
    tables: set[Path] = field(default_factory=set)  # Folders of tables that the pipeline does not declare
    sources: set[Path] = field(default_factory=set)  # Source files that ran, those of `%run` included
    modules: set[Path] = field(default_factory=set)  # Files of the user's modules, folders of their packages
    # Called with the `Runtime` when the source files have declared, before flows are analysed
    on_declared: Callable[[Any], None] = _do_nothing
    # Called when the flows are analysed, before they read: all that is to be known of the inputs is known
    on_analysed: Callable[[], None] = _do_nothing

    def add_paths(
        self,
        value: Any,  # An argument of a reader: a path, a list of paths; anything else is no path
    ) -> None:
        "Note paths of this machine; an address of another one, as `s3://…`, is left out."
        for path in value if isinstance(value, (list, tuple)) else [value]:
            if not isinstance(path, str):
                continue
            local = strip_scheme(path)
            if not re.match(r"\w[\w+.-]+:/", local):
                self.paths.add(str(Path(local).absolute()))
