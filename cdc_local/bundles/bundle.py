"""An asset bundle for one target: its files put together, the target applied, every reference filled in.

`load_bundle` goes through these steps, in the order of Databricks' own command.
"""

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cdc_local.bundles.field_types import give_types
from cdc_local.bundles.located_values import BundleError, LocatedValues, merge_parts, read_yaml
from cdc_local.bundles.references import References
from cdc_local.errors import Location, UsageError
from cdc_local.storage import read_json

_NOTHING: Mapping[str, str] = MappingProxyType({})

_OVERRIDDEN = (  # What a target may say anew
    "resources",
    "workspace",
    "artifacts",
    "permissions",
    "run_as",
    "sync",
    "presets",
    "bundle",
    "experimental",
)

_WORKSPACE = {  # Where things go if a bundle does not say
    "root_path": (
        "/Workspace/Users/${workspace.current_user.userName}/.bundle/${bundle.name}/${bundle.target}"
    ),
    "file_path": "${workspace.root_path}/files",
    "artifact_path": "${workspace.root_path}/artifacts",
    "state_path": "${workspace.root_path}/state",
    "resource_path": "${workspace.root_path}/resources",
    "host": "http://127.0.0.1",
}


@dataclass(frozen=True)
class User:
    "Who deploys."

    name: str  # As Databricks knows them: a mail address, or the id of a service principal

    @property
    def short_name(self) -> str:
        "The name up to its `@`, with `_` for what is no letter or digit."
        return self._simple_name("_").strip("_")

    def settings(self) -> dict[str, str]:
        "What `${workspace.current_user.…}` names."
        return {
            "userName": self.name,
            "short_name": self.short_name,
            "domain_friendly_name": self._simple_name("-"),
        }

    def _simple_name(
        self,
        replacement: str,  # For what is no letter or digit
    ) -> str:
        return re.sub(r"[^a-z0-9]+", replacement, self.name.split("@")[0].lower())


def local_user() -> User:
    "Find who is logged in here."
    try:
        return User(f"{getpass.getuser()}@localhost")
    except (OSError, KeyError):
        return User("nobody@localhost")  # a container whose user has no name


@dataclass(frozen=True)
class Bundle:
    "A bundle for one target, filled in."

    folder: Path  # Where `databricks.yml` lies
    target: str  # Name of the target
    mode: str | None  # development, production or none
    settings: LocatedValues  # All of it, filled in

    @property
    def name(self) -> str:
        "The bundle's name."
        return str(self.settings.values["bundle"]["name"])

    def resources(
        self,
        kind: str,  # jobs, pipelines, schemas, volumes …
    ) -> dict[str, Any]:  # Key -> settings
        "Take the resources of one kind."
        return (self.settings.values.get("resources") or {}).get(kind) or {}

    def local_path(
        self,
        *path: str | int,  # Keys and list positions of a value that is a path
    ) -> Path:  # On this machine
        "Find a path, which counts from the file that names it."
        folder = Path(self.settings.location(*path).file).absolute().parent
        return Path(os.path.normpath(folder / self.settings.part(*path).values))


def load_bundle(
    folder: Path,  # The folder of `databricks.yml`
    target: str | None = None,  # Name of the target; the default one by default
    variables: Mapping[str, str] = _NOTHING,  # Values from the command line
    user: User | None = None,  # Who deploys; whoever is logged in by default
    environ: Mapping[str, str] | None = None,  # Environment variables; those of this process by default
) -> Bundle:
    "Read a bundle for one target; `BundleError` at a line of it, `UsageError` for what was asked wrongly."
    declared = read_bundle_files(Path(folder))
    target = choose_target(declared, target)
    settings = apply_target(declared, target)
    if not settings.values["bundle"].get("name"):
        raise BundleError("the bundle has no name", declared.location("bundle"), "bundle: {name: …}")
    overrides = Path(folder) / ".databricks" / "bundle" / target / "variable-overrides.json"
    values = variable_values(
        declared, target, variables, os.environ if environ is None else environ, overrides
    ).values
    workspace = {
        **_WORKSPACE,
        **(settings.values.get("workspace") or {}),
        "current_user": (user or local_user()).settings(),
    }
    settings = settings.overlay(merge_parts({"workspace": LocatedValues(workspace)}))
    bundle = {"environment": target, **settings.values["bundle"]}
    references = References(settings, {"bundle": bundle, "workspace": workspace, "var": values})
    for name, value in values.items():
        references.fill(value, declared.location("variables", name))
    filled = _note_target(_give_types(references.fill_settings()), target, declared)
    mode = settings.values.get("mode")
    if mode == "development":
        apply_development_mode(filled)
    return Bundle(Path(folder), target, mode, filled)


def _give_types(
    settings: LocatedValues,  # The bundle, filled in
) -> LocatedValues:
    "Give the values of resources the types of their fields."
    if "resources" not in settings.values:
        return settings
    resources = give_types(settings.values["resources"])
    return LocatedValues(settings.values | {"resources": resources}, settings.locations)


def _note_target(
    settings: LocatedValues,  # The bundle, filled in, which has no targets any more
    target: str,  # Name of the target
    declared: LocatedValues,  # All that its files say
) -> LocatedValues:
    "Note where the target stands, for problems that are the target's own."
    location = declared.location("targets", target)
    return LocatedValues(settings.values, {**settings.locations, ("targets", target): location})


def read_bundle_files(
    folder: Path,  # The folder of `databricks.yml`
) -> LocatedValues:  # All that its files say
    """Read `databricks.yml` and what it includes, later files over earlier ones.

    Raises `BundleError` for an included file that is not there, and a resource that is declared twice.
    """
    top = folder / "databricks.yml"
    if not top.is_file():
        raise UsageError(
            f"no bundle in {folder}: there is no databricks.yml", hint="--bundle DIR names its folder"
        )
    declared = _read_bundle_file(top, folder)
    included = [
        _read_bundle_file(path, folder)
        for position, pattern in enumerate(declared.values.get("include") or ())
        for path in included_files(folder, pattern, declared.location("include", position))
    ]
    _refuse_resources_declared_twice([declared, *included])
    for part in included:
        declared = declared.overlay(part)
    return declared


def _read_bundle_file(
    path: Path,  # The file
    folder: Path,  # The bundle
) -> LocatedValues:  # A mapping
    "Read one file of a bundle; its locations begin at the bundle's folder, as the user named it."
    content = read_yaml(path, f"{folder}/{os.path.relpath(path, folder)}")
    if not isinstance(content.values, dict):
        raise BundleError("it holds no keys", Location(str(path)))
    return content


def _refuse_resources_declared_twice(
    parts: list[LocatedValues],  # What each file says
) -> None:
    "Raise `BundleError` for two resources of one key, whatever their kinds."
    locations: dict[str, Location] = {}
    for part in parts:
        for kind, resources in (part.values.get("resources") or {}).items():
            for key in resources or {}:
                location = part.location("resources", kind, key)
                if key in locations:
                    raise BundleError(
                        f"the resource {key} is there already, at {locations[key]}",
                        location,
                        "give each resource a key of its own, whatever its kind",
                    )
                locations[key] = location


def included_files(
    folder: Path,  # The bundle
    pattern: str,  # An entry of `include`
    location: Location,  # Where it stands
) -> list[Path]:  # In the order of their names
    "List the files of an include; `BundleError` for a path, with no `*` in it, that is not there."
    above = re.match(r"(?:\.\./)*", pattern)
    climbing = above[0] if above else ""  # a pattern of pathlib cannot climb
    files = sorted((folder / climbing).resolve().glob(pattern.removeprefix(climbing)))
    if not files and not re.search(r"[*?\[\]^]", pattern):  # a pattern may match nothing, as yet
        raise BundleError(f"there is no file {pattern} to include", location, "take it out, or mend the path")
    return files


def choose_target(
    declared: LocatedValues,  # All that the files say
    target: str | None,  # Its name; the default one where it is None
) -> str:  # The name of a target
    "Choose the target; `UsageError` for one that is not there."
    targets: dict[str, Any] = declared.values.get("targets") or {"default": {}}  # as Databricks' command
    if target is not None:
        if target in targets:
            return target
        raise UsageError(f"no target {target!r} in this bundle", hint=f"it has {', '.join(targets)}")
    default = [name for name, settings in targets.items() if (settings or {}).get("default")]
    if len(default) == 1:
        return default[0]
    if len(targets) == 1:
        return next(iter(targets))
    raise UsageError(
        f"{len(default)} targets of this bundle are the default",
        hint=f"name one: --target {'|'.join(targets)}",
    )


def apply_target(
    declared: LocatedValues,  # All that the files say
    target: str,  # Name of a target
) -> LocatedValues:  # With `mode`, and `bundle.target`
    "Lay what a target says over the rest."
    own = declared.part("targets", target)
    own_keys = own.values if isinstance(own.values, dict) else {}
    parts = {key: declared.part(key) for key in declared.values if key not in ("targets", "include")}
    for key in _OVERRIDDEN:
        if key in own_keys:
            parts[key] = parts[key].overlay(own.part(key)) if key in parts else own.part(key)
    bundle = parts.get("bundle", LocatedValues({}))
    name = merge_parts({"name": bundle.part("name"), "target": LocatedValues(target)})
    if "mode" in own_keys:
        parts["mode"] = own.part("mode")
    return merge_parts(parts | {"bundle": bundle.overlay(name)}, declared.location())


def variable_values(
    declared: LocatedValues,  # All that the files say
    target: str,  # Name of the target
    command_line: Mapping[str, str],  # Values from the command line
    environ: Mapping[str, str],  # Environment variables
    overrides: Path,  # `.databricks/bundle/<target>/variable-overrides.json`
) -> LocatedValues:  # Name -> value, not yet filled in
    """Decide each variable's value: command line, environment, file of overrides, target, declaration.

    Raises `UsageError` for one that is not declared, `BundleError` for one without a value.
    """
    variables, own = declared.part("variables"), declared.part("targets", target, "variables")
    names, file = list(variables.values or {}), read_json(overrides) or {}
    _refuse_undeclared_variables(names, command_line, own)
    values = {}
    for name in names:
        sources = ((command_line, name), (environ, f"BUNDLE_VAR_{name}"), (file, name))
        outside = next((source[key] for source, key in sources if key in source), None)
        if outside is not None:
            values[name] = LocatedValues(outside, {(): Location(f"variable {name}")})
            continue
        values[name] = own.part(name) if name in (own.values or {}) else variables.part(name, "default")
        if _is_declaration(values[name].values):
            values[name] = values[name].part("default")
        if values[name].values is None:
            raise BundleError(
                f"variable {name} has no value for target {target}",
                variables.location(name),
                f"give it a default, a value below the target, or --var {name}=…",
            )
    return merge_parts(values)


def _refuse_undeclared_variables(
    names: list[str],  # Declared variables
    command_line: Mapping[str, str],  # Values from the command line
    own: LocatedValues,  # Variables of the target
) -> None:
    "Raise for a variable that has a value and no declaration."
    for name in command_line:
        if name not in names:
            raise UsageError(f"no variable {name!r} in this bundle", hint=f"it has {', '.join(names)}")
    for name in own.values or {}:
        if name not in names:
            raise BundleError(
                f"no variable {name!r} is declared", own.location(name), f"it has {', '.join(names)}"
            )


def _is_declaration(
    value: Any,  # What a target says of a variable
) -> bool:  # False: it is the variable's value
    "Whether a target declares a variable anew, instead of giving its value."
    return isinstance(value, dict) and set(value) <= {"default", "description", "type", "lookup"}


def apply_development_mode(
    settings: LocatedValues,  # A bundle, filled in; changed
) -> None:
    "Pause triggers that do not say otherwise, and mark pipelines as being in development."
    resources = settings.values.get("resources") or {}
    for job in (resources.get("jobs") or {}).values():
        for trigger in ("schedule", "trigger", "continuous"):
            if isinstance(job.get(trigger), dict):
                job[trigger].setdefault("pause_status", "PAUSED")
    for pipeline in (resources.get("pipelines") or {}).values():
        pipeline.setdefault("development", True)
