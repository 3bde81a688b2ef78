"""Which pipeline a test is about: its sources, where its names begin, its configuration."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cdc_local.bundles.bundle import Bundle, load_bundle
from cdc_local.bundles.located_values import LocatedValues
from cdc_local.bundles.run import load_resource
from cdc_local.errors import UsageError
from cdc_local.jobs.paths import FolderPaths
from cdc_local.jobs.pipeline_task import list_pipeline_sources
from cdc_local.source.files import discover_sources
from cdc_local.storage import Storage
from cdc_local.unit_tests.declarations import PIPELINE_KEYS
from cdc_local.unit_tests.nodes import Node, UnitTestError, suggest

_SOURCES = "transformations"  # Folder of a pipeline's sources, as Databricks lays a project out
_OF_PYTEST = re.compile(r"test_.*\.py|.*_test\.py|conftest\.py")


@dataclass(frozen=True)
class PipelineSettings:
    "A pipeline, as its bundle or `cdc run` says it."

    sources: tuple[str, ...]  # Files, folders and `**` patterns
    root_path: Path | None = None  # Joins `sys.path`; the parent of the topmost source's folder by default
    catalog: str = "main"  # Of names that give none
    schema: str = "default"  # Of names that give none
    configuration: Mapping[str, str] = field(
        default_factory=dict
    )  # As of a bundle; `cdc.catalog` as in `cdc run`
    parameters: Mapping[str, str] = field(default_factory=dict)  # `:name` in SQL files

    def full_configuration(
        self,
        more: Mapping[str, str],  # What a test adds
    ) -> dict[str, str]:
        "The configuration of an update, as `cdc run` completes it."
        return {"cdc.catalog": self.catalog, "cdc.schema": self.schema, **self.configuration, **more}


def find_settings(
    path: Path,  # A file of tests
    limit: Path,  # The topmost folder that is looked in
    declared: Node | None = None,  # What the file says of the pipeline
) -> PipelineSettings:
    """Find the pipeline that a file is about; `UsageError` where it is wrong about it.

    That is the one that it names; else the one of the bundle above it whose sources lie beside it; else the
    sources in the folder `transformations` that it lies in, in its own folder, or in a folder
    `transformations` beside one that it lies in.
    """
    keys = {} if declared is None else declared.mapping("a pipeline", PIPELINE_KEYS)
    found = _find_in_bundle(path, limit, keys)
    if found is None:
        found = PipelineSettings(_find_sources(path, limit))
    if "sources" in keys:
        found = replace(found, sources=tuple(str(path.parent / text) for text in keys["sources"].texts()))
    if "root_path" in keys:
        found = replace(found, root_path=path.parent / keys["root_path"].text())
    if "catalog" in keys:
        found = replace(found, catalog=keys["catalog"].text())
    if "schema" in keys:
        found = replace(found, schema=keys["schema"].text())
    if "configuration" in keys:
        configuration = {**found.configuration, **keys["configuration"].pairs()}
        found = replace(found, configuration=configuration)
    if "parameters" in keys:
        found = replace(found, parameters={**found.parameters, **keys["parameters"].pairs()})
    return found


def settings_from(
    values: Mapping[str, Any],  # The keys of `pipeline` in a file of unit tests
    path: Path,  # The file of tests that says them, in Python
    limit: Path,  # The topmost folder that is looked in
) -> PipelineSettings:
    "The same for tests in Python."
    document = LocatedValues(dict(values))
    return find_settings(path, limit, Node(document, (), document.values))


def _parents(
    path: Path,  # A file of tests
    limit: Path,  # The topmost folder
) -> list[Path]:  # The folders it lies in, the nearest first
    "List the folders of a file."
    inside = [folder for folder in path.absolute().parents if folder.is_relative_to(limit.absolute())]
    return inside or [path.absolute().parent]


def _find_sources(
    path: Path,  # A file of tests
    limit: Path,  # The topmost folder that is looked in
) -> tuple[str, ...]:  # Files and folders
    "Find the sources of a pipeline that no bundle names."
    folders = _parents(path, limit)
    for folder in folders:
        if folder.name == _SOURCES:
            return (str(folder),)
    beside = _list_neighbours(path) if path.suffix != ".py" else ()
    if beside:
        return beside
    for folder in folders:
        if (folder / _SOURCES).is_dir():
            return (str(folder / _SOURCES),)
    return (str(folders[0]),)


def _list_neighbours(
    path: Path,  # A file of tests
) -> tuple[str, ...]:  # Source files in its folder and below, those of pytest left out
    "List the sources that a file lies beside."
    try:
        files = discover_sources([path.absolute().parent])
    except UsageError:  # there are none
        return ()
    return tuple(str(file) for file in files if not _OF_PYTEST.fullmatch(file.name))


def _find_in_bundle(
    path: Path,  # A file of tests
    limit: Path,  # The topmost folder that is looked in
    keys: Mapping[str, Node],  # What the file says of the pipeline
) -> PipelineSettings | None:  # None where no bundle says anything of it
    "Find the pipeline in the bundle that the file names, or that it lies in."
    if "bundle" in keys:
        named = path.parent / keys["bundle"].text()
        folder = named.parent if named.suffix in (".yml", ".yaml") else named
    elif "sources" in keys:
        return None
    else:
        folders = [folder for folder in _parents(path, limit) if (folder / "databricks.yml").is_file()]
        if not folders:
            return None
        folder = folders[0]
    target = keys["target"].text() if "target" in keys else None
    variables = keys["variables"].pairs() if "variables" in keys else {}
    bundle = load_bundle(folder, target, variables)
    pipelines = {key: _read_pipeline(bundle, key) for key in bundle.resources("pipelines")}
    if "name" in keys:
        name = keys["name"].text()
        if name not in pipelines:
            raise keys["name"].error(f"no pipeline {name} in the bundle {folder}", suggest(name, pipelines))
        return pipelines[name]
    return _choose_pipeline(path, folder, pipelines, keys.get("bundle"))


def _choose_pipeline(
    path: Path,  # A file of tests
    folder: Path,  # The bundle
    pipelines: Mapping[str, PipelineSettings],  # Those of the bundle
    named: Node | None,  # What names the bundle, if the file does
) -> PipelineSettings | None:  # None where none of them has the file's neighbours
    "Choose the pipeline whose sources lie beside the file, or the only one of a bundle that is named."
    beside = [key for key in pipelines if _has_sources_at(pipelines[key], path.parent)]
    if not beside and named is not None and len(pipelines) == 1:
        beside = list(pipelines)
    if len(beside) == 1:
        return pipelines[beside[0]]
    if len(beside) > 1:
        raise UnitTestError(
            f"{path}: {len(beside)} pipelines of the bundle {folder} have sources here",
            hint=f"say which: pipeline: {{name: {' or '.join(beside)}}}",
        )
    if named is not None:
        raise named.error(f"no pipeline of the bundle {folder} has sources here", suggest("", pipelines))
    return None


def _has_sources_at(
    settings: PipelineSettings,  # A pipeline
    folder: Path,  # Where a file of tests lies
) -> bool:
    "Whether a folder, or one below it, has sources of the pipeline."
    try:
        sources = discover_sources(settings.sources)
    except UsageError:  # a library that is not there: another command says so
        return False
    return any(source.resolve().is_relative_to(folder.resolve()) for source in sources)


def _read_pipeline(
    bundle: Bundle,  # Loaded
    key: str,  # Of a pipeline
) -> PipelineSettings:
    "Read a pipeline of a bundle; its wheels are left out: tests import what is here."
    pipeline = load_resource(bundle, "pipelines", key, without=("environment",))
    sources = list_pipeline_sources(pipeline, FolderPaths(Storage(bundle.folder), bundle.folder))
    configuration = {name: str(value) for name, value in (pipeline.get("configuration") or {}).items()}
    return PipelineSettings(
        tuple(sources),
        Path(pipeline["root_path"]) if pipeline.get("root_path") else None,
        pipeline.get("catalog") or "main",
        pipeline.get("schema") or pipeline.get("target") or "default",
        configuration,
        {name: str(value) for name, value in (pipeline.get("parameters") or {}).items()},
    )


def fill(
    text: str,  # A name or a path with `${key}`
    configuration: Mapping[str, str],  # Of the pipeline
    fail: Any,  # Makes an error of a message and a hint
) -> str:
    "Fill in keys of the configuration; what `fail` makes is raised for one that is not there."

    def value(found: re.Match[str]) -> str:
        if found[1] in configuration:
            return configuration[found[1]]
        raise fail(f"{text}: the configuration has no {found[1]!r}", suggest(found[1], configuration))

    return re.sub(r"\$\{([^}]+)\}", value, text)
