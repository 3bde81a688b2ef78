"""Writes a project: its files from `templates/`, the wheel that it imports, the sample that it reads."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cdc_local.errors import UsageError
from cdc_local.project.kinds import PLAIN, SNAPSHOTS
from cdc_local.project.plan import Plan
from cdc_local.project.sample import landed_name
from cdc_local.project.story import flow, write_tests
from cdc_local.source.deployed import build_wheel, deployed_name
from cdc_local.storage import Storage
from cdc_utils import __version__

FILES = {
    "README.md": "README.md",
    "databricks.yml": "databricks.yml",
    "resources/storage.yml": "storage.yml",
    "resources/{name}.pipeline.yml": "pipeline.yml",
    "resources/{name}.job.yml": "job.yml",
    "sources/{table}.py": "source.py",
    "transformations/{table}.py": "pipeline.py",
    "transformations/{table}.unit_tests.yml": "unit_tests.yml",
    ".gitignore": "gitignore",
    ".gitlab-ci.yml": "gitlab_ci.yml",
    ".github/workflows/ci.yml": "github_ci.yml",
}  # File of a project to its template
CSV_OPTIONS = {"header": "true", "escape": '"'}


def render(
    plan: Plan,  # What the project is about
    name: str,  # Of the project
    catalog: str,  # Where its tables will be
    feed_line: str,  # What the README says of the files that lie there to begin with
) -> dict[str, str]:  # Path in the project to its text
    "Write the texts of a project."
    jinja = Environment(
        loader=PackageLoader("cdc_local.project"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters |= {
        "python": _python,
        "flow": flow,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
    }
    facts = _facts(plan) | {"name": name, "catalog": catalog, "feed_line": feed_line}
    facts |= {"wheel": deployed_name(), "version": __version__}
    return {
        path.format(name=name, table=plan.table): jinja.get_template(f"{template}.j2").render(facts)
        for path, template in FILES.items()
    }


def _python(
    value: Any,  # A text, a mapping or a sequence of texts
) -> str:
    "Spell a value in Python, with double quotes."
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_python(key)}: {_python(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_python, value)) + "]"
    return repr(value) if '"' in value else json.dumps(value, ensure_ascii=False)


def _facts(
    plan: Plan,  # What the project is about
) -> dict[str, Any]:  # What templates ask for
    "Gather what the templates say of a plan."
    constant = plan.table.upper()
    is_wal2json_1 = plan.kind == "wal2json-1"
    raw = f'spark.readStream.table("{plan.table}_raw")'
    own_types = plan.types if plan.kind == PLAIN else {}
    parts = [f"{_quoted(name)} {kind}" for name, kind in {**plan.columns, **own_types}.items()]
    return {
        "kind": plan.kind,
        "title": plan.title,
        "table": plan.table,
        "constant": constant,
        "keys": list(plan.keys),
        "columns": dict(plan.columns),
        "encodings": dict(plan.source.encodings) if plan.source else {},
        "envelope": str(plan.envelope) if plan.envelope else None,
        "module": plan.envelope.module if plan.envelope else None,
        "source_table": plan.source_table,
        "keeps_history": bool(plan.source and plan.source.keeps_history),
        "has_history": plan.has_history,
        "sequence": plan.sequence,
        "operation": plan.operation,
        "deletes": plan.deletes,
        "rules": _rules(plan) if plan.kind == PLAIN else {},
        "marker": plan.marker,
        "format": plan.format,
        "knowledge": "how its changes are written, its key, its columns, its rules"
        if plan.kind != SNAPSHOTS
        else "its columns and its key",
        "schema_parts": [part + (", " if part is not parts[-1] else "") for part in parts],
        "transactions": is_wal2json_1,
        "raw": f"explode_transactions({raw})" if is_wal2json_1 else raw,
        "raw_schema": _raw_schema(plan, constant),
        "options": _options(plan),
        "reading": "".join(f".option({_python(k)}, {_python(v)})" for k, v in _reader_options(plan).items()),
        "targets": _python_targets(plan),
        "names": ", ".join(sorted(_names(plan, constant))),
        "tests": write_tests(plan),
    }


def _names(plan: Plan, constant: str) -> list[str]:
    "What the pipeline imports of the table's facts."
    return [
        "CURRENT",
        "RULES",
        *(["HISTORY"] if plan.has_history else []),
        constant if plan.source else "SCHEMA",
    ]


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else "`" + name.replace("`", "``") + "`"


def _rules(plan: Plan) -> dict[str, str]:
    "What a plain row has to keep; a rule that is unknown is broken, so none is ever NULL."

    def there(name: str, kind: str) -> str:
        quoted = "`" + name + "`"
        return f"coalesce(trim({quoted}) <> '', false)" if kind == "string" else f"{quoted} IS NOT NULL"

    rules = {
        f"valid_{re.sub(r'[^a-zA-Z0-9]+', '_', name)}": there(name, plan.columns[name]) for name in plan.keys
    }
    rules["valid_sequence"] = there(str(plan.sequence), plan.types[str(plan.sequence)])
    if plan.operation:
        known = sorted({*plan.operations, *([plan.deletes] if plan.deletes else [])})
        rules["valid_operation"] = f"coalesce(`{plan.operation}` IN ({', '.join(map(repr, known))}), false)"
    return rules


def _raw_schema(plan: Plan, constant: str) -> str:
    "The columns that Auto Loader reads, as the source spells them; Parquet has types of its own."
    if plan.kind == "wal2json-1":
        return "TRANSACTION_COLUMNS"
    if plan.format != "parquet" or plan.source is None:
        return f"{constant}.schema"
    typed = ", ".join(f"{_quoted(name)} {kind}" for name, kind in plan.columns.items())
    return _python(f"{plan.source.envelope.columns}, {typed}")


def _reader_options(plan: Plan) -> dict[str, str]:
    "What a reader of the files has to be told."
    if plan.format != "csv":
        return {}
    return CSV_OPTIONS | ({"nullValue": "NULL"} if plan.sample and plan.sample.has_null_text else {})


def _options(plan: Plan) -> str:
    "Further arguments of `bronze.read_changes`."
    said = _reader_options(plan)
    if plan.format == "json":
        return ""
    return f', "{plan.format}"' + (f", {_python(said)}" if said else "")


def _python_targets(plan: Plan) -> str:
    history = f', ("{plan.table}_history", 2)' if plan.has_history else ","
    return f'(("{plan.table}", 1){history})'


def write_project(
    folder: Path,  # The project's
    texts: Mapping[str, str],  # Path in it to its text
    overwrites: bool = False,  # Whether a file that is there may be written anew
) -> None:
    "Write a project; `UsageError`, and nothing is written, where a file is there."
    there = [path for path in texts if (folder / path).exists()]
    if there and not overwrites:
        raise UsageError(
            f"{folder / there[0]} is there" + (f", and {len(there) - 1} more" if there[1:] else ""),
            hint="name another folder, or write over the files with --force",
        )
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    if not (folder / "wheels" / deployed_name()).is_file():
        build_wheel(folder / "wheels")


def land_sample(
    plan: Plan,  # What the project is about
    sample: Path,  # The file or folder
    storage: Path,  # Of the project
    catalog: str,  # Where `cdc run` looks
    schema: str,
) -> Path:  # The landing folder
    "Copy a sample to where the pipeline reads; make the folder where there is none."
    landing = Storage(storage).create().root / "Volumes" / catalog / schema / "raw_data" / plan.table
    landing.mkdir(parents=True, exist_ok=True)
    files = plan.sample.files if plan.sample else ()
    markers = (
        [folder / plan.marker for folder in plan.sample.snapshots] if plan.sample and plan.marker else []
    )
    for file in [*files, *markers]:
        target = landing / landed_name(sample, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
    return landing
