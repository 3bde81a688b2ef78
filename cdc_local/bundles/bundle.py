"""What a bundle's YAML files say for one target, with every variable filled in, and still knowing which line said it."""

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdc_local.errors import Location, UsageError
from cdc_local.storage import read_json

ValuePath = (
    tuple  # Keys and list places from the root to a value: `('resources', 'jobs', 'daily', 'tasks', 0)'
)


class BundleError(UsageError):
    "Something in a bundle that Databricks would refuse: where, what, what to do."


def read_yaml(
    path: Path,  # A file
):  # What it says, as ruamel.yaml has it: with lines
    "Read a YAML file; `BundleError` at the line for one that is broken or gives a key twice."
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    try:
        return YAML(typ="rt").load(path.read_text()) or {}
    except FileNotFoundError:
        raise BundleError("there is no such file", Location(str(path))) from None
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        raise BundleError(
            f"{wrong.problem or wrong.context}".splitlines()[0],
            Location(str(path), mark.line + 1 if mark else 0),
            "mend the YAML",
        ) from None
    except UnicodeDecodeError as wrong:
        raise BundleError(f"it is no text: {wrong}", Location(str(path))) from None


def plain_values(
    node,  # What `read_yaml` returned, or a part of it
    file: str,  # The file, for locations
    places: dict[ValuePath, Location],  # Gets the location of each value
    at: ValuePath = (),  # Where the part stands
) -> Any:  # Dicts, lists, strings, numbers, booleans, None
    "Turn a parsed file into plain values, and note where each stands."
    if isinstance(node, Mapping):
        children = [
            (key, node.lc.key(key) if key in (node.lc.data or {}) else (node.lc.line, 0), value)
            for key, value in node.items()
        ]
    elif isinstance(node, list):
        children = [(place, node.lc.item(place), value) for place, value in enumerate(node)]
    else:
        return (
            node
            if node is None or isinstance(node, bool)
            else next((kind(node) for kind in (int, float, str) if isinstance(node, kind)), str(node))
        )
    places.setdefault(at, Location(file, (node.lc.line or 0) + 1))
    for key, (line, _), value in children:
        places[at + (key,)] = Location(file, line + 1)
        if isinstance(node, list) or isinstance(key, str):
            continue
        raise BundleError(f"the key {key!r} is no text", places[at + (key,)], "put it in quotes")
    values = [(key, plain_values(value, file, places, at + (key,))) for key, _, value in children]
    return dict(values) if isinstance(node, Mapping) else [value for _, value in values]


NAMED = {
    "tasks": "task_key",
    "environments": "environment_key",
    "parameters": "name",
    "job_clusters": "job_cluster_key",
}  # List -> what names its entries


@dataclass(frozen=True)
class LocatedValues:
    "Values, and where each stands."

    values: Any  # Dicts, lists and scalars
    places: dict = field(default_factory=dict)  # Path -> `Location`

    def below(self, *at) -> "LocatedValues":
        "The part at a path, which may be missing: then its values are None."
        values = self.values
        for key in at:
            values = (
                values.get(key)
                if isinstance(values, dict)
                else values[key]
                if isinstance(values, list) and isinstance(key, int) and key < len(values)
                else None
            )
        return LocatedValues(
            values, {path[len(at) :]: place for path, place in self.places.items() if path[: len(at)] == at}
        )

    def where(self, *at) -> Location:
        "Where a value stands, or the nearest thing around it."
        return next(
            (self.places[at[:length]] for length in range(len(at), -1, -1) if at[:length] in self.places),
            Location("databricks.yml"),
        )


def overlay(
    one: LocatedValues,  # What was said first
    other: LocatedValues,  # What was said later
    name: str = "",  # Key of the two values, for lists whose entries have names
) -> LocatedValues:
    "Put two parts together; the later one decides."
    if isinstance(one.values, dict) and isinstance(other.values, dict):
        keys = list(dict.fromkeys([*one.values, *other.values]))
    elif isinstance(one.values, list) and isinstance(other.values, list) and name in NAMED:
        return merge_by_name(one, other, NAMED[name])
    else:
        return other
    parts = {}
    for key in keys:
        if key not in other.values:
            parts[key] = one.below(key)
        elif key not in one.values:
            parts[key] = other.below(key)
        else:
            parts[key] = overlay(one.below(key), other.below(key), key)
    return gather(parts, {(): one.where()})


def gather(
    parts: dict,  # Key -> `LocatedValues`
    places: dict = None,  # Further places
) -> LocatedValues:  # A dict of them
    "Put parts below their keys."
    found = dict(places or {})
    for key, part in parts.items():
        found.update({(key, *path): place for path, place in part.places.items()})
    return LocatedValues({key: part.values for key, part in parts.items()}, found)


def merge_by_name(
    one: LocatedValues,  # A list
    other: LocatedValues,  # A list
    key: str,  # What names their entries
) -> LocatedValues:
    "Put two lists together by the names of their entries."

    def entries(said):
        found = [said.below(place) for place in range(len(said.values))]
        return {
            entry.values.get(key) if isinstance(entry.values, dict) else ("", place): entry
            for place, entry in enumerate(found)
        }

    mine, theirs = entries(one), entries(other)
    merged = [
        overlay(mine[name], theirs[name])
        if name in mine and name in theirs
        else (theirs.get(name) or mine[name])
        for name in dict.fromkeys([*mine, *theirs])
    ]
    whole = gather(dict(enumerate(merged)), {(): one.where()})
    return LocatedValues(list(whole.values.values()), whole.places)


def read_files(
    folder: Path,  # The folder of `databricks.yml`
) -> LocatedValues:  # All that its files say
    "Read `databricks.yml` and what it includes; `BundleError` for an include that matches nothing, and a resource said twice."

    def said(path):
        places, shown = {}, os.path.relpath(path, folder)
        values = plain_values(read_yaml(path), os.path.join(str(folder), shown), places)
        if not isinstance(values, dict):
            raise BundleError("it holds no keys", Location(str(path)))
        return LocatedValues(values, places)

    top = Path(folder) / "databricks.yml"
    if not top.is_file():
        raise UsageError(
            f"no bundle in {folder}: there is no databricks.yml", hint="--bundle DIR names its folder"
        )
    whole, seen = said(top), {}
    files = [
        path
        for place, pattern in enumerate(whole.values.get("include") or ())
        for path in included_files(Path(folder), pattern, whole.where("include", place))
    ]
    for part in [whole, *map(said, files)]:
        for kind, resources in (part.values.get("resources") or {}).items():
            for key in resources or {}:
                here = part.where("resources", kind, key)
                if key in seen:
                    raise BundleError(
                        f"the resource {key} is there already, at {seen[key]}",
                        here,
                        "give each resource a key of its own, whatever its kind",
                    )
                seen[key] = here
        whole = part if part is whole else overlay(whole, part)
    return whole


def included_files(
    folder: Path,  # The bundle
    pattern: str,  # An entry of `include`
    where: Location,  # Where it stands
) -> list[Path]:
    "The files of an include; `BundleError` where there is none."
    climbing, rest = re.fullmatch(r"((?:\.\./)*)(.*)", pattern).groups()
    files = sorted((folder / climbing).resolve().glob(rest))
    if not files:
        raise BundleError(f"include {pattern} matches nothing", where, "take it out, or mend the pattern")
    return files


def choose_target(
    whole: LocatedValues,  # All that the files say
    target: str | None,  # Its name; the default one where it is None
) -> str:
    "The name of the target; `UsageError` for one that is not there."
    targets = whole.values.get("targets") or {"default": {}}  # as Databricks' command has it
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


OVERRIDDEN = (
    "resources",
    "workspace",
    "artifacts",
    "permissions",
    "run_as",
    "sync",
    "presets",
    "bundle",
    "experimental",
)  # What a target may say anew


def apply_target(
    whole: LocatedValues,  # All that the files say
    target: str,  # Name of a target
) -> LocatedValues:
    "Lay what a target says over the rest."
    said = whole.below("targets", target)
    parts = {key: whole.below(key) for key in whole.values if key not in ("targets", "include")}
    for key in OVERRIDDEN:
        if isinstance(said.values, dict) and key in said.values:
            parts[key] = overlay(parts[key], said.below(key)) if key in parts else said.below(key)
    name = gather(
        {
            "name": parts["bundle"].below("name") if "bundle" in parts else LocatedValues(None),
            "target": LocatedValues(target),
        }
    )
    mode = {"mode": said.below("mode")} if isinstance(said.values, dict) and "mode" in said.values else {}
    return gather(
        parts | mode | {"bundle": overlay(parts.get("bundle", LocatedValues({})), name)}, {(): whole.where()}
    )


def variable_values(
    whole: LocatedValues,  # All that the files say
    target: str,  # Name of the target
    given: Mapping[str, str],  # From the command line
    environ: Mapping[str, str],  # Environment variables
    overrides: Path,  # `.databricks/bundle/<target>/variable-overrides.json`
) -> LocatedValues:  # Name -> value, not yet filled in
    "Decide each variable's value; `UsageError` for one that nobody declared, `BundleError` for one without a value."
    declared, said = whole.below("variables"), whole.below("targets", target, "variables")
    names, file = list(declared.values or {}), read_json(overrides) or {}
    for name in given:
        if name not in names:
            raise UsageError(f"no variable {name!r} in this bundle", hint=f"it has {', '.join(names)}")
    for name in said.values or {}:
        if name not in names:
            raise BundleError(
                f"no variable {name!r} is declared", said.where(name), f"it has {', '.join(names)}"
            )
    found = {}
    for name in names:
        outside = next(
            (
                source[key]
                for source, key in ((given, name), (environ, f"BUNDLE_VAR_{name}"), (file, name))
                if key in source
            ),
            None,
        )
        own = said.below(name) if name in (said.values or {}) else declared.below(name, "default")
        if isinstance(own.values, dict) and set(own.values) <= {"default", "description", "type", "lookup"}:
            own = own.below("default")
        found[name] = (
            LocatedValues(outside, {(): Location(f"variable {name}")}) if outside is not None else own
        )
        if found[name].values is None:
            raise BundleError(
                f"variable {name} has no value for target {target}",
                declared.where(name),
                f"give it a default, a value below the target, or --var {name}=…",
            )
    return gather(found)


REFERENCE = re.compile(r"\$\{([a-zA-Z][\w-]*(?:\.[\w-]+|\[\d+\])*)\}")

DEPLOYED = (
    "id",
    "url",
    "name",
    "storage_location",
    "full_name",
)  # Fields of a resource that its deployment may give it


@dataclass
class ReferenceFiller:
    "Fills in the references of one bundle."

    said: LocatedValues  # The bundle for its target
    known: dict  # `bundle`, `workspace`, `var`
    open: tuple = ()  # References that are being filled in

    def find(
        self, name: str, where: Location
    ) -> Any:  # What it refers to, filled in; the reference itself where only a deployment knows
        "Look a reference up; `BundleError` for one to nothing, and for a circle."
        if name in self.open:
            raise BundleError(f"${{{name}}} refers to itself", where, " -> ".join([*self.open, name]))
        parts = re.findall(r"[\w-]+", name)
        if parts[0] == "resources":
            return self.resource(name, parts, where)
        if parts[:1] == ["variables"] and parts[2:] == ["value"]:
            parts = ["var", parts[1]]
        found = self.known if parts[0] in self.known else self.said.values
        for part in parts:
            found = (
                found.get(part)
                if isinstance(found, dict)
                else found[int(part)]
                if isinstance(found, list) and part.isdigit() and int(part) < len(found)
                else None
            )
            if found is None:
                raise BundleError(f"${{{name}}} refers to nothing", where, self.hint(parts))
        return ReferenceFiller(self.said, self.known, (*self.open, name)).fill(found, where)

    def hint(
        self,
        parts: list[str],  # A reference to nothing
    ) -> str:
        "What could have been meant."
        return (
            f"variables are {', '.join(self.known['var'])}"
            if parts[0] == "var"
            else f"there are {', '.join([*self.known, 'resources'])}"
        )

    def resource(
        self,
        name: str,  # The reference
        parts: list[str],  # Its parts: `resources`, kind, key, field …
        where: Location,  # Where it stands
    ) -> Any:
        "What a reference to a resource stands for; `BundleError` where there is no such resource."
        found = self.said.values.get("resources") or {}
        for part in parts[1:3]:
            found = (found or {}).get(part)
        if found is None or len(parts) < 4:
            raise BundleError(
                f"${{{name}}} refers to no resource of this bundle",
                where,
                "write ${resources.<kind>.<key>.<field>}",
            )
        for part in parts[3:]:
            found = found.get(part) if isinstance(found, dict) else None
        if found is not None:
            return ReferenceFiller(self.said, self.known, (*self.open, name)).fill(found, where)
        if parts[3] in DEPLOYED:
            return f"${{{name}}}"
        raise BundleError(f"${{{name}}}: the resource has no field {parts[3]}", where)

    def fill(
        self,
        value: Any,  # A part of the bundle
        where: Location,  # Where it stands
    ) -> Any:
        "Fill in all references of a value."
        if isinstance(value, dict):
            return {key: self.fill(each, where) for key, each in value.items()}
        if isinstance(value, list):
            return [self.fill(each, where) for each in value]
        if not isinstance(value, str):
            return value
        whole = REFERENCE.fullmatch(value)
        if whole:
            return self.find(whole[1], where)
        return REFERENCE.sub(lambda found: yaml_text(self.find(found[1], where)), value)


def yaml_text(
    value: Any,  # What a reference inside a text stands for
) -> str:
    "A value as YAML writes it."
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class User:
    "Who deploys."

    name: str  # As Databricks knows them: a mail address, or the id of a service principal

    @property
    def short_name(self) -> str:
        return re.sub(r"[^a-z0-9]+", "_", self.name.split("@")[0].lower()).strip("_")

    def known(self) -> dict:
        return {
            "userName": self.name,
            "short_name": self.short_name,
            "domain_friendly_name": re.sub(r"[^a-z0-9]+", "-", self.name.split("@")[0].lower()),
        }


def local_user() -> User:
    "Whoever is logged in here."
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
    said: LocatedValues  # All of it, filled in

    @property
    def name(self) -> str:
        return self.said.values["bundle"]["name"]

    def resources(self, kind: str) -> dict:
        return (self.said.values.get("resources") or {}).get(kind) or {}

    def path_at(self, *at) -> Path:  # On this machine
        "A path, which counts from the file that says it."
        value = self.said.below(*at).values
        return Path(os.path.normpath(Path(self.said.where(*at).file).absolute().parent / value))


WORKSPACE = {
    "root_path": "/Workspace/Users/${workspace.current_user.userName}/.bundle/${bundle.name}/${bundle.target}",
    "file_path": "${workspace.root_path}/files",
    "artifact_path": "${workspace.root_path}/artifacts",
    "state_path": "${workspace.root_path}/state",
    "resource_path": "${workspace.root_path}/resources",
    "host": "http://127.0.0.1",
}  # Where things go if a bundle does not say


def fill_parts(
    said: LocatedValues,  # The bundle for its target
    filling: ReferenceFiller,  # Fills in references
) -> LocatedValues:  # The same, filled in
    "Fill in every value, each with its own place in case it is wrong."

    def walk(value, at):
        if isinstance(value, dict):
            return {key: walk(each, (*at, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [walk(each, (*at, place)) for place, each in enumerate(value)]
        return filling.fill(value, said.where(*at))

    return LocatedValues(
        walk({key: value for key, value in said.values.items() if key != "variables"}, ()), said.places
    )


def load_bundle(
    folder: Path,  # The folder of `databricks.yml`
    target: str = None,  # Name of the target; the default one by default
    variables: Mapping[str, str] = {},  # Values from the command line
    user: User = None,  # Who deploys; whoever is logged in by default
    environ: Mapping[str, str] = None,  # Environment variables; those of this process by default
) -> Bundle:
    "Read a bundle for one target; raises `BundleError` at a line of it, `UsageError` for what was asked wrongly."
    whole = read_files(Path(folder))
    target = choose_target(whole, target)
    said = apply_target(whole, target)
    if not said.values["bundle"].get("name"):
        raise BundleError("the bundle has no name", whole.where("bundle"), "bundle: {name: …}")
    overrides = Path(folder) / ".databricks" / "bundle" / target / "variable-overrides.json"
    given = variable_values(whole, target, variables, os.environ if environ is None else environ, overrides)
    workspace = {
        **WORKSPACE,
        **(said.values.get("workspace") or {}),
        "current_user": (user or local_user()).known(),
    }
    filling = ReferenceFiller(
        said,
        {
            "bundle": {"environment": target, **said.values["bundle"]},
            "workspace": workspace,
            "var": given.values,
        },
    )
    for name, value in given.values.items():
        filling.fill(value, whole.where("variables", name))
    done = fill_parts(overlay(said, gather({"workspace": LocatedValues(workspace)})), filling)
    done.places["targets", target] = whole.where("targets", target)
    return Bundle(
        Path(folder),
        target,
        said.values.get("mode"),
        apply_development_mode(done) if said.values.get("mode") == "development" else done,
    )


def apply_development_mode(
    said: LocatedValues,  # A bundle, filled in
) -> LocatedValues:
    "What mode development changes of jobs and pipelines: triggers are paused unless they say otherwise, pipelines are in development."
    for job in ((said.values.get("resources") or {}).get("jobs") or {}).values():
        for trigger in ("schedule", "trigger", "continuous"):
            if isinstance(job.get(trigger), dict):
                job[trigger].setdefault("pause_status", "PAUSED")
    for pipeline in ((said.values.get("resources") or {}).get("pipelines") or {}).values():
        pipeline.setdefault("development", True)
    return said
