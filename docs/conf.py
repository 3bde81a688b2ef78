"Sphinx reads what docs/stage.py made of the notebooks. No page needs the network."

import json
import os
import re
import sys
import tomllib
from pathlib import Path

from fastcore.docments import docments
from myst_parser.mocking import MockRSTParser

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]
from settings_ini import package_version  # noqa: E402  # found by the line above

meta = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
project, author = "cdc_utils", meta["authors"][0]["name"]
copyright = author
version = release = package_version(ROOT)

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
nb_execution_mode = "off"  # saved outputs are the truth: nbdev-test and nbval check them
nb_merge_streams = True
nb_output_stderr = "remove"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["misc.highlighting_failure"]  # an example of corrupt JSON is not JSON
numfig = True
default_role = "py:obj"  # `name` in a docstring links to the object
add_module_names = False
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 72
html_theme = "furo"
pygments_dark_style = "github-dark"  # the theme's own underlines every import
html_title = f"{project} {release}"
html_static_path = ["static"]
html_css_files = ["custom.css"]
html_favicon = "static/favicon.svg"
html_copy_source = False


def markup(text):
    """Markdown's `code` as reStructuredText: a name links where it can, the rest is literal, and what follows
    may touch it"""

    def marked(found):
        return rf"\ `{found[1]}`\ " if re.fullmatch(r"[A-Za-z_][\w.]*", found[1]) else rf"\ ``{found[1]}``\ "

    parts = re.split(r"(`+[^`]+`+)", text.replace("\\", "\\\\"))
    return "".join(
        re.sub(r"^`+([^`]+)`+$", marked, part) if part.startswith("`") else re.sub(r"([*|_`])", r"\\\1", part)
        for part in parts
    )


def add_docments(app, what, name, obj, options, lines):
    "Comments beside parameters (fastcore's docments) become field lists"
    lines[:] = [line[: len(line) - len(line.lstrip())] + markup(line.lstrip()) for line in lines]
    if what not in ("function", "method", "class"):
        return
    try:
        described = docments(obj, full=True)
    except (TypeError, ValueError, OSError):
        return  # an object without a signature or a source
    fields = []
    for parameter, value in described.items():
        if parameter == "self" or not value.docment:
            continue
        text = markup(" ".join(value.docment.split()))
        fields.append(f":returns: {text}" if parameter == "return" else f":param {parameter}: {text}")
    if fields:
        lines += ["", *fields, ""]


# MyST-NB counts 10,000 lines a cell and MyST pads reStructuredText with as many blank lines: minutes instead
# of seconds
parse_padded = MockRSTParser.parse
MockRSTParser.parse = lambda parser, text, document: parse_padded(parser, text.lstrip("\n"), document)


def link_sources(app, page, template, context, doctree):
    """Edit and view links lead to the notebook in nbs/, not to what was staged. Only CI knows the repository:
    a site that is built elsewhere has no such links"""
    repository = os.environ.get("CI_PROJECT_URL")
    if not repository:
        return
    source = json.loads((Path(app.srcdir) / "sources.json").read_text()).get(page)
    for name, verb in (("edit", "edit"), ("view", "blob")):
        context[f"theme_source_{name}_link"] = f"{repository}/-/{verb}/main/{source}" if source else ""


def sidebar_once(app, page, template, context, doctree):
    "No source page is in the sidebar, so those of one depth have the same one: it is made once, not for each"
    if not page.startswith("_modules/"):
        return
    make, depth = context["toctree"], page.count("/")

    def made(**options):
        key = (depth, *sorted(options.items()))
        if key not in SIDEBARS:
            SIDEBARS[key] = make(**options)
        return SIDEBARS[key]

    context["toctree"] = made


SIDEBARS = {}


def leave_out_unused_sources(app):
    "viewcode also lists modules that no entry leads to, as `builtins`: pages without a text, or dead links"
    sources = getattr(app.env, "_viewcode_modules", {})
    for module in [name for name, source in sources.items() if not (source and source[2])]:
        del sources[module]
    return ()


def setup(app):
    app.connect("html-collect-pages", leave_out_unused_sources, priority=400)
    app.connect("autodoc-process-docstring", add_docments)
    app.connect("html-page-context", link_sources)
    app.connect("html-page-context", sidebar_once, priority=400)  # before furo asks for it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
