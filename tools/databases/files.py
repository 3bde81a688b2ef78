"""Files of a landing zone: what both captures write."""

from pathlib import Path


def write_file(folder: Path, name: str, lines: list[str]) -> None:
    "Write lines into a file that appears whole."
    folder.mkdir(parents=True, exist_ok=True)
    hidden = folder / f".{name}.tmp"
    hidden.write_text("\n".join(lines) + "\n")
    hidden.replace(folder / f"{name}.json")
