"""Pages made from the project itself: the command's help, what the code reads from outside, every public
name, the changelog.

Nothing on them is copied by hand. docs/configuration.yml says what a setting means; which settings there are,
the code says."""

import ast
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from textwrap import shorten

import yaml
from nbdev.config import get_config

CONFIG = get_config()
ROOT, PACKAGE = Path(CONFIG.config_path), Path(CONFIG.lib_path)
LOCAL = ROOT / "cdc_local"
MEANINGS, BUNDLES = ROOT / "docs/configuration.yml", ROOT / "bundles"
READERS = (
    "setting",
    "name_setting",
)  # cdc_utils.settings: who calls these reads a key of the pipeline's configuration


class UndescribedError(Exception):
    "What the code reads and docs/configuration.yml differ."


@cache
def modules():
    "Module -> syntax tree, of every module of both packages"

    def name(path):
        return ".".join(path.relative_to(ROOT).with_suffix("").parts)

    return {
        name(path): ast.parse(path.read_text())
        for package in (PACKAGE, LOCAL)
        for path in sorted(package.rglob("*.py"))
        if path.name not in ("__init__.py", "_modidx.py")
    }


def room_of(module):
    "`cdc_local.delta.log` is in `delta`; None for a chapter of cdc_utils"
    package, *inner = module.split(".")
    return inner[0] if package == LOCAL.name else None


def rooms():
    "Room of cdc_local -> its modules"
    found = {}
    for module in modules():
        if room := room_of(module):
            found.setdefault(room, []).append(module)
    return found


def literal(node):
    "The text of a node that is text; of an f-string its beginning, then an ellipsis"
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
        return f"{node.values[0].value}…"


def calls(tree):
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def called(call):
    return (
        call.func.id
        if isinstance(call.func, ast.Name)
        else call.func.attr
        if isinstance(call.func, ast.Attribute)
        else ""
    )


# What the code reads ----------------------------------------------------------------------------------------


def pipeline_keys(trees=None):
    "Key of a pipeline's configuration -> its default, or None where it is required"
    found = {}
    for tree in (trees or modules()).values():
        for call in calls(tree):
            if called(call) not in READERS or len(call.args) < 2 or literal(call.args[1]) is None:
                continue
            found[literal(call.args[1])] = literal(call.args[2]) if len(call.args) > 2 else None
    return found


def table_properties(trees=None):
    """The `pipelines.…` properties of tables that the local runner acts on -> what it takes for one that is
    absent"""
    return {
        literal(call.args[0]): literal(call.args[1]) if len(call.args) > 1 else None
        for tree in (trees or modules()).values()
        for call in calls(tree)
        if called(call) == "get" and call.args and (literal(call.args[0]) or "").startswith("pipelines.")
    }


def is_environ(node):
    return (
        node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    ) == "environ"


def read_from_environ(node):
    """The variable that this node reads, if it does: .get(), [], `in`, typer's envvar=, or a text that begins
    as ours do"""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and is_environ(node.func.value)
        and node.args
    ):
        return literal(node.args[0])
    if isinstance(node, ast.Subscript) and is_environ(node.value):
        return literal(node.slice)
    if isinstance(node, ast.Compare) and is_environ(node.comparators[0]):
        return literal(node.left)
    if isinstance(node, ast.keyword) and node.arg == "envvar":
        return literal(node.value)
    if re.fullmatch(r"CDC_[A-Z_]*[A-Z…]|BUNDLE_VAR_…", literal(node) or ""):
        return literal(node)


def environment_variables(trees=None):
    "Environment variable -> the modules that read it"
    found = {}
    for module, tree in (trees or modules()).items():
        for name in filter(None, map(read_from_environ, ast.walk(tree))):
            found.setdefault(name, set()).add(module)
    return found


READ = {"pipeline": pipeline_keys, "table": table_properties, "environment": environment_variables}


def described(kind, meanings=None, found=None):
    """Name -> meaning; raises `UndescribedError` where the code reads what is not described, or no longer
    reads     what is"""
    meanings = (meanings or yaml.safe_load(MEANINGS.read_text()))[kind]
    found = READ[kind]() if found is None else found
    missing, gone = sorted(found.keys() - meanings.keys()), sorted(meanings.keys() - found.keys())
    if missing:
        raise UndescribedError(
            f"docs/configuration.yml, {kind}: say what {', '.join(missing)} means; the code reads it"
        )
    if gone:
        raise UndescribedError(
            f"docs/configuration.yml, {kind}: take out {', '.join(gone)}, which no code reads"
        )
    return meanings


# The pages --------------------------------------------------------------------------------------------------


def table(headings, rows):
    "A Markdown table"

    def cell(text):
        return " ".join(str(text).split()).replace("|", "\\|")

    return "\n".join(
        ["| " + " | ".join(map(cell, row)) + " |" for row in (headings, ["---"] * len(headings), *rows)]
    )


def code(value):
    return "" if value is None else f"`{value}`" if value != "" else "empty"


def variables():
    "Variable of the bundles -> its declaration"
    found = {}
    for path in (BUNDLES / "shared/variables.yml", *sorted(BUNDLES.glob("*/*.yml"))):
        found |= yaml.safe_load(path.read_text()).get("variables") or {}
    return found


def parameters():
    "Name and default of each parameter of the bundle's jobs"
    for path in sorted(BUNDLES.glob("*/resources/*.yml")):
        for job in (yaml.safe_load(path.read_text())["resources"].get("jobs") or {}).values():
            yield from job.get("parameters") or ()


def configuration_page():
    "What can be set, where, and what it is otherwise"
    meanings = yaml.safe_load(MEANINGS.read_text())
    keys, properties, environment = (described(kind, meanings) for kind in READ)
    defaults, absent = pipeline_keys(), table_properties()
    sections = {
        "pipeline": table(
            ("key", "means", "default"),
            [(code(key), text, code(defaults[key]) or "required") for key, text in keys.items()],
        ),
        "table": table(
            ("property", "means", "default"),
            [(code(key), text, code(absent[key])) for key, text in properties.items()],
        ),
        "environment": table(
            ("variable", "means"), [(code(name), text) for name, text in environment.items()]
        ),
        "parameters": table(
            ("parameter", "default in the bundle"),
            [(code(each["name"]), code(each.get("default"))) for each in parameters()],
        ),
        "variables": table(
            ("variable", "means", "default"),
            [
                (code(name), said.get("description", ""), code(said.get("default")) or "set by the target")
                for name, said in sorted(variables().items())
            ],
        ),
    }
    return (
        meanings["title"]
        + "\n\n"
        + "\n\n".join(
            f"## {meanings['headings'][name]}\n\n{meanings['texts'][name]}\n\n{text}"
            for name, text in sections.items()
        )
    )


@cache
def help_text():
    "The command's help, as typer writes it in Markdown"
    done = subprocess.run(
        [sys.executable, "-m", "typer", f"{LOCAL.name}.cli.main", "utils", "docs", "--name", "cdc"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def shown_examples(text):
    "The examples at the end of a command's help, which are rich's markup, as a block to copy from"

    def line(found):
        return f"{found[1]}  # {found[2]}" if found[2] else found[1]

    example = r"^ *\[cyan\](.+?)\[/cyan\](?:\n *\[dim\](.+?)\[/dim\])?$"

    def block(found):
        lines = [line(each) for each in re.finditer(example, found[1], re.M)]
        return "**Examples**:\n\n```sh\n" + "\n".join(lines) + "\n```\n"

    text = re.sub(r"^\[bold\]Examples\[/bold\]\n((?: *\[(?:cyan|dim)\].*\n?)+)", block, text, flags=re.M)
    return re.sub(r"\[bold\](.+?)\[/bold\]", r"`\1`", text)


def anchor(command):
    return command.replace(" ", "-")


def link(command):
    return f"[`{command}`]({'#' + anchor(command) if ' ' in command else '/cdc.md'})"


def commands_of(text):
    "Command -> the first paragraph of its help"
    return {found[1]: found[2] for found in re.finditer(r"^#+ `(cdc[^`]*)`\n\n(.+)", text, re.M)}


def command_page():
    "Every command, with its options and examples; each has an anchor, `cdc run` that of cdc-run"
    text = shown_examples(help_text())
    known = commands_of(text)

    def headed(found):
        return (f"({anchor(found[2])})=\n" if " " in found[2] else "") + f"{found[1]} {found[2]}\n"

    def listed(found):
        group = found[1]
        below = [
            name for name in known if name.startswith(f"{group} ") and name.count(" ") == group.count(" ") + 1
        ]
        return (
            found[0][: found.start(2) - found.start()]
            + "**Commands**:\n\n"
            + table(("command", "does"), [(link(name), known[name]) for name in below])
            + "\n\n"
        )

    text = re.sub(
        r"^#+ `(cdc[^`]*)`\n(?:(?!^#).*\n)*?(\*\*Commands\*\*:\n\n(?:\* .*\n)+\n)", listed, text, flags=re.M
    )
    text = re.sub(r"^(#+) `(cdc[^`]*)`\n", headed, text, flags=re.M)
    return text.replace("# cdc\n", "# The cdc command\n", 1)


def public_names(tree):
    "The names that a module exports: those of `__all__`, or else all that begin with no underscore"
    exported = [node for node in tree.body if "__all__" in assigned(node)]
    if exported:
        return [name.value for name in exported[0].value.elts]
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [[node.name] if isinstance(node, defined) else [*assigned(node)] for node in tree.body]
    return [name for names in found for name in names if not name.startswith("_")]


def summary(node):
    return (inspect.cleandoc(ast.get_docstring(node) or "").splitlines() or [""])[0]


def assigned(node):
    "Name -> value, of a statement that assigns; nothing for `Class.method = …`"
    found = {}
    targets = (
        [node.target] if isinstance(node, ast.AnnAssign) and node.value else getattr(node, "targets", ())
    )
    for target in targets:
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        pairs = zip(names, node.value.elts if several else [node.value] * len(names), strict=True)
        found |= {name.id: value for name, value in pairs if isinstance(name, ast.Name)}
    return found


@cache
def constants(module):
    "Public constants of a module -> value, and what the comment beside or above says"
    tree, source = (
        modules()[module],
        (PACKAGE.parent / f"{module.replace('.', '/')}.py").read_text().splitlines(),
    )
    public, found = set(public_names(tree)), {}
    for node in tree.body:
        beside = above = None
        if made := assigned(node):
            beside, above = (
                re.search(r"\s# (.+)$", source[node.end_lineno - 1])
                or re.search(r"\s# (.+)$", source[node.lineno - 1]),
                re.match(r"# (?!%%)(.+)$", source[node.lineno - 2]),
            )
        for name in made.keys() & public:
            found[name] = (
                shorten(ast.unparse(made[name]), 70, placeholder=" …"),
                beside[1] if beside else above[1] if above else "",
            )
    return found


def names(module):
    "Public name -> its one line, in the order of the chapter"
    tree = modules()[module]
    listed = {
        node.name: summary(node) for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    listed |= {name: said or f"`` {value} ``" for name, (value, said) in constants(module).items()}
    places = {name: place for place, name in enumerate(public_names(tree))}
    return {name: listed[name] for name in sorted(places.keys() & listed.keys(), key=places.get)}


def names_page(chapters):
    "Every public name by chapter and room; `chapters` are (section, title, page, module)"
    text, under = (
        [
            "# All names\n\n*Every public name and its one line, by chapter and by room. "
            "The [general index](genindex) has them by letter.*"
        ],
        None,
    )
    for section, title, page, module in chapters:
        if not (found := names(module)):
            continue
        if section != under:
            text.append(f"## {section}")
        under = section
        text.append(
            f"### {title}\n\n[{'Room' if room_of(module) else 'Chapter'}]({page}), `{module}`\n\n"
            + table(
                ("name", "is"),
                [(f"{{py:obj}}`{name} <{module}.{name}>`", line) for name, line in found.items()],
            )
        )
    return "\n\n".join(text)


def entry(name, value, comment):
    "The entry of a public constant; functions and classes get theirs from autodoc"
    return f"````{{py:data}} {name}\n---\nvalue: |-\n  {value}\n---\n{comment}\n````"


def face(room):
    "The file that says what a room is for"
    folder = LOCAL / room
    return str((folder / "__init__.py" if folder.is_dir() else LOCAL / f"{room}.py").relative_to(ROOT))


def room_page(room):
    "Every public name of a room, module by module, as its source says it"
    heading = f"# {room}"
    if face(room).endswith("__init__.py"):
        heading += "\n\n" + ast.get_docstring(ast.parse((ROOT / face(room)).read_text()))
    parts = [heading]
    for module in rooms()[room]:
        parts.append(f"## {module.removeprefix(f'{LOCAL.name}.')}")
        parts.append(f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```")
        parts += [entry(name, *value) for name, value in constants(module).items()]  # of the module above
    return "\n\n".join(parts)


def changelog_page():
    return (ROOT / "CHANGELOG.md").read_text()
