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
import runpy
import shutil
import sys
from pathlib import Path

from settings_ini import package_version, project_table

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, LOCAL, NAMED = ROOT / "cdc_utils", ROOT / "cdc_local", ROOT / "bundles/app/wheel.yml"
DEPLOYED = runpy.run_path(str(LOCAL / "source/deployed.py"))  # it imports nothing, so it needs no environment
deployed_name, build, EPOCH = (DEPLOYED[name] for name in ("deployed_name", "build_wheel", "EPOCH"))
TEXTS = ("README.md", "LICENSE")


def pyproject(name, description, package, **more):
    "The text of the pyproject.toml of a released package; its people, licence and Python are the project's"
    shared = ("readme", "requires-python", "license", "authors", "keywords", "classifiers")
    project = {"name": name, "version": package_version(ROOT), "description": description}
    project |= {key: project_table()[key] for key in shared} | more
    lines = [f"{key} = {toml(value)}" for key, value in project.items()]
    return "\n".join(
        (
            *DEPLOYED["PYPROJECT"].partition("[project]")[:2],
            *lines,
            "[tool.setuptools.packages.find]",
            f'include = ["{package}*"]',
            "[tool.setuptools.package-data]",
            '"*" = ["*.json", "templates/*", "static/*"]\n',
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
    lay_out = None
    for option, other in (("--whole", lay_out_whole), ("--local", lay_out_local)):
        if arguments[:1] == [option]:
            arguments, lay_out = arguments[1:], other
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    made = build(arguments[0], lay_out) if lay_out else build(arguments[0])
    print(made.relative_to(Path.cwd()) if made.is_relative_to(Path.cwd()) else made)


if __name__ == "__main__":
    main(sys.argv[1:])
