"""The files of a path on this machine, as Spark lists them: globs, and nothing hidden.

The signs are those of [Hadoop's globs](https://hadoop.apache.org/docs/stable/api/org/apache/hadoop/fs/FileSystem.html#globStatus-org.apache.hadoop.fs.Path-):
`*`, `?`, `[a-c]`, `[^a]`, `{a,b}`, and `\\` before a sign that stands for itself."""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cdc_local.errors import PipelineError
from cdc_local.storage import strip_scheme

_GLOB = re.compile(r"[{}\[\]*?\\]")


def list_local_files(
    path: str,  # Folder, file or glob, with or without `file:`
    name_filter: str | None = None,  # A glob that the names of files match
) -> list[str] | None:  # Paths of files, in nested folders too, sorted; None where there is no such path
    "List the files of a path."
    local = strip_scheme(path)
    full = os.path.normpath(Path.cwd() / local)
    roots = _expand_glob(full) if _GLOB.search(full) else [Path(full)]
    roots = [root for root in roots if root.exists()]
    if not roots:
        return None
    files = {file for root in roots for file in _walk(root)}
    if name_filter is not None:
        pattern = _compile_glob(name_filter)
        files = {file for file in files if pattern.fullmatch(Path(file).name)}
    return sorted(files)


def _walk(root: Path) -> Iterator[str]:
    "The files below a folder, or the file itself, less the hidden ones."
    if not root.is_dir():
        if not _is_hidden(root.name):
            yield str(root)
        return
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        yield from (f"{folder.rstrip('/')}/{name}" for name in names if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_")


def _expand_glob(path: str) -> list[Path]:
    "The files and folders that a glob names."
    found: list[Path] = []
    for plain in _expand_braces(path):
        paths = [Path("/")]
        for part in filter(None, plain.split("/")):
            paths = [inner for outer in paths for inner in _match_part(outer, part)]
        found += paths
    return found


def _match_part(folder: Path, part: str) -> list[Path]:
    if not _GLOB.search(part):
        return [folder / part] if (folder / part).exists() else []
    if not folder.is_dir():
        return []
    pattern = _compile_glob(part)
    return sorted(file for file in folder.iterdir() if pattern.fullmatch(file.name))


def _expand_braces(text: str) -> list[str]:
    "Write out the alternatives of braces, which may hold a slash."
    start = _find_unescaped(text, "{", 0)
    if start < 0:
        return [text]
    depth, position, parts = 0, start, [start]
    while position < len(text):
        sign = text[position]
        if sign == "\\":
            position += 1
        elif sign == "{":
            depth += 1
        elif sign == "}":
            depth -= 1
            if depth == 0:
                break
        elif sign == "," and depth == 1:
            parts.append(position)
        position += 1
    else:
        raise PipelineError(
            f"Auto Loader: the path {text} has a brace that is not closed", hint="close it, or write \\{"
        )
    ends = [*parts[1:], position]
    choices = [text[begin + 1 : end] for begin, end in zip(parts, ends, strict=True)]
    return [
        full for choice in choices for full in _expand_braces(text[:start] + choice + text[position + 1 :])
    ]


def _find_unescaped(text: str, sign: str, start: int) -> int:
    position = start
    while position < len(text) and text[position] != sign:
        position += 2 if text[position] == "\\" else 1
    return position if position < len(text) else -1


@cache
def _compile_glob(glob: str) -> re.Pattern[str]:
    "The regular expression of a glob without a slash."
    pieces = []
    for plain in _expand_braces(glob):
        written, position = "", 0
        while position < len(plain):
            sign = plain[position]
            end = _find_unescaped(plain, "]", position + 1) if sign == "[" else -1
            if sign == "[" and end < 0:
                raise PipelineError(
                    f"Auto Loader: the glob {glob} has a bracket that is not closed", hint="write \\["
                )
            if sign == "[":
                inner = plain[position + 1 : end]
                negated = inner[:1] in ("!", "^")
                written += f"[{'^' if negated else ''}{inner[negated:]}]"
                position = end
            elif sign == "\\" and position + 1 < len(plain):
                position += 1
                written += re.escape(plain[position])
            else:
                written += {"*": ".*", "?": "."}.get(sign) or re.escape(sign)
            position += 1
        pieces.append(f"(?:{written})")
    return re.compile("|".join(pieces), re.DOTALL)
