"The habits that keep notebooks readable and their module generated. Each failure names the notebook, the cell and what to do."
import ast
import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
NBS = ROOT / "nbs"
NOTEBOOKS = sorted(path for path in NBS.rglob("*.ipynb") if not any(part.startswith((".", "_")) for part in path.relative_to(NBS).parts))
LINES = 30
WRITTEN_BY_HAND = {"cdc_utils/__init__.py"}  # the version; nbdev reads it from there
LOCAL_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|Users|work|tmp|var|private|builds|opt)/[\w.-]+")
CLOCK = re.compile(r"\b\d{1,2}:\d\d:\d\d (?:WARN|INFO|ERROR)\b|\b(?:CPU times|Wall time)\b")
NOISE = re.compile(r"\bWARN|Warning:|Traceback|Setting default log level|\[Stage ")
# Where an example is about such a path: the notebook, and why
ABOUT_PATHS = {"local/session.ipynb", "local/storage.ipynb"}


class Cell:
    "A cell, and where to find it"
    def __init__(self, path, number, raw):
        self.path, self.number, self.raw = path, number, raw
        self.kind, self.source = raw["cell_type"], "".join(raw["source"])

    def __str__(self): return f"nbs/{self.path.relative_to(NBS)}, cell {self.number} ({self.first_line()[:60]!r})"

    def first_line(self): return next((line for line in self.source.splitlines() if line.strip() and not line.startswith("#|")), self.source)

    def exports(self): return self.kind == "code" and re.search(r"^#\|\s*exports?i?\b(?!_)", self.source, re.M)

    def code_lines(self): return [line for line in self.source.splitlines() if line.strip() and not line.startswith("#|")]

    def tree(self):
        if re.match(r"%%writefile \S+\.(?!py\b)", self.source): return ast.parse("")  # a file in SQL or YAML
        source = "\n".join(line for line in self.source.splitlines() if not re.match(r"\s*[%!]", line))
        return ast.parse(source)

    def output(self):
        texts = []
        for output in self.raw.get("outputs", []):
            texts += [output["text"]] if "text" in output else [value for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
        return "\n".join("".join(text) for text in texts)


def cells(path):
    return [Cell(path, number, raw) for number, raw in enumerate(json.loads(path.read_text())["cells"])]


CELLS = {path: cells(path) for path in NOTEBOOKS}
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.relative_to(NBS)))


def none(wrong, what_to_do):
    assert not wrong, f"{what_to_do}:\n  " + "\n  ".join(map(str, wrong))


@each_notebook
def test_export_cells_are_short(path):
    none([f"{cell}: {len(cell.code_lines())} lines" for cell in CELLS[path] if cell.exports() and len(cell.code_lines()) > LINES],
        f"an export cell holds one idea, in {LINES} lines at most; split it")


@each_notebook
def test_imports_have_their_own_cells(path):
    def mixed(cell):
        kinds = {isinstance(node, (ast.Import, ast.ImportFrom)) for node in cell.tree().body if not is_guard(node)}
        return len(kinds) == 2
    none([cell for cell in CELLS[path] if cell.exports() and mixed(cell)],
        "move the imports to an export cell of their own: the docs run every cell that imports")


def is_guard(node):
    "A `try: import` block or a docstring, which may stand beside imports"
    return isinstance(node, ast.Try) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


@each_notebook
def test_no_star_imports(path):
    def star(cell): return any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(cell.tree()))
    none([cell for cell in CELLS[path] if cell.kind == "code" and star(cell)], "import names one by one")


@each_notebook
def test_outputs_hold_no_machine_and_no_clock(path):
    wrong = [f"{cell}: {found[0]}" for cell in CELLS[path] for found in [LOCAL_PATH.search(cell.output()) or CLOCK.search(cell.output())] if found]
    if str(path.relative_to(NBS)) in ABOUT_PATHS: wrong = [text for text in wrong if str(ROOT) in text]
    none(wrong, "the output differs on another machine; show something that stays, save with nbdev-test --save and nbdev-clean")


@each_notebook
def test_outputs_hold_no_error(path):
    def noise(output): return output["output_type"] == "error" or (output.get("name") == "stderr" and NOISE.search("".join(output["text"])))
    none([cell for cell in CELLS[path] if any(noise(output) for output in cell.raw.get("outputs", []))],
        "an error or Spark's own warnings are saved; run nbdev-test --save and nbdev-clean")


@each_notebook
def test_begins_with_a_title_and_a_sentence(path):
    first = next((cell for cell in CELLS[path] if cell.kind == "markdown"), None)
    good = first and first.source.startswith("# ") and re.search(r"^> \S", first.source, re.M)
    none([] if good else [f"nbs/{path.relative_to(NBS)}, first cell"], "begin with `# Title` and `> one sentence`")


@each_notebook
def test_has_no_absolute_path_of_this_clone(path):
    none([cell for cell in CELLS[path] if str(ROOT) in cell.source], "take the path out")


def default_export(path):
    return next((found[1] for cell in CELLS[path] for found in [re.search(r"^#\|\s*default_exp\s+(\S+)", cell.source, re.M)] if found), None)


@each_notebook
def test_a_chapter_that_exports_ends_by_exporting(path):
    if default_export(path) is None: return
    assert "nbdev_export()" in CELLS[path][-1].source, f"nbs/{path.relative_to(NBS)}: end with a hidden cell `import nbdev; nbdev.nbdev_export()`"


@each_notebook
def test_has_ids_and_no_leftovers(path):
    ids = [cell.raw.get("id") for cell in CELLS[path]]
    assert None not in ids and len(set(ids)) == len(ids), f"nbs/{path.relative_to(NBS)}: a cell without an id of its own; save it in JupyterLab"
    none([cell for cell in CELLS[path] if not cell.source.strip()], "delete the empty cell")


def test_no_module_is_written_by_hand():
    made = {f"cdc_utils/{module.replace('.', '/')}.py": path for path in NOTEBOOKS if (module := default_export(path))}
    wrong = []
    for module in sorted(ROOT.glob("cdc_utils/**/*.py")):
        name, text = str(module.relative_to(ROOT)), module.read_text()
        if name in WRITTEN_BY_HAND or name == "cdc_utils/_modidx.py" or (module.name == "__init__.py" and not text.strip()): continue
        if "# AUTOGENERATED!" not in text: wrong.append(f"{name} is not generated: move its code to a notebook")
        elif name not in made: wrong.append(f"{name} has no notebook any more: delete it")
    none(wrong, "cdc_utils/ is made from nbs/ by `make export`")


def test_two_notebooks_do_not_make_one_module():
    modules = [module for path in NOTEBOOKS if (module := default_export(path))]
    assert len(modules) == len(set(modules)), f"give each its own default_exp: {sorted(m for m in modules if modules.count(m) > 1)}"


def test_the_sidebar_names_every_notebook():
    contents = yaml.safe_load((NBS / "sidebar.yml").read_text())["website"]["sidebar"]["contents"]
    listed = [name for entry in contents for name in ([entry] if isinstance(entry, str) else entry["contents"])]
    there = {str(path.relative_to(NBS)) for path in NOTEBOOKS}
    assert not there - set(listed), f"add to nbs/sidebar.yml: {sorted(there - set(listed))}"
    assert not set(listed) - there, f"take out of nbs/sidebar.yml, there is no such notebook: {sorted(set(listed) - there)}"
    assert len(listed) == len(set(listed)), "nbs/sidebar.yml names a notebook twice"
