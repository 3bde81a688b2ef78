"""Build wheels from clean copies of the package, offline: the same sources give the same bytes.

python tools/wheel.py FOLDER          the deployed wheel: what a pipeline or a job imports, its version ending
                                      in a hash of that
python tools/wheel.py --whole FOLDER  cdc_utils whole: its extra `local` brings cdc_local
python tools/wheel.py --local FOLDER  cdc_local: the local runner and the command `cdc`; it depends on
                                      cdc_utils
python tools/wheel.py --have FOLDER   print the deployed wheel if FOLDER has it already; status 1 if not
                                      (needs nothing but Python)
python tools/wheel.py --name          write bundles/app/wheel.yml, which names the deployed wheel (part of
                                      `make export`)"""

import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from settings_ini import package_version, project_table

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, LOCAL, NAMED = ROOT / "cdc_utils", ROOT / "cdc_local", ROOT / "bundles/app/wheel.yml"
NOT_DEPLOYED = runpy.run_path(str(LOCAL / "source/deployed.py"))["NOT_DEPLOYED"]  # they change no pipeline
TEXTS = ("README.md", "LICENSE")
EPOCH = "1577836800"  # the time that every file in a wheel gets
PYPROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "cdc-utils"
version = "{version}"
description = "Change data capture for Databricks and Spark: what its pipelines and jobs import"
requires-python = ">=3.11"
license = "Apache-2.0"

[tool.setuptools.packages.find]
include = ["cdc_utils*"]
"""


def deployed_files():
    "Path in the package -> text, of every module that is deployed"
    paths = sorted(
        path
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") not in NOT_DEPLOYED
        and "__pycache__" not in path.parts
    )
    return {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in paths}


def deployed_version():
    "The package's version, and a hash of what is deployed"
    content = "".join(f"{name}\n{len(text)}\n{text}" for name, text in deployed_files().items()) + PYPROJECT
    return f"{package_version(ROOT)}+{sha256(content.encode()).hexdigest()[:12]}"


def deployed_name():
    return f"cdc_utils-{deployed_version()}-py3-none-any.whl"


def lay_out_deployed(work):
    "A tree that holds what is deployed, and states its version"
    version = deployed_version()
    Path(work, "pyproject.toml").write_text(PYPROJECT.format(version=version))
    for name, text in deployed_files().items():
        path = Path(work, "cdc_utils", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            text.replace(f'"{package_version(ROOT)}"', f'"{version}"') if name == "__init__.py" else text,
            encoding="utf-8",
        )


def pyproject(name, description, package, **more):
    "The text of the pyproject.toml of a released package; its people, licence and Python are the project's"
    shared = ("readme", "requires-python", "license", "authors", "keywords", "classifiers")
    project = {"name": name, "version": package_version(ROOT), "description": description}
    project |= {key: project_table()[key] for key in shared} | more
    lines = [f"{key} = {toml(value)}" for key, value in project.items()]
    return "\n".join(
        (
            *PYPROJECT.partition("[project]")[:2],
            *lines,
            "[tool.setuptools.packages.find]",
            f'include = ["{package}*"]\n',
        )
    )


def toml(value):
    "A value as TOML has it"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def lay_out_package(work, package, text):
    "A tree that holds a package, without what an earlier build left"
    Path(work, "pyproject.toml").write_text(text, encoding="utf-8")
    for name in TEXTS:
        shutil.copy2(ROOT / name, work)
    shutil.copytree(package, Path(work, package.name), ignore=shutil.ignore_patterns("__pycache__"))


def lay_out_whole(work):
    "A tree that holds cdc_utils; its extra `local` brings cdc_local of the same version"
    project = project_table()
    text = pyproject(
        project["name"],
        project["description"],
        PACKAGE.name,
        **{"optional-dependencies": {"local": [f"cdc-local=={package_version(ROOT)}"]}},
    )
    lay_out_package(work, PACKAGE, text)


def lay_out_local(work):
    "A tree that holds cdc_local, the command `cdc` included"
    project = project_table()
    needs = [f"{project['name']}=={package_version(ROOT)}", *project["dependencies"]]
    text = pyproject(
        "cdc-local",
        "Lakeflow pipelines, jobs and a workspace, run on a laptop",
        LOCAL.name,
        dependencies=needs + project["optional-dependencies"]["local"],
        scripts=project["scripts"],
        **{"entry-points": {"pytest11": project["entry-points"]["pytest11"]}},
    )
    lay_out_package(work, LOCAL, text)


def build(folder, lay_out=lay_out_deployed):
    "Build in a tree of its own; the path of the wheel"
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        lay_out(work)
        command = [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(Path(work, "out")),
            work,
        ]
        done = subprocess.run(
            command, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        made = next(Path(work, "out").glob("*.whl"))
        landing = folder / f".{made.name}.tmp"
        shutil.copy2(made, landing)
        return landing.replace(folder / made.name)


def name_it():
    "Tell the bundle the name of the wheel"
    NAMED.write_text(f"""# Written by `make export`: the wheel that `make wheel` builds from this commit.
variables:
  wheel_name:
    description: Wheel in dist/ to deploy; name an older one to roll back
    default: {deployed_name()}
""")


def main(arguments):
    if arguments == ["--name"]:
        return name_it()
    if arguments[:1] == ["--have"] and len(arguments) == 2:
        there = Path(arguments[1], deployed_name())
        if not there.is_file():
            sys.exit(1)
        return print(there)
    lay_out = lay_out_deployed
    for option, other in (("--whole", lay_out_whole), ("--local", lay_out_local)):
        if arguments[:1] == [option]:
            arguments, lay_out = arguments[1:], other
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    made = build(arguments[0], lay_out)
    print(made.relative_to(Path.cwd()) if made.is_relative_to(Path.cwd()) else made)


if __name__ == "__main__":
    main(sys.argv[1:])
