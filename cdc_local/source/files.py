"""Files and notebooks in, cells of Python and SQL out, every line still knowing where it stands."""

import ast
import glob
import json
import linecache
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.source.user_errors import display_path, user_error

SUFFIXES = (".py", ".sql", ".ipynb")


def _visible(
    path: Path,  # A file below `under`
    under: Path,  # The folder that was named
) -> bool:  # False for anything inside a hidden folder or `__pycache__`
    "Tell a source file from an editor's and Python's own files."
    parts = path.relative_to(under).parts if path.is_relative_to(under) else path.parts[-1:]
    return (
        path.suffix in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") or part == "__pycache__" for part in parts)
    )


def _glob_root(
    pattern: str,  # A path with `*`, `?` or `[`
) -> Path:  # Its leading part without any of them
    "The folder that a pattern starts from."
    parts = Path(pattern).parts
    fixed = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:fixed])


def _source_files(
    path: str,  # A file, a folder or a pattern with `**`
) -> list[Path]:  # Its source files, sorted
    "Source files that one path stands for; `UsageError` for a path that isn't there."
    named = Path(path)
    if named.is_dir():
        return sorted(file for file in named.rglob("*") if _visible(file, named))
    if named.is_file():
        if named.suffix in SUFFIXES:
            return [named]
        raise UsageError(
            f"{path} is not a source file", hint=f"pipeline source ends in {', '.join(SUFFIXES)}"
        )
    if not glob.has_magic(path):
        raise UsageError(f"no such file or folder: {path}")
    root = _glob_root(path)
    return sorted({file for file in map(Path, glob.glob(path, recursive=True)) if _visible(file, root)})


def discover_sources(
    paths: list[str],  # Files, folders or patterns with `**`, in the order given
) -> list[Path]:  # Source files, each once; sorted within each path
    "Find the source files of a pipeline; `UsageError` names a path that gives none."
    found = {}
    for path in map(str, paths):
        files = _source_files(path)
        if not files:
            raise UsageError(
                f"no source file in {path}", hint=f"pipeline source ends in {', '.join(SUFFIXES)}"
            )
        for file in files:
            found.setdefault(file.resolve(), file)
    if not found:
        raise UsageError("no source path given", hint="name a file or folder, as transformations")
    return list(found.values())


@dataclass(frozen=True)
class Cell:
    "A piece of source in one language."

    language: str  # 'python' or 'sql'
    text: str  # The code, without magics
    line: int  # Line of its first line in the file (in the cell, for .ipynb), counted from 1
    file: str  # What it is compiled as: the absolute path, and `cell 3` for .ipynb


@dataclass(frozen=True)
class Source:
    "A source file, read."

    path: Path  # The file
    cells: tuple  # `Cell`s in order, those of `%run` notebooks included
    skipped: tuple  # What was left out, as `file:line: %pip install …`

    @property
    def files(self) -> set[str]:
        "Names that its code is compiled as."
        return {cell.file for cell in self.cells}


LANGUAGES = {"sql": "sql", "python": "python", "py": "python"}

DOCUMENTATION = ("md", "md-sandbox", "markdown", "html")

WITHOUT_EFFECT = (
    "pip",
    "conda",
    "uv",
    "restart_python",
    "load_ext",
    "reload_ext",
    "autoreload",
    "config",
    "matplotlib",
    "time",
    "timeit",
    "capture",
)

REFUSED = {"scala": "pipelines are written in Python and SQL", "r": "pipelines are written in Python and SQL"}


def _refuse(
    magic: str,  # The line as written
    location: Location,  # Where it stands
) -> None:
    "Refuse a magic by name."
    name = re.match(r"%*(!|[\w-]*)", magic)[1]
    what = f"%{name}" if name != "!" else "!" + magic.strip().lstrip("!").split(" ")[0]
    raise PipelineError(
        f"{what} is not supported in pipeline source",
        location,
        REFUSED.get(name, "remove the cell or the line"),
    )


def _other_notebook(
    path: Path,  # The notebook with the `%run`
    argument: str,  # What follows `%run`
    location: Location,  # Where it stands
) -> Path:  # The notebook it names
    "Resolve `%run ./other`; `PipelineError` if there is none."
    name = re.match(r'"([^"]*)"|\'([^\']*)\'|(\S*)', argument.strip())
    name = next(part for part in (*name.groups(), "") if part is not None)
    for suffix in ("", *SUFFIXES):
        other = Path(os.path.normpath(path.parent / (name + suffix)))
        if name and other.is_file():
            return other
    raise PipelineError(
        f"%run {argument.strip()}: no such notebook", location, f"looked for {name} beside {path.name}"
    )


class _Reader:
    "Collects the cells of a file and of those it runs."

    def __init__(self) -> None:
        self.cells, self.skipped, self.open = [], [], []

    def skip(self, file, line, what) -> None:
        self.skipped.append(f"{Location(display_path(file), line)}: {what.strip()}")

    def run(self, path, argument, file, line) -> None:
        "Read the notebook of a `%run` in place."
        location = Location(display_path(file), line)
        other = _other_notebook(path, argument, location)
        if other.resolve() in self.open:
            raise PipelineError(
                f"%run {argument.strip()}: the notebooks run each other in a circle", location
            )
        if "$" in argument:
            self.skip(file, line, f"arguments of %run {argument}")
        self.read(other)

    def read(self, path) -> None:
        "Read one file."
        self.open.append(path.resolve())
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise PipelineError("not a text file in UTF-8", Location(display_path(str(path)))) from None
        if path.suffix == ".ipynb":
            _read_ipynb(self, path, text)
        else:
            _read_text(self, path, text)
        self.open.pop()


def _add_cell(
    reader: _Reader,  # Takes the cell
    path: Path,  # File it is from
    file: str,  # What it is compiled as
    text: str,  # The cell as written
    line: int,  # Line of its first line
    language: str,  # The notebook's language
):
    "Take one notebook cell: settle its language, follow `%run`, drop what cannot matter."
    blank = re.match(r"(?:[ \t]*\n)*", text)[0]
    text, line = text[len(blank) :], line + blank.count("\n")
    if not text.strip():
        return
    magic = re.match(r"[ \t]*%{1,2}([A-Za-z][\w-]*)[ \t]*([^\n]*)\n?", text)
    name = magic[1].lower() if magic else ""
    if name in DOCUMENTATION:
        return
    if name == "run":
        reader.run(path, magic[2], file, line)
        return _add_cell(reader, path, file, text[magic.end() :], line + 1, language)
    if name in LANGUAGES:
        language, text = LANGUAGES[name], text[magic.start(2) :]  # `%sql SELECT 1` has code on its own line
    elif name in WITHOUT_EFFECT and language == "sql":
        return reader.skip(file, line, magic[0])
    elif name and name not in WITHOUT_EFFECT:
        _refuse(magic[0].strip(), Location(display_path(file), line))
    if language == "python":
        text = _without_magics(reader, file, text, line)
    if text.strip():
        reader.cells.append(Cell(language, text, line, file))


def _without_magics(
    reader: _Reader,  # Takes what was left out
    file: str,  # For the message
    text: str,  # A Python cell
    line: int,  # Its first line
) -> str:  # The cell with its magic lines blank
    "Blank the lines that are IPython's, not Python's."
    try:
        ast.parse(text)
        return text
    except SyntaxError:
        pass
    lines = text.split("\n")
    for number, each in enumerate(lines):
        magic = re.match(r"[ \t]*(?:%{1,2}([A-Za-z][\w-]*)|!)", each)
        if not magic:
            continue
        if (magic[1] or "").lower() not in WITHOUT_EFFECT:
            _refuse(each.strip(), Location(display_path(file), line + number))
        reader.skip(file, line + number, each)
        lines[number] = ""
    return "\n".join(lines)


MARKERS = {".py": "#", ".sql": "--"}


def _read_text(
    reader: _Reader,  # Takes the cells
    path: Path,  # A .py or .sql file
    text: str,  # Its text
) -> None:
    "Read a .py or .sql file, in notebook format or plain."
    mark, language, file = (
        MARKERS[path.suffix],
        {".py": "python", ".sql": "sql"}[path.suffix],
        str(path.absolute()),
    )
    lines = text.split("\n")
    if lines[0].strip() != f"{mark} Databricks notebook source":
        if text.strip():
            reader.cells.append(Cell(language, text, 1, file))
        return
    start = 1
    for number, line in enumerate([*lines[1:], f"{mark} COMMAND ----------"], 1):
        if not re.match(rf"{mark} COMMAND -{{4,}}", line):
            continue
        _read_command(reader, path, file, lines[start:number], start + 1, mark, language)
        start = number + 1


def _read_command(
    reader: _Reader,  # Takes the cell
    path: Path,  # The file
    file: str,  # What it is compiled as
    lines: list[str],  # Lines of one cell
    line: int,  # Number of the first
    mark: str,  # `#` or `--`
    language: str,  # The file's language
) -> None:
    "Read one cell of the notebook format; `MAGIC` lines make it another language's."

    def is_magic(text):
        return text.startswith(f"{mark} MAGIC")

    code = [text for text in lines if text.strip() and not text.startswith(mark)]
    magics = [text for text in lines if re.match(rf"{mark} MAGIC\s*[%!]", text)]
    if magics and not code:
        lines = [re.sub(rf"^{mark} MAGIC ?", "", text) if is_magic(text) else "" for text in lines]
    else:
        for number, text in enumerate(lines):
            name = re.match(rf"{mark} MAGIC\s*%+([\w-]*)", text)
            if name and name[1] not in WITHOUT_EFFECT:
                _refuse("%" + name[1], Location(display_path(file), line + number))
            if name:
                reader.skip(file, line + number, re.sub(rf"^{mark} MAGIC ", "", text))
    if code or magics:
        _add_cell(reader, path, file, "\n".join(lines), line, language)


def _read_ipynb(
    reader: _Reader,  # Takes the cells
    path: Path,  # The notebook
    text: str,  # Its JSON
) -> None:
    "Read a Jupyter notebook; its default language is Python unless it says SQL."
    try:
        notebook = json.loads(text)
        cells, metadata = notebook["cells"], notebook.get("metadata", {})
    except (ValueError, KeyError, TypeError):
        raise PipelineError("not a Jupyter notebook", Location(display_path(str(path)))) from None
    declared = (
        metadata.get("application/vnd.databricks.v1+notebook", {}).get("language")
        or metadata.get("language_info", {}).get("name")
        or "python"
    )
    language = LANGUAGES.get(declared.lower())
    if language is None:
        raise PipelineError(
            f"a notebook in {declared} is not supported",
            Location(display_path(str(path))),
            "pipelines are written in Python and SQL",
        )
    for number, cell in enumerate(cells, 1):
        if cell.get("cell_type") == "code":
            _add_cell(reader, path, f"{path.absolute()} cell {number}", "".join(cell["source"]), 1, language)


def read_source(
    path: Path,  # A file that `discover` found
) -> Source:  # Its cells, and what was left out
    "Read a source file; `PipelineError` for what a pipeline cannot hold."
    reader = _Reader()
    reader.read(Path(path))
    return Source(Path(path), tuple(reader.cells), tuple(reader.skipped))


def execute_source(
    source: Source,  # What `read_source` read
    namespace: dict,  # Globals of its Python cells; filled by them
    run_sql: Callable,  # Takes the text and `Location` of each SQL cell
) -> None:
    "Run a source's cells in order; every failure is a `PipelineError` at the user's line."
    namespace["__file__"] = str(source.path.absolute())
    for cell in source.cells:
        try:
            if cell.language == "sql":
                run_sql(cell.text, Location(display_path(cell.file), cell.line))
            else:
                exec(_compiled(cell), namespace)
        except SystemExit as stop:
            raise user_error(
                RuntimeError(f"the source called exit({stop.code!r})").with_traceback(stop.__traceback__),
                source.files,
            ) from None
        except Exception as error:
            wrong = user_error(error, source.files)
            wrong.location = wrong.location or Location(display_path(cell.file), cell.line)
            raise wrong from None


def _compiled(
    cell: Cell,  # A Python cell
):  # Its code object; line numbers are the file's
    "Compile a cell under the name and line of its file."
    padded = "\n" * (cell.line - 1) + cell.text
    if cell.file.rpartition(" ")[0].endswith(" cell"):
        linecache.cache[cell.file] = (len(padded), None, padded.splitlines(True), cell.file)
    return compile(padded, cell.file, "exec", dont_inherit=True)
