"""Files and notebooks in, cells of Python and SQL out; every cell remembers its file and its first line."""

import ast
import glob
import json
import linecache
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.source.user_errors import display_path, to_pipeline_error

_LANGUAGE_BY_SUFFIX = {".py": "python", ".sql": "sql", ".ipynb": "python"}  # a notebook may say another one
_SUFFIXES = tuple(_LANGUAGE_BY_SUFFIX)
_COMMENT_SIGNS = {".py": "#", ".sql": "--"}
_HINT_SUFFIXES = f"pipeline source ends in {', '.join(_SUFFIXES)}"
_HINT_LANGUAGES = "pipelines are written in Python and SQL"

# Magics, by what a pipeline does with them; any other one is refused by name
_LANGUAGE_MAGICS = {"sql": "sql", "python": "python", "py": "python"}
_TEXT_MAGICS = {"md", "md-sandbox", "markdown", "html"}  # the cell is documentation
_MAGICS_WITHOUT_EFFECT = {
    "autoreload",
    "capture",
    "conda",
    "config",
    "load_ext",
    "matplotlib",
    "pip",
    "reload_ext",
    "restart_python",
    "time",
    "timeit",
    "uv",
}
_OTHER_LANGUAGES = {"scala", "r"}


def discover_sources(
    paths: Sequence[str | Path],  # Files, folders or patterns with `**`, in the order given
) -> list[Path]:  # Source files, each once; sorted within each path
    """Find the source files of a pipeline; raises `UsageError`, which names a path that gives none."""
    found: dict[Path, Path] = {}
    for path in map(str, paths):
        files = _source_files(path)
        if not files:
            raise UsageError(f"no source file in {path}", hint=_HINT_SUFFIXES)
        for file in files:
            found.setdefault(file.resolve(), file)
    if not found:
        raise UsageError("no source path given", hint="name a file or folder, as transformations")
    return list(found.values())


def _source_files(
    path: str,  # A file, a folder or a pattern with `**`
) -> list[Path]:  # Its source files, sorted
    """Find the source files of one path; raises `UsageError` for a path that isn't there."""
    named = Path(path)
    if named.is_dir():
        return sorted(file for file in named.rglob("*") if _is_visible(file, named))
    if named.is_file():
        if named.suffix in _SUFFIXES:
            return [named]
        raise UsageError(f"{path} is not a source file", hint=_HINT_SUFFIXES)
    if not glob.has_magic(path):
        raise UsageError(f"no such file or folder: {path}")
    root = _fixed_folder(path)
    matches = {Path(file) for file in glob.glob(path, recursive=True)}  # noqa: PTH207 (with `Path`, `**` is folders alone)
    return sorted(file for file in matches if _is_visible(file, root))


def _fixed_folder(
    pattern: str,  # A path with `*`, `?` or `[`
) -> Path:  # Its leading part without any of them
    """Find the folder that a pattern starts from."""
    parts = Path(pattern).parts
    first_wild = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first_wild])


def _is_visible(
    path: Path,  # A file below `root`
    root: Path,  # The folder that was named
) -> bool:  # False for anything inside a hidden folder or `__pycache__`
    """Tell a source file from an editor's and Python's own files."""
    parts = path.relative_to(root).parts if path.is_relative_to(root) else path.parts[-1:]
    is_hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
    return path.suffix in _SUFFIXES and path.is_file() and not is_hidden


@dataclass(frozen=True)
class Cell:
    """A piece of source in one language."""

    language: str  # 'python' or 'sql'
    text: str  # The code, without magics
    line: int  # Line of its first line in the file (in the cell, for .ipynb), counted from 1
    file: str  # Name it is compiled under: the absolute path, and `cell 3` for .ipynb


@dataclass(frozen=True)
class Source:
    """A source file, read."""

    path: Path  # The file
    cells: tuple[Cell, ...]  # In order, those of `%run` notebooks included
    skipped: tuple[str, ...]  # What was left out, as `file:line: %pip install …`

    @property
    def files(self) -> set[str]:
        """Names that its code is compiled under."""
        return {cell.file for cell in self.cells}

    @property
    def paths(self) -> set[Path]:
        """The file, and those of the notebooks that it runs."""
        return {
            self.path.absolute(),
            *(Path(re.sub(r"(?<=\.ipynb) cell \d+$", "", name)) for name in self.files),
        }


def read_source(
    path: str | Path,  # A file that `discover_sources` found
) -> Source:  # Its cells, and what was left out
    """Read a source file; raises `PipelineError` for what a pipeline cannot have."""
    reader = _Reader()
    reader.read(Path(path))
    return Source(Path(path), tuple(reader.cells), tuple(reader.skipped))


class _Reader:
    """Collects the cells of a file and of those that it runs."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.skipped: list[str] = []
        self._open: list[Path] = []  # files that are being read, each run by the one before

    def read(
        self,
        path: Path,  # A .py, .sql or .ipynb file
    ) -> None:
        """Read one file; raises `PipelineError`."""
        self._open.append(path.resolve())
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise PipelineError("not a text file in UTF-8", Location(display_path(str(path)))) from None
        if path.suffix == ".ipynb":
            self._read_jupyter(path, text)
        elif text.split("\n", 1)[0].strip() == f"{_COMMENT_SIGNS[path.suffix]} Databricks notebook source":
            self._read_notebook(path, text)
        elif text.strip():
            self.cells.append(Cell(_LANGUAGE_BY_SUFFIX[path.suffix], text, 1, str(path.absolute())))
        self._open.pop()

    def _read_notebook(
        self,
        path: Path,  # A .py or .sql file in Databricks' notebook format
        text: str,  # Its text
    ) -> None:
        """Read the cells between the lines that separate them."""
        sign, lines, start = _COMMENT_SIGNS[path.suffix], text.split("\n"), 1
        for number, line in enumerate([*lines[1:], f"{sign} COMMAND ----------"], 1):
            if re.match(rf"{sign} COMMAND -{{4,}}", line):
                self._read_command(path, lines[start:number], start + 1)
                start = number + 1

    def _read_command(
        self,
        path: Path,  # The file
        lines: list[str],  # Lines of one cell
        line: int,  # Number of the first
    ) -> None:
        """Read one cell of the notebook format; `MAGIC` lines make it another language's."""
        file, sign = str(path.absolute()), _COMMENT_SIGNS[path.suffix]
        has_code = any(text.strip() and not text.startswith(sign) for text in lines)
        has_magic = any(re.match(rf"{sign} MAGIC\s*[%!]", text) for text in lines)
        if has_magic and not has_code:
            is_magic = f"{sign} MAGIC"
            lines = [
                re.sub(rf"^{sign} MAGIC ?", "", text) if text.startswith(is_magic) else "" for text in lines
            ]
        else:
            self._check_magics_beside_code(file, lines, line, sign)
        if has_code or has_magic:
            self._add_cell(path, file, "\n".join(lines), line, _LANGUAGE_BY_SUFFIX[path.suffix])

    def _check_magics_beside_code(
        self,
        file: str,  # Name it is compiled under
        lines: list[str],  # Lines of a cell that has code of the file's own language
        line: int,  # Number of the first
        sign: str,  # `#` or `--`
    ) -> None:
        """Refuse a magic that nobody would run, since it is a comment there."""
        for number, text in enumerate(lines, line):
            magic = re.match(rf"{sign} MAGIC\s*%+([\w-]*)", text)
            if magic and magic[1] not in _MAGICS_WITHOUT_EFFECT:
                raise _unsupported_magic("%" + magic[1], Location(display_path(file), number))
            if magic:
                self._skip(file, number, re.sub(rf"^{sign} MAGIC ", "", text))

    def _read_jupyter(
        self,
        path: Path,  # A .ipynb file
        text: str,  # Its JSON
    ) -> None:
        """Read a Jupyter notebook; its language is Python unless its metadata say another one."""
        location = Location(display_path(str(path)))
        try:
            notebook = json.loads(text)
            cells, metadata = notebook["cells"], notebook.get("metadata", {})
        except (ValueError, KeyError, TypeError):
            raise PipelineError("not a Jupyter notebook", location) from None
        declared = (
            metadata.get("application/vnd.databricks.v1+notebook", {}).get("language")
            or metadata.get("language_info", {}).get("name")
            or "python"
        )
        language = _LANGUAGE_MAGICS.get(declared.lower())
        if language is None:
            raise PipelineError(f"a notebook in {declared} is not supported", location, _HINT_LANGUAGES)
        for number, cell in enumerate(cells, 1):
            if cell.get("cell_type") == "code":
                file = f"{path.absolute()} cell {number}"
                self._add_cell(path, file, "".join(cell["source"]), 1, language)

    def _add_cell(
        self,
        path: Path,  # The file it is from
        file: str,  # Name it is compiled under
        text: str,  # The cell as written
        line: int,  # Line of its first line
        language: str,  # The notebook's language
    ) -> None:
        """Add one notebook cell: find its language, follow `%run`, leave out what cannot matter."""
        blank_lines = re.match(r"(?:[ \t]*\n)*", text)
        blank = blank_lines[0] if blank_lines else ""
        text, line = text[len(blank) :], line + blank.count("\n")
        magic = re.match(r"[ \t]*%{1,2}([A-Za-z][\w-]*)[ \t]*([^\n]*)\n?", text)
        name = magic[1].lower() if magic else ""
        if magic and name == "run":
            self._read_other(path, magic[2], file, line)
            self._add_cell(path, file, text[magic.end() :], line + 1, language)
            return
        if magic and name in _LANGUAGE_MAGICS:
            language = _LANGUAGE_MAGICS[name]
            text = text[magic.start(2) :]  # `%sql SELECT 1` has code on its own line
        elif name in _TEXT_MAGICS:
            return
        elif magic and name not in _MAGICS_WITHOUT_EFFECT:
            raise _unsupported_magic(magic[0].strip(), Location(display_path(file), line))
        elif magic and language == "sql":
            self._skip(file, line, magic[0])
            return
        if language == "python":
            text = self._without_magics(file, text, line)
        if text.strip():
            self.cells.append(Cell(language, text, line, file))

    def _without_magics(
        self,
        file: str,  # Name it is compiled under
        text: str,  # A Python cell
        line: int,  # Its first line
    ) -> str:  # The cell with its magic lines blank: the lines below keep their numbers
        """Blank the lines that are IPython's, in a cell that is not Python as it stands."""
        try:
            ast.parse(text)
            return text
        except SyntaxError:
            pass  # perhaps because of a magic; else the cell fails with this error when it runs
        lines = text.split("\n")
        for number, written in enumerate(lines):
            magic = re.match(r"[ \t]*(?:%{1,2}([A-Za-z][\w-]*)|!)", written)
            if not magic:
                continue
            if (magic[1] or "").lower() not in _MAGICS_WITHOUT_EFFECT:
                raise _unsupported_magic(written.strip(), Location(display_path(file), line + number))
            self._skip(file, line + number, written)
            lines[number] = ""
        return "\n".join(lines)

    def _read_other(
        self,
        path: Path,  # The notebook with the `%run`
        argument: str,  # What follows `%run`
        file: str,  # Name it is compiled under
        line: int,  # Line of the `%run`
    ) -> None:
        """Read the notebook of a `%run` in its place."""
        location = Location(display_path(file), line)
        other = _find_other_notebook(path, argument, location)
        if other.resolve() in self._open:
            raise PipelineError(
                f"%run {argument.strip()}: the notebooks run each other in a circle", location
            )
        if "$" in argument:
            self._skip(file, line, f"arguments of %run {argument}")
        self.read(other)

    def _skip(
        self,
        file: str,  # Name it is compiled under
        line: int,  # The line that is left out
        text: str,  # What it says
    ) -> None:
        self.skipped.append(f"{Location(display_path(file), line)}: {text.strip()}")


def _unsupported_magic(
    magic: str,  # The line as written
    location: Location,  # Where it stands
) -> PipelineError:
    """The error that refuses a magic by name."""
    command = re.match(r"%*(!|[\w-]*)", magic)
    name = command[1] if command else ""
    shown = f"%{name}" if name != "!" else "!" + magic.strip().lstrip("!").split(" ")[0]
    hint = _HINT_LANGUAGES if name in _OTHER_LANGUAGES else "remove the cell or the line"
    return PipelineError(f"{shown} is not supported in pipeline source", location, hint)


def _find_other_notebook(
    path: Path,  # The notebook with the `%run`
    argument: str,  # What follows `%run`: a path, perhaps in quotes, perhaps without its suffix
    location: Location,  # Where it stands
) -> Path:  # The notebook it names
    """Find the notebook of `%run ./other`; raises `PipelineError` if there is none."""
    words = re.match(r'"([^"]*)"|\'([^\']*)\'|(\S*)', argument.strip())
    name = next((word for word in (words.groups() if words else ()) if word is not None), "")
    for suffix in ("", *_SUFFIXES):
        other = Path(os.path.normpath(path.parent / (name + suffix)))
        if name and other.is_file():
            return other
    raise PipelineError(
        f"%run {argument.strip()}: no such notebook", location, f"looked for {name} beside {path.name}"
    )


def execute_source(
    source: Source,  # What `read_source` read
    namespace: dict[str, Any],  # Globals of its Python cells, which fill it
    run_sql: Callable[[str, Location], object],  # Gets the text and `Location` of each SQL cell
) -> None:
    """Run a source's cells in order; raises `PipelineError` at the user's line for every failure."""
    namespace["__file__"] = str(source.path.absolute())
    for cell in source.cells:
        try:
            if cell.language == "sql":
                run_sql(cell.text, Location(display_path(cell.file), cell.line))
            else:
                exec(_compile_cell(cell), namespace)
        except SystemExit as stop:
            exited = RuntimeError(f"the source called exit({stop.code!r})").with_traceback(stop.__traceback__)
            raise to_pipeline_error(exited, source.files) from None
        except Exception as error:
            wrong = to_pipeline_error(error, source.files)
            wrong.location = wrong.location or Location(display_path(cell.file), cell.line)
            raise wrong from None


def _compile_cell(
    cell: Cell,  # A Python cell
) -> CodeType:  # Its code; line numbers are the file's
    """Compile a cell under the name and line of its file; `inspect` finds a notebook's text too."""
    padded = "\n" * (cell.line - 1) + cell.text
    if cell.file.rpartition(" ")[0].endswith(" cell"):
        linecache.cache[cell.file] = (len(padded), None, padded.splitlines(True), cell.file)
    return compile(padded, cell.file, "exec", dont_inherit=True)
