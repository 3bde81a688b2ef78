"""settings.ini from pyproject.toml. nbdev 3 reads [tool.nbdev] in pyproject.toml and ignores settings.ini;
nbdev 2 reads only the latter."""

import ast
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]


def package_version(root):
    "The version that cdc_utils/__init__.py states"
    for node in ast.parse((root / "cdc_utils/__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__version__":
            return ast.literal_eval(node.value)
    raise SystemExit("cdc_utils/__init__.py states no __version__")


def project_table(root=ROOT):
    "The table `project` of pyproject.toml"
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def settings_ini(root=ROOT):
    "The text of settings.ini"
    meta = tomllib.loads((root / "pyproject.toml").read_text())
    project, nbdev, author = meta["project"], meta["tool"]["nbdev"], meta["project"]["authors"][0]
    repository = project["urls"]["Repository"]
    user, repo = urlsplit(repository).path.strip("/").rsplit("/", 1)
    extra = project["optional-dependencies"]["local"]
    values = {
        "repo": repo,
        "user": user,
        "branch": "main",
        "git_url": repository,
        "lib_name": project["name"],
        "version": package_version(root),
        "description": project["description"],
        "author": author["name"],
        "author_email": author["email"],
        "license": "apache2",
        "min_python": project["requires-python"].removeprefix(">="),
        "keywords": " ".join(project["keywords"]),
        "requirements": " ".join(project["dependencies"]),
        "dev_requirements": " ".join(extra),
        "console_scripts": " ".join(f"{name}={target}" for name, target in project["scripts"].items()),
        **{
            key: nbdev[key]
            for key in (
                "title",
                "lib_path",
                "nbs_path",
                "doc_path",
                "tst_flags",
                "custom_sidebar",
                "jupyter_hooks",
            )
        },
        "recursive": True,
    }
    lines = [f"{key} = {value}".replace("%", "%%") for key, value in values.items()]
    return (
        "# Generated from pyproject.toml by `make export`, for nbdev 2; "
        "nbdev 3 reads [tool.nbdev] in pyproject.toml.\n[DEFAULT]\n" + "\n".join(lines) + "\n"
    )


if __name__ == "__main__":
    (ROOT / "settings.ini").write_text(settings_ini())
