"""Stage nbs/ for Sphinx and MyST-NB: nbdev's own processors, then Quarto's syntax as MyST's. Runs no cell.

python docs/stage.py FOLDER"""

import ast
import importlib
import json
import re
import shutil
import sys
from functools import partial
from pathlib import Path, PurePosixPath

import known_functions
import reference
import yaml
from fastcore.nbio import mk_cell, write_nb
from nbdev.config import get_config, nbpath2html
from nbdev.doclinks import nbglob
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor, Processor
from nbdev.processors import (
    add_show_docs,
    clean_magics,
    filter_stream_,
    hide_,
    hide_line,
    mv_exports,
    populate_language,
    rm_export,
    rm_header_dash,
    strip_ansi,
)

CONFIG = get_config()
MODULES = importlib.import_module(f"{CONFIG.lib_path.name}._modidx").d["syms"]
MODULE_OF = {name: module for module, names in MODULES.items() for name in names}
for room_module in (module for modules in reference.rooms().values() for module in modules):
    MODULE_OF |= {f"{room_module}.{name}": room_module for name in reference.names(room_module)}


CLASSES = {
    f"{module}.{node.name}"
    for module in MODULES
    for node in reference.modules()[module].body
    if isinstance(node, ast.ClassDef)
}
FULL_NAME = {}  # short name -> full name, where only one module has it
for full, module in MODULE_OF.items():
    short = full.removeprefix(f"{module}.")
    FULL_NAME[short] = None if short in FULL_NAME else full


def page(path):
    "Page of a notebook: 00_core.ipynb is core, as in nbdev's own URLs"
    return str(nbpath2html(PurePosixPath(path)).with_suffix(""))


def source_of(link):
    "The file behind a link without its ending: a notebook's, or one of the pages that are none"
    found = page(f"{link}.ipynb")
    return f"{found}.{'md' if found.removeprefix('../') in PAGES else 'ipynb'}"


def module_of(path):
    "The module that a notebook exports to, or None"
    sources = ["".join(cell["source"]) for cell in json.loads(Path(path).read_text())["cells"]]
    found = re.search(r"^#\|\s*default_exp\s+(\S+)", "\n".join(sources), re.M)
    return f"{CONFIG.lib_path.name}.{found[1]}" if found else None


def prose(text, module=None):
    """Markdown: `name` links to the object, @fig-x to the figure, Quarto's callouts and notebook links become
    Sphinx's"""

    def link(found):
        name = found[1]
        if name in COMMANDS:
            return reference.link(name)
        full = (
            f"{module}.{name}"
            if f"{module}.{name}" in MODULE_OF
            else FULL_NAME.get(name) or (name if name in MODULE_OF else None)
        )
        return (
            f"{{py:obj}}`{name} <{full}>`" if full and not name.split(".")[-1].startswith("_") else found[0]
        )

    lines, fenced = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            line = re.sub(r"(?<![`{}\w\[])`([A-Za-z_][\w.]*|cdc [a-z ]+)(?:\(\))?`(?![`\]])", link, line)
            line = re.sub(r"(?<![\w`])@((?:fig|tbl)-[\w-]+)", r"{numref}`\1`", line)
            line = re.sub(r"^:::\s*\{\.callout-(\w+)[^}]*\}", r":::{\1}", line)
            line = re.sub(
                r"\]\((?!\w+:)([^)#]+)\.(?:ipynb|html)(#[^)]*)?\)",
                lambda found: f"]({source_of(found[1])}{found[2] or ''})",
                line,
            )
        lines.append(line)
    return "\n".join(lines)


COMMANDS = reference.commands_of(reference.help_text())


class ShowConstants(Processor):
    "Exported constants get an entry, as functions do; nbdev would hide them with their cell"

    def begin(self):
        module, cells = module_of(self.nb.path_), []
        known = reference.constants(module) if module else {}
        for cell in self.nb.cells:
            exported = cell.cell_type == "code" and {"export", "exports"} & cell.directives_.keys()
            made = (
                [
                    name
                    for node in ast.parse(cell.source).body
                    for name in reference.assigned(node)
                    if name in known
                ]
                if exported
                else []
            )
            if made:
                cells.append(mk_cell("\n\n".join(self.entries(module, made, known)), "markdown"))
            cells.append(cell)
        self.nb.cells = cells

    def entries(self, module, names, known):
        for name in names:
            value, comment = known[name]
            yield reference.entry(f"{module}.{name}", value, prose(comment, module))


class ToMyst(Processor):
    "The last processor: what nbdev left becomes what MyST-NB reads"

    def begin(self):
        front = getattr(self.nb, "frontmatter_", {})
        self.nb.cells = [cell for cell in self.nb.cells if cell.cell_type != "raw"]
        self.module = module_of(self.nb.path_)
        self.shown = {
            found[1]
            for cell in self.nb.cells
            if cell.cell_type == "code"
            for found in re.finditer(r"^show_doc\(([\w.]+)", cell.source, re.M)
        }
        if front.get("title"):
            description = f"\n\n*{front['description']}*" if front.get("description") else ""
            self.nb.cells.insert(0, mk_cell(f"# {front['title']}{description}", "markdown"))

    def cell(self, cell):
        if cell.cell_type == "markdown":
            cell.source = prose(cell.source, self.module)
        elif cell.cell_type == "code":
            shown = re.search(r"^show_doc\(([\w.]+)", cell.source, re.M)
            self.reference(cell, shown[1]) if shown else self.code(cell)

    def reference(self, cell, name):
        "A show_doc cell becomes Sphinx's own entry; the anchor keeps nbdev's URLs (scd1.html#latest) valid"
        full = f"{self.module}.{name}" if f"{self.module}.{name}" in MODULE_OF else FULL_NAME[name]
        kind = "autoclass" if full in CLASSES else "automethod" if "." in name else "autofunction"
        cell.cell_type, cell.metadata = "markdown", {}
        members = sorted(
            each.split(".")[1] for each in self.shown if each.startswith(f"{name}.")
        )  # those have entries of their own, further down
        options = f"\n   :members:\n   :exclude-members: {', '.join(members)}" if kind == "autoclass" else ""
        cell.source = f'<a id="{name.lower()}"></a>\n\n```{{eval-rst}}\n.. {kind}:: {full}{options}\n```'
        for key in ("outputs", "execution_count"):
            cell.pop(key, None)

    def code(self, cell):
        directives, tags, notebook = cell.directives_, [], {}
        if directives.get("include") == "false":
            cell.source = None
            return
        if directives.get("echo") == "false":
            tags.append("remove-input")
        if directives.get("output") == "false":
            tags.append("remove-output")
        if "exports" in directives or "code-fold" in directives:
            tags.append("hide-input")
            notebook["code_prompt_show"] = directives.get(
                "code-summary", "Source" if "exports" in directives else "Code"
            ).strip("\"'")
        if directives.get("label", "").startswith("fig-"):
            caption = directives.get("fig-cap", directives["label"])
            notebook |= {
                "figure": {"name": directives["label"], "caption": caption},
                "image": {"alt": directives.get("fig-alt", caption)},
            }
        cell.metadata = ({"tags": tags} if tags else {}) | ({"mystnb": notebook} if notebook else {})


PROCESSORS = [
    FrontmatterProc,
    populate_language,
    add_show_docs,
    strip_ansi,
    hide_line,
    filter_stream_,
    rm_header_dash,
    ShowConstants,
    rm_export,
    clean_magics,
    hide_,
    mv_exports,
    ToMyst,
]


ROOMS = "Rooms of cdc_local"
# Pages that are no notebook: where they stand in the sidebar, who makes them, and what to edit
PAGES = {
    "cdc": ("Reference", reference.command_page, "cdc_local/cli/main.py"),
    "configuration": ("Reference", reference.configuration_page, "docs/configuration.yml"),
    "functions": ("Reference", known_functions.functions_page, "docs/known_functions.py"),
    "names": ("Reference", lambda: reference.names_page(chapters()), "docs/reference.py"),
    **{
        f"rooms/{room}": (ROOMS, partial(reference.room_page, room), reference.face(room))
        for room in reference.rooms()
    },
    "genindex": ("Reference", None, None),
    "changelog": ("Reference", reference.changelog_page, "CHANGELOG.md"),
}


def sections():
    "The sidebar's sections: title -> its notebooks"
    contents = yaml.safe_load((CONFIG.nbs_path / "sidebar.yml").read_text())["website"]["sidebar"]["contents"]
    return {entry["section"]: entry["contents"] for entry in contents if isinstance(entry, dict)}


def chapters():
    "Section, title, page and module of each notebook that exports"
    for section, contents in sections().items():
        for name in contents:
            path = CONFIG.nbs_path / name
            if not (module := module_of(path)):
                continue
            yield section, notebook_head(path)[0], f"{page(name)}.ipynb", module
    for room, modules in reference.rooms().items():
        for module in modules:
            yield ROOMS, module.partition(".")[2], f"rooms/{room}.md", module


def toctree(pages):
    "A table of contents for the sidebar alone"
    return "```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```"


def landing_page(title, pages):
    "The page of a section: what it contains, a line each"
    lines = [
        f"- [{name}](/{page})" + (f": {sentence}" if sentence else "")
        for page, (name, sentence) in pages.items()
        if page != "genindex"  # made by Sphinx: only a table of contents can name it
    ]
    return f"# {title}\n\n" + "\n".join(lines) + "\n\n" + toctree(f"/{page}" for page in pages) + "\n"


def slug(title):
    "The name of a section's page"
    return f"sections/{re.sub('[^a-z]+', '_', title.lower())}"


def notebook_head(path):
    "Title and sentence that a notebook begins with"
    title, sentence = "".join(json.loads(path.read_text())["cells"][0]["source"]).split("\n", 1)
    return title.removeprefix("# "), prose(sentence.removeprefix("> "))


def landing_pages(texts):
    "Section -> its page; raises KeyError where a page has no section to stand in"
    listed = {
        title: {page(name): notebook_head(CONFIG.nbs_path / name) for name in contents}
        for title, contents in sections().items()
    }
    for name, (section, *_) in PAGES.items():
        head = re.match(r"# (.+)\n\n(?:\*?([^#\s][^\n]+?)\*?\n\n)?", texts.get(name, "# Index\n\n"))
        sentence = re.sub(
            r"\[([^]]*)\]\([^)]*\)", r"\1", head[2] or ""
        )  # its links lead on from its own page
        listed.setdefault(section, {})[name] = (head[1], sentence)
    return {title: landing_page(title, pages) for title, pages in listed.items()}


def main(folder):
    folder, sources = Path(folder), {}
    shutil.rmtree(folder, ignore_errors=True)
    texts = {name: prose(make()) for name, (_, make, _) in PAGES.items() if make is not None}
    landing = {slug(title): text for title, text in landing_pages(texts).items()}
    for path in nbglob(CONFIG.nbs_path, as_path=True):
        relative = path.relative_to(CONFIG.nbs_path)
        notebook = NBProcessor(path, PROCESSORS, process=True).nb
        if str(relative) == CONFIG.readme_nb:
            notebook.cells.append(mk_cell(toctree(landing), "markdown"))
        for cell in notebook.cells:
            for key in [key for key in cell if key.endswith("_") or key == "has_sd"]:
                cell.pop(key)
        target = folder / f"{page(relative)}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_nb(notebook, target)
        sources[page(relative)] = str(path.relative_to(CONFIG.config_path))
    if (CONFIG.nbs_path / "images").is_dir():
        shutil.copytree(CONFIG.nbs_path / "images", folder / "images")
    for name, text in (texts | landing).items():
        page_file = folder / f"{name}.md"
        page_file.parent.mkdir(parents=True, exist_ok=True)
        page_file.write_text(text)
        sources[name] = "nbs/sidebar.yml" if name in landing else PAGES[name][2]
    (folder / "sources.json").write_text(json.dumps(sources))  # page -> what to edit, for conf.py


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
