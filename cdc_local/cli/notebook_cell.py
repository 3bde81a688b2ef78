"""What a shell types after `cdc`, run inside the notebook: one Spark for all of them, and an output that is the same in every run."""

import re
import shlex
from pathlib import Path

from cdc_local.errors import PipelineError

PROGRESS = re.compile(
    r"^(?:\S+ +(?:RUNNING|[A-Z]+ +(?:.*, )?[\d.,]+ s)|\S+: [A-Z_]+ after [\d.,]+ s|Update [0-9a-f]{8} .*)$"
)  # What a pipe shows while an update runs

IDENTITY = re.compile(
    r"(?<=\bUpdate )[0-9a-f]{8}(?:(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?\b"
)  # An update's id, short or whole


def without_seconds(
    lines: list[str],  # What a command printed
) -> list[str]:
    "Cut the column `Seconds` out of a table that ends with it, or with a message after it."
    kept, at, wide = [], None, len("   Seconds")
    for line in lines:
        if line.endswith("   Seconds") or "   Seconds   Message" in line:
            at = line.index("   Seconds")
        elif at is not None and not re.fullmatch(r"[ ─]*| +[\d,]+\.\d", line[at : at + wide]):
            at = None
        kept.append(line if at is None else (line[:at] + line[at + wide :]).rstrip())
    return kept


def without_moments(
    lines: list[str],  # What `cdc events` printed, or anything else
) -> list[str]:
    "Cut the first column off a table of events: when each happened."
    return (
        [line[lines[0].index("Level") :] for line in lines]
        if lines and lines[0].startswith("Time (UTC)")
        else lines
    )


def lasting_output(
    text: str,  # What a command printed
    here: Path,  # Folder that the command was typed in
) -> str:  # The same without progress, seconds, ids and that folder
    "Keep what a second run would print as well."
    lines = without_seconds(
        without_moments([line.rstrip() for line in text.splitlines() if not PROGRESS.match(line)])
    )
    return "\n".join(IDENTITY.sub("…", line) for line in lines).replace(f"{here}/", "")


def cdc(
    line: str,  # What a shell would be told after `cdc`
    status: int = 0,  # The exit status to expect: 1 for an update that fails, 2 for wrong use
) -> None:
    "Type a command in a cell, and print what lasts of its output; `PipelineError` where it ends with another status."
    from typer.testing import CliRunner

    from cdc_local.cli.main import app

    done = CliRunner().invoke(app, shlex.split(line))
    if done.output:
        print(lasting_output(done.output, Path.cwd()))
    if done.exit_code != status:
        raise PipelineError(f"`cdc {line}` ended with exit status {done.exit_code}, not {status}")
