"The site: built offline without a warning, no dead link, every public name documented, seen in Chromium."

import ast
import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pytest
from chromium import in_chromium, start_chromium
from lxml import html
from nbdev.config import nbpath2html
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from typer.main import get_command

from cdc_local.cli.main import app
from cdc_utils import __version__

ROOT = Path(__file__).parents[1]
MADE_BY_SPHINX = {"search", "genindex", "py-modindex"}  # the theme's own pages have little text
LEAST = 300  # characters of text that a page has
SHOWN = (
    "index",
    "spec",
    "scd2",
    "pipeline",
    "benchmarks",
    "what_runs_where",
    "local/operations",
    "cdc",
    "configuration",
    "names",
    "changelog",
    "search",
)
WIDTHS, THEMES = {"wide": 1280, "phone": 390}, ("light", "dark")
SCREENSHOTS = ROOT / "build/screenshots"


def load(folder, name):
    "A module of docs/ or tools/, under its own name"
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{folder}/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference, check = load("docs", "reference"), load("tools", "check")


# What is looked for: each check takes pages and gives a list of what is wrong -----------------------------


def read(folder):
    "Path -> tree, of every page"
    return {str(path.relative_to(folder)): html.parse(path) for path in sorted(Path(folder).rglob("*.html"))}


def ids(tree):
    return {*tree.xpath("//@id"), *tree.xpath("//a/@name"), "", "top"}


def is_outside(link):
    return bool(urlsplit(link).scheme or link.startswith("//"))


def broken_links(folder, pages):
    "Links and pictures that lead to no file of the site, or to a place that its page lacks"
    known, wrong = {name: ids(tree) for name, tree in pages.items()}, []
    for name, tree in pages.items():
        for link in {*tree.xpath("//@href"), *tree.xpath("//@src")}:
            if is_outside(link):
                continue
            parts = urlsplit(link)
            target = (
                os.path.normpath(PurePosixPath(name).parent / unquote(parts.path)) if parts.path else name
            )
            if not Path(folder, target).is_file():
                wrong.append(f"{name}: {link}: no such file")
            elif target in known and unquote(parts.fragment) not in known[target]:
                wrong.append(f"{name}: {link}: no such place on that page")
    return sorted(wrong)


def loaded_from_outside(pages):
    "What a page would fetch from another host"
    return sorted(
        f"{name}: {link}"
        for name, tree in pages.items()
        for link in tree.xpath("//@src | //link[@rel='stylesheet' or @rel='preload']/@href")
        if is_outside(link) and not link.startswith("data:")
    )


def text_of(tree):
    return " ".join("".join(tree.xpath("//article//text()")).split())


def empty_pages(pages):
    return [
        f"{name}: {len(text)} characters"
        for name, tree in pages.items()
        if Path(name).with_suffix("").name not in MADE_BY_SPHINX and len(text := text_of(tree)) < LEAST
    ]


def without_entry(pages, names):
    "Public names that have no entry, or one that says nothing"
    entries = {
        name: entry
        for tree in pages.values()
        for entry in tree.xpath("//dt[contains(@class, 'sig-object')]")
        for name in entry.xpath("@id")
    }
    return [f"{name}: it has no entry" for name in names if name not in entries] + [
        f"{name}: its entry has no sentence; write a docstring"
        for name, is_data in names.items()
        if name in entries
        and not is_data
        and not "".join(entries[name].getparent().xpath("./dd[1]//text()")).strip()
    ]


def not_described(pages, commands=()):
    "Parameters without a word on what they are; a command's stand in its help, methods have a sentence"
    wrong = []
    for tree in pages.values():
        for entry in tree.xpath(
            "//dl[contains(@class, 'function') or contains(@class, 'method')]"
            "[not(ancestor::dl[contains(@class, 'class')])]/dt[@id]"
        ):
            if (name := entry.get("id")) in commands:
                continue
            said = {
                (each.text or "").lstrip("*")
                for each in entry.xpath("../dd//dl[contains(@class, 'field-list')]//strong")
            }
            said |= {
                "".join(each.itertext()) for each in entry.xpath("../dd/p//code")
            }  # docments reads no comment beside **options: a sentence tells
            taken = [
                "".join(each.xpath("./span[@class='n'][1]//text()"))
                for each in entry.xpath("./em[@class='sig-param'] | ./dl/dd/em[@class='sig-param']")
            ]
            wrong += [
                f"{name}: {parameter}"
                for parameter in taken
                if parameter and parameter not in ("self", "cls") and parameter not in said
            ]
    return wrong


# The site as it is ----------------------------------------------------------------------------------------


def public_names():
    "Full name -> whether it is a constant"
    return {
        f"{module}.{name}": name in reference.constants(module)
        for module in reference.modules()
        for name in reference.names(module)
    }


def commands():
    "Command -> what typer knows of it"

    def below(path, group):
        yield path, group
        for name, command in getattr(group, "commands", {}).items():
            yield from below(f"{path} {name}", command)

    return dict(below("cdc", get_command(app)))


def command_functions():
    return {
        f"{command.callback.__module__}.{command.callback.__name__}"
        for command in commands().values()
        if command.callback
    }


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    "The folder of the site, built as `make docs` does, with no network; SITE names one that is built already"
    if built := os.environ.get("SITE"):
        return ROOT / built
    work = tmp_path_factory.mktemp("site")
    environ = {
        **os.environ,
        "CI_PROJECT_URL": "https://gitlab.example.org/data/cdc-utils",
        **{name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")},
    }
    for command in check.docs(work):
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(work / "doctrees")
    return work / "html"


@pytest.fixture(scope="session")
def pages(site):
    return read(site)


def test_no_link_is_dead(site, pages):
    assert not broken_links(site, pages)


def test_no_page_is_empty(pages):
    assert not empty_pages(pages)


def test_nothing_comes_from_another_host(pages):
    assert not loaded_from_outside(pages)


def test_every_public_name_has_an_entry(pages):
    names = public_names()
    assert len(names) > 500
    assert not without_entry(pages, names)


def test_a_constant_shows_its_value(pages):
    entry = "".join(pages["bronze.html"].xpath("//dt[@id='cdc_utils.bronze.SOURCE_FILE']//text()"))
    assert entry.split("¶")[0].strip() == "cdc_utils.bronze.SOURCE_FILE = 'source_file'"


def test_every_parameter_is_described(pages):
    assert not not_described(pages, command_functions())


def test_every_notebook_is_in_the_sidebar_and_can_be_edited(pages):
    sidebar = {
        urlsplit(link).path
        for link in pages["index.html"].xpath("//*[contains(@class, 'sidebar-tree')]//a/@href")
    }
    notebooks = {
        path.relative_to(ROOT / "nbs")
        for path in (ROOT / "nbs").rglob("*.ipynb")
        if ".ipynb_checkpoints" not in path.parts
    }
    for notebook in notebooks:
        name = f"{nbpath2html(notebook).with_suffix('')}.html"
        assert name == "index.html" or name in sidebar, f"{notebook}: not in the sidebar"
        assert pages[name].xpath("//a[@rel='edit']/@href")[0].endswith(f"/-/edit/main/nbs/{notebook}"), (
            notebook
        )
    for name in ("cdc", "configuration", "functions", "names", "changelog"):
        edited = pages[f"{name}.html"].xpath("//a[@rel='edit']/@href")[0].split("/-/edit/main/")[1]
        assert f"{name}.html" in sidebar and (ROOT / edited).is_file(), name


MARKUP = re.compile(
    r"^\s*\d+\. |<!--.*?-->|<[^<>]+>|\]\([^()\s]*(?:\([^()]*\)[^()]*)*\)|\{[\w:.-]+\}", re.DOTALL
)
SHOWN_OTHERWISE = re.compile(
    r"`[^`]*`|@(?:fig|tbl)-[\w-]+|!\[[^\]]*\]\([^)]*\)|:::.*|\|"
)  # links, figures, fences


def only_letters(text):
    "A text without spaces, signs and marks"
    return "".join(letter for letter in text if letter.isalnum())


def missing_sentences(tree, notebook):
    "What a notebook says and its page does not, a line each"
    page, missing = only_letters("".join(tree.xpath("//article//text()"))), []
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] != "markdown":
            continue
        text = re.sub(r"^(```|~~~).*?^\1", "", "".join(cell["source"]), flags=re.DOTALL | re.MULTILINE)
        for line in text.splitlines():
            missing += [
                piece
                for piece in SHOWN_OTHERWISE.split(line)
                if (words := only_letters(MARKUP.sub("", piece))) and words not in page
            ]
    return missing


def test_every_sentence_of_a_notebook_reaches_its_page(pages):
    for path in (ROOT / "nbs").rglob("*.ipynb"):
        if ".ipynb_checkpoints" not in path.parts:
            name = f"{nbpath2html(path.relative_to(ROOT / 'nbs')).with_suffix('')}.html"
            assert not missing_sentences(pages[name], path), path


def test_every_page_tells_the_version(pages):
    for name, tree in pages.items():
        assert "".join(tree.xpath("//a[@class='sidebar-brand']//text()")).split() == [
            "cdc_utils",
            __version__,
        ], name


def test_the_changelog_is_there(pages):
    assert __version__ in [
        heading.split("¶")[0]
        for heading in (
            "".join(each.xpath(".//text()")) for each in pages["changelog.html"].xpath("//article//h2")
        )
    ]


def test_every_command_is_there_with_its_options_and_examples(pages):
    article = pages["cdc.html"].xpath("//article")[0]
    for name, command in commands().items():
        if name == "cdc":
            continue
        section = article.xpath(f".//*[@id='{name.replace(' ', '-')}']")
        assert section, f"{name}: no section"
        section = section[0] if section[0].tag == "section" else section[0].getparent()
        text = "".join(section.xpath(".//text()"))
        for parameter in command.params:
            if getattr(parameter, "hidden", False):
                continue
            for spelt in getattr(parameter, "opts", ()):
                if spelt.startswith("-"):
                    assert spelt in text, f"{name}: {spelt} is missing"
        if not hasattr(command, "commands"):
            assert "Examples" in text and section.xpath(".//pre[contains(., 'cdc ')]"), f"{name}: no example"
        assert "[bold]" not in text and "[cyan]" not in text, f"{name}: rich's markup is left"


def test_every_setting_that_the_code_reads_is_on_its_page(pages):
    said = {
        "".join(each.xpath(".//text()")) for each in pages["configuration.html"].xpath("//table//tr/td[1]")
    }
    read = {name for kind in reference.READ.values() for name in kind()}
    assert {
        "cdc.catalog",
        "cdc.schema",
        "cdc.raw_volume",
        "pipelines.reset.allowed",
        "CDC_JARS",
        "CDC_STORAGE",
        "BUNDLE_VAR_…",
    } <= read
    assert not read - said
    assert {"default_catalog", "wheel_name", "mock", "rows"} <= said


# Faults put in on purpose ---------------------------------------------------------------------------------


@pytest.fixture
def broken(site, tmp_path):
    "A small copy of the site, with a function that breaks one page of it"
    for name in ("spec.html", "search.html"):
        shutil.copy(site / name, tmp_path)
    for name in ("_static", "_modules"):
        (tmp_path / name).symlink_to(site / name)
    for name in {
        urlsplit(link).path for link in read(tmp_path)["spec.html"].xpath("//@href") if not is_outside(link)
    }:
        if name and not (tmp_path / name).exists():
            shutil.copy(site / name, tmp_path / name) if "/" not in name else None

    def broken(old, new, name="spec.html"):
        text = (site / name).read_text()
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new))
        return {name: html.parse(tmp_path / name)}

    broken.folder = tmp_path
    return broken


def test_a_broken_link_is_caught(broken):
    found = broken_links(broken.folder, broken('href="bronze.html"', 'href="brass.html"'))
    assert any("brass.html: no such file" in each for each in found)


def test_a_broken_anchor_is_caught(broken):
    found = broken_links(
        broken.folder, broken('id="cdc_utils.spec.did_you_mean"', 'id="cdc_utils.spec.did_you"')
    )
    assert any("#cdc_utils.spec.did_you_mean: no such place on that page" in each for each in found)


def test_an_undocumented_name_is_caught(broken):
    names = {name: data for name, data in public_names().items() if name.startswith("cdc_utils.spec.")}
    assert without_entry(broken('id="cdc_utils.spec.did_you_mean"', 'id="gone"'), names) == [
        "cdc_utils.spec.did_you_mean: it has no entry"
    ]
    silent = broken("<p>Guess the name that was meant.</p>", "", "spec.html")
    for each in silent["spec.html"].xpath("//dt[@id='cdc_utils.spec.did_you_mean']/../dd/dl"):
        each.getparent().remove(each)
    assert without_entry(silent, names) == [
        "cdc_utils.spec.did_you_mean: its entry has no sentence; write a docstring"
    ]


def test_a_parameter_without_a_word_is_caught(broken):
    assert not_described(broken("<strong>known</strong>", "")) == ["cdc_utils.spec.did_you_mean: known"]


def test_a_sentence_that_is_lost_is_caught(pages):
    tree = html.fromstring("<html><body><article><h1>Specs</h1></article></body></html>")
    assert missing_sentences(tree, ROOT / "nbs/00_spec.ipynb")


def test_an_empty_page_is_caught(broken):
    page = broken("CdcSpec", "CdcSpec")
    article = page["spec.html"].xpath("//article")[0]
    for each in list(article):
        article.remove(each)
    assert empty_pages(page) == ["spec.html: 0 characters"]


def test_what_comes_from_another_host_is_caught(broken):
    assert loaded_from_outside(
        broken("<head>", '<head><script src="https://cdn.example.org/x.js"></script>')
    ) == ["spec.html: https://cdn.example.org/x.js"]


def test_a_setting_that_nobody_describes_is_caught():
    trees = {
        "new": ast.parse(
            "setting(conf, 'cdc.limit', '5')\n"
            "os.environ.get('CDC_LIMIT')\nfound.get('pipelines.limit', 'none')"
        )
    }
    for kind, name in (("pipeline", "cdc.limit"), ("environment", "CDC_LIMIT"), ("table", "pipelines.limit")):
        with pytest.raises(reference.UndescribedError, match=f"{kind}: say what {name} means"):
            reference.described(kind, found=reference.READ[kind]() | dict(reference.READ[kind](trees)))
        with pytest.raises(reference.UndescribedError, match="take out"):
            reference.described(kind, found={})


# In a browser ---------------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    "The site as a web server on this machine serves it"
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=site)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


def sized(browser, width, height=900):
    "A window of this many pixels; a phone's, where it is that narrow"
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )


def errors(browser):
    return [
        entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
    ]


PICTURES = (
    "return [...document.images].filter(each => !each.complete || !each.naturalWidth).map(each => each.src)"
)
# Not compared with the window: a phone zooms out until all fits
WIDEST = "return document.documentElement.scrollWidth"


def open_page(browser, address, name):
    "Open a page, with all its pictures"
    browser.get(f"{address}/{name}")
    browser.execute_script(
        "document.querySelectorAll('img[loading=lazy]').forEach(each => each.loading = 'eager')"
    )
    WebDriverWait(browser, 20).until(
        lambda _: browser.execute_script(
            "return document.readyState == 'complete' && [...document.images].every(each => each.complete)"
        )
    )


@in_chromium
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_show_in_both_themes(browser, address, width):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    sized(browser, WIDTHS[width])
    for name in SHOWN:
        for theme in THEMES:
            browser.get(
                f"{address}/_static/pygments.css"
            )  # a page without a script, where the choice of a theme can be kept
            browser.execute_script("localStorage.setItem('theme', arguments[0])", theme)
            errors(browser)  # forgets what was said before
            open_page(browser, address, f"{name}.html" + ("?q=quarantine" if name == "search" else ""))
            browser.save_screenshot(str(SCREENSHOTS / f"{name.replace('/', '-')}-{width}-{theme}.png"))
            assert browser.execute_script("return document.body.dataset.theme") == theme
            assert not errors(browser), name
            assert not browser.execute_script(PICTURES), name
            assert browser.execute_script(WIDEST) <= WIDTHS[width], f"{name}: scrolls sideways"


@in_chromium
def test_no_page_scrolls_sideways_on_a_phone(browser, address, pages):
    sized(browser, WIDTHS["phone"])
    wrong = {}
    for name in pages:
        if name.startswith("_modules/"):
            continue
        browser.get(f"{address}/{name}")
        if (pixels := browser.execute_script(WIDEST)) > WIDTHS["phone"]:
            wrong[name] = pixels
    assert not wrong


@in_chromium
def test_search_finds_a_function(browser, address):
    browser.get(f"{address}/search.html?q=create_auto_cdc_flow")
    found = WebDriverWait(browser, 20).until(
        lambda _: browser.find_elements(By.CSS_SELECTOR, "#search-results li a")
    )
    assert any(
        urlsplit(each.get_attribute("href")).path
        in ("/pipeline.html", "/local/dataflow.html", "/rooms/dataflow.html")
        for each in found
    )
    assert not errors(browser)


@in_chromium
def test_the_theme_switch_works(browser, address):
    sized(browser, WIDTHS["wide"])
    browser.get(f"{address}/spec.html")
    browser.execute_script("localStorage.clear()")
    browser.get(f"{address}/spec.html")
    seen = {}
    for _ in range(3):
        next(
            each
            for each in browser.find_elements(By.CSS_SELECTOR, "button.theme-toggle")
            if each.is_displayed()
        ).click()
        seen[browser.execute_script("return document.body.dataset.theme")] = browser.execute_script(
            "return getComputedStyle(document.body).backgroundColor"
        )
    assert {"light", "dark"} <= seen.keys() and seen["light"] != seen["dark"]


@in_chromium
def test_what_is_wrong_in_a_browser_is_caught(browser, tmp_path):
    (tmp_path / "page.html").write_text(
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<p style='width: 900px'>wide</p><img src='gone.png'><script>throw Error('lost')</script>"
    )
    sized(browser, WIDTHS["phone"])
    errors(browser)
    open_page(browser, tmp_path.as_uri(), "page.html")
    assert (
        browser.execute_script(WIDEST) >= 900
        and browser.execute_script(PICTURES)
        and any("lost" in each for each in errors(browser))
    )
