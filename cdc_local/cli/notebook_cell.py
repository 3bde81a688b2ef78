"""`cdc` in a notebook cell: one Spark session for all commands, and an output that is the same in every
run."""

import re
import shlex
from pathlib import Path

from cdc_local.errors import PipelineError

_PROGRESS = re.compile(
    r"^(?:\S+ +(?:RUNNING|[A-Z]+ +(?:.*, )?[\d.,]+ s)|\S+: [A-Z_]+ after [\d.,]+ s|Update [0-9a-f]{8} .*)$"
)  # What a pipe shows while an update runs

_UPDATE_ID = re.compile(
    r"(?<=\bUpdate )[0-9a-f]{8}(?:(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?\b"
)  # An update's id, in full or its first part

_DURATION = re.compile(r"(?<=\w), [\d.,]+ s\.$")  # How long an update took, at the end of its last line

_SECONDS = "   Seconds"  # Heading of the column that differs in every run


def cdc(
    line: str,  # What is typed after `cdc`, with the quotes of a shell
    status: int = 0,  # The exit status to expect: 1 for an update that fails, 2 for wrong use
) -> None:
    """Run a command in this process, and print what lasts of its output; `PipelineError` where it ends with
    another status."""
    from typer.testing import CliRunner

    from cdc_local.cli.main import app

    done = CliRunner().invoke(app, shlex.split(line))
    if done.output:
        print(lasting_output(done.output, Path.cwd()))
    if done.exit_code != status:
        raise PipelineError(f"`cdc {line}` ended with exit status {done.exit_code}, not {status}")


def lasting_output(
    text: str,  # What a command printed
    folder: Path,  # Folder that the command was typed in
) -> str:  # The same without progress, seconds, ids and that folder
    "Keep what a second run would print as well."
    lines = [line.rstrip() for line in text.splitlines() if not _PROGRESS.match(line)]
    lines = _cut_seconds(cut_moments(lines))
    lines = [_DURATION.sub(".", line) if _UPDATE_ID.search(line) else line for line in lines]
    return "\n".join(_UPDATE_ID.sub("…", line) for line in lines).replace(f"{folder}/", "")


def _cut_seconds(
    lines: list[str],  # What a command printed
) -> list[str]:
    "Cut the column `Seconds` out of a table that ends with it, or with a message after it."
    kept, start, width = [], None, len(_SECONDS)
    for line in lines:
        if line.endswith(_SECONDS) or f"{_SECONDS}   Message" in line:
            start = line.index(_SECONDS)
        elif start is not None and not re.fullmatch(r"[ ─]*| +[\d,]+\.\d", line[start : start + width]):
            start = None
        kept.append(line if start is None else (line[:start] + line[start + width :]).rstrip())
    return kept


def cut_moments(
    lines: list[str],  # What `cdc events` printed, or anything else
) -> list[str]:
    "Cut the first column off a table of events: when each happened."
    if not lines or not lines[0].startswith("Time (UTC)"):
        return lines
    start = lines[0].index("Level")
    return [line[start:] for line in lines]
