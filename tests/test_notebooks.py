"Habits that keep notebooks readable and modules generated. Each failure names the cell and what to do."

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
NBS = ROOT / "nbs"
NOTEBOOKS = sorted(
    path
    for path in NBS.rglob("*.ipynb")
    if not any(part.startswith((".", "_")) for part in path.relative_to(NBS).parts)
)
LINES = 30
WRITTEN_BY_HAND = {"cdc_utils/__init__.py"}  # the version; nbdev reads it from there
LOCAL_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|Users|work|tmp|var|private|builds|opt)/[\w.-]+")
CLOCK = re.compile(r"\b\d{1,2}:\d\d:\d\d (?:WARN|INFO|ERROR)\b|\b(?:CPU times|Wall time)\b")
NOISE = re.compile(r"\bWARN|Warning:|Traceback|Setting default log level|\[Stage ")
APART = 8  # definitions, at most, before an example runs
NAMES = "## Names to look up"  # the last section of a guide


class Cell:
    "A cell, and where to find it"

    def __init__(self, path, number, raw):
        self.path, self.number, self.raw = path, number, raw
        self.kind, self.source = raw["cell_type"], "".join(raw["source"])

    def __str__(self):
        return f"nbs/{self.path.relative_to(NBS)}, cell {self.number} ({self.first_line()[:60]!r})"

    def first_line(self):
        return next(
            (line for line in self.source.splitlines() if line.strip() and not line.startswith("#|")),
            self.source,
        )

    def exports(self):
        return self.kind == "code" and re.search(r"^#\|\s*exports?i?\b(?!_)", self.source, re.M)

    def code_lines(self):
        return [line for line in self.source.splitlines() if line.strip() and not line.startswith("#|")]

    def tree(self):
        if re.match(r"%%writefile \S+\.(?!py\b)", self.source):
            return ast.parse("")  # a file in SQL or YAML
        source = "\n".join(line for line in self.source.splitlines() if not re.match(r"\s*[%!]", line))
        return ast.parse(source)

    def output(self):
        texts = []
        for output in self.raw.get("outputs", []):
            texts += (
                [output["text"]]
                if "text" in output
                else [value for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
            )
        return "\n".join("".join(text) for text in texts)


def cells(path):
    return [Cell(path, number, raw) for number, raw in enumerate(json.loads(path.read_text())["cells"])]


def kernel_language(path):
    return json.loads(path.read_text())["metadata"].get("kernelspec", {}).get("language")


CELLS = {path: cells(path) for path in NOTEBOOKS}
LANGUAGES = {path: kernel_language(path) for path in NOTEBOOKS}
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.relative_to(NBS)))


def none(wrong, what_to_do):
    assert not wrong, f"{what_to_do}:\n  " + "\n  ".join(map(str, wrong))


@each_notebook
def test_exported_functions_are_short(path):
    none(
        [
            f"{cell}: {function.name} has {count} lines"
            for cell in CELLS[path]
            if cell.exports()
            for function in ast.walk(cell.tree())
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
            and (count := lines_of(function, cell)) > LINES
        ],
        f"a function has {LINES} lines at most; split it (a class may be as long as it needs)",
    )


def lines_of(function, cell):
    "Lines of a function that are not blank, its decorators left out"
    source = [line for line in cell.source.splitlines() if not re.match(r"\s*[%!]", line)]
    return sum(bool(line.strip()) for line in source[function.lineno - 1 : function.end_lineno])


def is_guide(path):
    "It shows how a room of cdc_local works"
    return path.parent == NBS / "local"


@each_notebook
def test_a_guide_exports_nothing(path):
    none(
        [cell for cell in CELLS[path] if is_guide(path) and (cell.exports() or "default_exp" in cell.source)],
        "a guide exports nothing: cdc_local/ is plain Python, and its tests lie in tests/",
    )


@each_notebook
def test_a_guide_ends_with_names_to_look_up(path):
    sections = [
        line
        for cell in CELLS[path]
        if cell.kind == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    good = not is_guide(path) or (sections and sections[-1].strip() == NAMES)
    none(
        [] if good else [f"nbs/{path.relative_to(NBS)}, last section"],
        f"end a guide with `{NAMES}`: a table of names, and the files they are in",
    )


@each_notebook
def test_imports_have_their_own_cells(path):
    def mixed(cell):
        kinds = {
            isinstance(node, (ast.Import, ast.ImportFrom)) for node in cell.tree().body if not is_guard(node)
        }
        return len(kinds) == 2

    none(
        [cell for cell in CELLS[path] if cell.exports() and mixed(cell)],
        "move the imports to an export cell of their own: the docs run every cell that imports",
    )


def is_guard(node):
    "A `try: import` block or a docstring, which may stand beside imports"
    return isinstance(node, ast.Try) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def defines(cell):
    return cell.exports() and any(
        isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        for node in cell.tree().body
    )


def is_example(cell):
    "It runs something, not only imports, and the docs and the tests do not leave it out"
    if (
        cell.kind != "code"
        or cell.exports()
        or re.search(r"^#\|\s*(eval:\s*false|hide)\b", cell.source, re.M)
    ):
        return False
    return any(not isinstance(node, (ast.Import, ast.ImportFrom)) for node in cell.tree().body)


def longest_without_example(path):
    "The most definitions in a row with no example between or after them, and the first of these cells"
    longest, row = [], []
    for cell in CELLS[path]:
        if defines(cell):
            row.append(cell)
        elif is_example(cell):
            row = []
        if len(row) > len(longest):
            longest = list(row)
    return len(longest), longest[:1]


@each_notebook
def test_an_example_runs_near_every_definition(path):
    count, first = longest_without_example(path)
    none(
        [f"{cell}: {count} definitions from here on without an example" for cell in first if count > APART],
        f"show what a function does, in a cell that runs, at most {APART} definitions further down",
    )


@each_notebook
def test_ends_with_an_example_after_its_last_definition(path):
    last = next((cell for cell in reversed(CELLS[path]) if defines(cell) or is_example(cell)), None)
    shown = not (last and defines(last))
    none([] if shown else [last], "the last definition has no example: add a cell that runs it")


@each_notebook
def test_no_star_imports(path):
    def star(cell):
        return any(
            isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in ast.walk(cell.tree())
        )

    none([cell for cell in CELLS[path] if cell.kind == "code" and star(cell)], "import names one by one")


@each_notebook
def test_outputs_hold_no_machine_and_no_clock(path):
    wrong = [
        f"{cell}: {found[0]}"
        for cell in CELLS[path]
        for found in [LOCAL_PATH.search(cell.output()) or CLOCK.search(cell.output())]
        if found
    ]
    none(
        wrong,
        "the output differs on another machine; show something that stays, "
        "save with nbdev-test --save and nbdev-clean",
    )


@each_notebook
def test_outputs_hold_no_error(path):
    def noise(output):
        return output["output_type"] == "error" or (
            output.get("name") == "stderr" and NOISE.search("".join(output["text"]))
        )

    none(
        [cell for cell in CELLS[path] if any(noise(output) for output in cell.raw.get("outputs", []))],
        "an error or Spark's own warnings are saved; run nbdev-test --save and nbdev-clean",
    )


@each_notebook
def test_begins_with_a_title_and_a_sentence(path):
    first = next((cell for cell in CELLS[path] if cell.kind == "markdown"), None)
    good = first and re.fullmatch(r"# \S[^\n]*\n> \S[^\n]*", first.source)
    none(
        [] if good else [f"nbs/{path.relative_to(NBS)}, first cell"],
        "begin with `# Title` and `> one sentence`, and nothing else: the site leaves out the rest of it",
    )


@each_notebook
def test_has_no_absolute_path_of_this_clone(path):
    none([cell for cell in CELLS[path] if str(ROOT) in cell.source], "take the path out")


def default_export(path):
    return next(
        (
            found[1]
            for cell in CELLS[path]
            for found in [re.search(r"^#\|\s*default_exp\s+(\S+)", cell.source, re.M)]
            if found
        ),
        None,
    )


@each_notebook
def test_a_chapter_that_exports_ends_by_exporting(path):
    if default_export(path) is None:
        return
    assert "nbdev_export()" in CELLS[path][-1].source, (
        f"nbs/{path.relative_to(NBS)}: end with a hidden cell `import nbdev; nbdev.nbdev_export()`"
    )


@each_notebook
def test_has_ids_and_no_leftovers(path):
    ids = [cell.raw.get("id") for cell in CELLS[path]]
    assert None not in ids and len(set(ids)) == len(ids), (
        f"nbs/{path.relative_to(NBS)}: a cell without an id of its own; save it in JupyterLab"
    )
    none([cell for cell in CELLS[path] if not cell.source.strip()], "delete the empty cell")


@each_notebook
def test_names_its_kernel(path):
    assert LANGUAGES.get(path) == "python", (
        f"nbs/{path.relative_to(NBS)}: save it in JupyterLab, for its kernel"
    )


def test_no_module_is_written_by_hand():
    made = {
        f"cdc_utils/{module.replace('.', '/')}.py": path
        for path in NOTEBOOKS
        if (module := default_export(path))
    }
    wrong = []
    for module in sorted(ROOT.glob("cdc_utils/**/*.py")):
        name, text = str(module.relative_to(ROOT)), module.read_text()
        if (
            name in WRITTEN_BY_HAND
            or name == "cdc_utils/_modidx.py"
            or (module.name == "__init__.py" and not text.strip())
        ):
            continue
        if "# AUTOGENERATED!" not in text:
            wrong.append(f"{name} is not generated: move its code to a notebook")
        elif name not in made:
            wrong.append(f"{name} has no notebook any more: delete it")
    none(wrong, "cdc_utils/ is made from nbs/ by `make export`")


def test_two_notebooks_do_not_make_one_module():
    modules = [module for path in NOTEBOOKS if (module := default_export(path))]
    assert len(modules) == len(set(modules)), (
        f"give each its own default_exp: {sorted(m for m in modules if modules.count(m) > 1)}"
    )


def test_the_sidebar_names_every_notebook():
    contents = yaml.safe_load((NBS / "sidebar.yml").read_text())["website"]["sidebar"]["contents"]
    listed = [
        name for entry in contents for name in ([entry] if isinstance(entry, str) else entry["contents"])
    ]
    there = {str(path.relative_to(NBS)) for path in NOTEBOOKS}
    assert not there - set(listed), f"add to nbs/sidebar.yml: {sorted(there - set(listed))}"
    assert not set(listed) - there, (
        f"take out of nbs/sidebar.yml, there is no such notebook: {sorted(set(listed) - there)}"
    )
    assert len(listed) == len(set(listed)), "nbs/sidebar.yml names a notebook twice"


# For each check a notebook that it catches ----------------------------------------------------------------


def markdown(text):
    return {"cell_type": "markdown", "id": "m", "metadata": {}, "source": [text]}


def code(text, *outputs):
    return {
        "cell_type": "code",
        "id": "c",
        "metadata": {},
        "execution_count": None,
        "source": [text],
        "outputs": list(outputs),
    }


def printed(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": [text]}


TITLE, END = markdown("# Broken\n> On purpose."), code("#| hide\nimport nbdev; nbdev.nbdev_export()")
LONG = "#| export\ndef f():\n" + "    print()\n" * LINES
BROKEN = {
    test_exported_functions_are_short: ([TITLE, code(LONG)], 1, f"f has {LINES + 1} lines", "split it"),
    test_a_guide_exports_nothing: (
        [TITLE, code("#| export\ndef f(): pass")],
        1,
        "def f",
        "plain Python",
        "local/broken.ipynb",
    ),
    test_a_guide_ends_with_names_to_look_up: (
        [TITLE, markdown(f"{NAMES}\n| name | file |"), markdown("## More")],
        None,
        "last section",
        NAMES,
        "local/broken.ipynb",
    ),
    test_imports_have_their_own_cells: (
        [TITLE, code("#| export\nimport os\nHERE = os.curdir")],
        1,
        "import os",
        "move the imports",
    ),
    test_an_example_runs_near_every_definition: (
        [TITLE, *[code(f"#| export\ndef f{number}(): pass") for number in range(APART + 1)]],
        1,
        f"{APART + 1} definitions",
        "in a cell that runs",
    ),
    test_ends_with_an_example_after_its_last_definition: (
        [TITLE, code("1 + 1"), code("#| export\ndef f(): pass"), code("#| eval: false\nf()")],
        2,
        "def f",
        "add a cell that runs it",
    ),
    test_no_star_imports: ([TITLE, code("from os import *")], 1, "from os import *", "one by one"),
    test_outputs_hold_no_machine_and_no_clock: (
        [TITLE, code("where()", printed("/home/ann/work"))],
        1,
        "/home/ann",
        "nbdev-test --save",
    ),
    test_outputs_hold_no_error: (
        [TITLE, code("spark", printed("26/01/01 WARN Utils: no", "stderr"))],
        1,
        "spark",
        "nbdev-test --save",
    ),
    test_begins_with_a_title_and_a_sentence: ([markdown("# Broken")], 0, "first cell", "> one sentence"),
    test_has_no_absolute_path_of_this_clone: (
        [TITLE, code(f"open('{ROOT}/README.md')")],
        1,
        "open(",
        "take the path out",
    ),
    test_a_chapter_that_exports_ends_by_exporting: (
        [TITLE, code("#| default_exp broken"), code("1 + 1")],
        None,
        "nbs/broken.ipynb",
        "nbdev.nbdev_export()",
    ),
    test_names_its_kernel: ([TITLE], None, "nbs/broken.ipynb", "for its kernel"),
    test_has_ids_and_no_leftovers: ([{**TITLE, "id": "t"}, code("  ")], 1, "", "delete the empty cell"),
}


def built(monkeypatch, cells, name="broken.ipynb"):
    "A notebook that lies nowhere"
    monkeypatch.setitem(
        CELLS, NBS / name, [Cell(NBS / name, number, raw) for number, raw in enumerate(cells)]
    )
    return NBS / name


@pytest.mark.parametrize("check", BROKEN, ids=lambda check: check.__name__)
def test_a_broken_notebook_is_caught(monkeypatch, check):
    cells, number, what, advice, *name = BROKEN[check]
    name = name[0] if name else "broken.ipynb"
    with pytest.raises(AssertionError) as caught:
        check(built(monkeypatch, cells, name))
    message = str(caught.value)
    assert f"nbs/{name}" in message and what in message and advice in message
    if number:
        assert f"nbs/{name}, cell {number}" in message


@pytest.mark.parametrize("check", BROKEN, ids=lambda check: check.__name__)
def test_a_good_notebook_passes(monkeypatch, check):
    cells = [
        TITLE,
        code("#| default_exp broken"),
        code("#| export\nimport os"),
        code("#| export\ndef f(): return os.sep"),
        code("f()", printed("'/'")),
        END,
    ]
    path = built(monkeypatch, [{**cell, "id": str(number)} for number, cell in enumerate(cells)])
    monkeypatch.setitem(LANGUAGES, path, "python")
    check(path)


def test_a_long_class_of_short_functions_passes(monkeypatch):
    methods = "".join(f"    def f{number}(self):\n        pass\n" for number in range(LINES))
    test_exported_functions_are_short(built(monkeypatch, [TITLE, code(f"#| export\nclass C:\n{methods}")]))


def test_a_good_guide_passes(monkeypatch):
    cells = [TITLE, code("1 + 1"), markdown(f"{NAMES}\n| name | file |")]
    path = built(monkeypatch, cells, "local/good.ipynb")
    test_a_guide_exports_nothing(path)
    test_a_guide_ends_with_names_to_look_up(path)


def test_each_check_of_a_notebook_has_a_broken_one():
    checks = {
        check
        for name, check in globals().items()
        if name.startswith("test_") and getattr(check, "pytestmark", [None])[0] == each_notebook.mark
    }
    assert checks == BROKEN.keys()


def test_two_equal_ids_are_caught(monkeypatch):
    with pytest.raises(
        AssertionError, match="nbs/broken.ipynb: a cell without an id of its own; save it in JupyterLab"
    ):
        test_has_ids_and_no_leftovers(built(monkeypatch, [TITLE, TITLE]))


def test_a_module_without_a_notebook_is_caught(monkeypatch, tmp_path):
    for name, text in {"by_hand": "x = 1\n", "left_over": "# AUTOGENERATED! DO NOT EDIT!\n"}.items():
        (tmp_path / "cdc_utils").mkdir(exist_ok=True)
        (tmp_path / f"cdc_utils/{name}.py").write_text(text)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    with pytest.raises(AssertionError) as caught:
        test_no_module_is_written_by_hand()
    told = str(caught.value)
    assert (
        "cdc_utils/by_hand.py is not generated: move its code to a notebook" in told
        and "cdc_utils/left_over.py has no notebook any more: delete it" in told
    )


def test_two_notebooks_of_one_module_and_one_that_no_sidebar_names_are_caught(monkeypatch):
    first, second = (
        built(monkeypatch, [TITLE, code("#| default_exp broken")], name)
        for name in ("broken.ipynb", "again.ipynb")
    )
    monkeypatch.setitem(globals(), "NOTEBOOKS", [*NOTEBOOKS, first, second])
    with pytest.raises(AssertionError, match=r"give each its own default_exp: \['broken', 'broken'\]"):
        test_two_notebooks_do_not_make_one_module()
    with pytest.raises(AssertionError, match=r"add to nbs/sidebar.yml: \['again.ipynb', 'broken.ipynb'\]"):
        test_the_sidebar_names_every_notebook()
