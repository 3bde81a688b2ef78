"""Set up this clone, once: .venv with the locked packages, all of them or those that `cdc` runs on.

    python3 tools/setup.py           all: tests, JupyterLab and the documentation as well
    python3 tools/setup.py --run     what `cdc` runs on, and what builds the wheel
    python3 tools/setup.py --spark   all, the Delta jars, and an archive of Spark's classes for faster starts
    python3 tools/setup.py --spark --databases   beside that, Debezium's engine and clients of databases

Java is needed for the last alone, and where there is none, set-up says so and goes on. Without `--spark` a
session of Spark fetches the jars itself, when the first one starts.

Each step leaves the digest of what it was made from in .cache/setup.json, so a second call does nothing and a
changed lock installs again. A lock file keeps two calls apart. pip's own settings (pip.conf, PIP_*) hold for
uv too. Standard library only."""

import os
import shutil
import subprocess
import sys

if sys.version_info < (3, 11):  # parsed by old Pythons as well: keep the syntax plain up to here
    for name in ("python3.13", "python3.12", "python3.11", "python3.14"):
        newer = shutil.which(name)
        if newer and subprocess.call([newer, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(newer, [newer] + sys.argv)
    sys.exit(
        "Python 3.11 or newer is needed, and this is %d.%d (%s): "
        "install one, or name it: make PYTHON=/path/to/python3.11"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )

import ast
import fcntl
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV, CACHE = ROOT / ".venv", ROOT / ".cache"
BIN, STAMPS = VENV / "bin", CACHE / "setup.json"
CHECK = "import sys; sys.exit(sys.version_info < (3, 11))"
UV_LOCK, LOCK, RUN_LOCK = ROOT / "tools/uv.lock", ROOT / "requirements.lock", ROOT / "requirements-run.lock"
DATABASES_LOCK = ROOT / "tools/databases/requirements.lock"
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
MISPLACING = (
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_PYTHON",
    "PIP_CONSTRAINT",
    "PIP_REQUIREMENT",
    "UV_TARGET",
    "UV_PREFIX",
    "UV_SYSTEM_PYTHON",
    "UV_PYTHON",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
)
ENV = {key: value for key, value in os.environ.items() if key not in MISPLACING}


def digest(*parts):
    "A digest of texts and of the files that paths name"
    return hashlib.sha256(
        b"\0".join(p.read_bytes() if isinstance(p, Path) else str(p).encode() for p in parts)
    ).hexdigest()


def stamps():
    "Digests of the steps that were done; none counts without a working .venv of this very folder"
    try:
        known = json.loads(STAMPS.read_text())
    except (OSError, ValueError):
        return {}
    return known if known.get("venv") == digest(str(ROOT)) and BIN.joinpath("python").exists() else {}


def run(*command, env=ENV, what=""):
    "Run a command; its output is the progress, its failure ends the set-up with a sentence"
    if subprocess.run([str(c) for c in command], cwd=ROOT, env=env, stdin=subprocess.DEVNULL).returncode:
        sys.exit(
            f"set-up: {what or command[0]} failed, see the lines above; run make again to go on from here"
        )


def uv_environment():
    "The environment for uv: what pip is told by pip.conf and PIP_*, said in uv's words"
    listed = subprocess.run(
        [BIN / "python", "-m", "pip", "config", "list"], env=ENV, capture_output=True, text=True
    ).stdout
    told = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in ("global", "install", ":env:") and key in PIP_TO_UV:
            told[PIP_TO_UV[key]] = " ".join(ast.literal_eval(value).split())
    if "UV_FIND_LINKS" in told:
        told["UV_FIND_LINKS"] = told["UV_FIND_LINKS"].replace(" ", ",")
    if not os.access(Path.home(), os.W_OK):
        told["UV_CACHE_DIR"] = str(CACHE / "uv")
    return told | ENV


def make_venv():
    pip = BIN / "pip"
    if (
        pip.exists()
        and f"{BIN}/python" in pip.read_text().splitlines()[0]
        and not subprocess.call([BIN / "python", "-c", CHECK])
    ):
        return
    done = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(VENV)], env=ENV, capture_output=True, text=True
    )
    if done.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit(
            f"set-up: {sys.executable} cannot make a virtual environment; "
            "on Debian: apt-get install python3-venv\n" + (done.stdout + done.stderr).strip()[-400:]
        )


def install_uv():
    run(
        BIN / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
        UV_LOCK,
        what="pip install uv",
    )


def install_locked(lock):
    run(
        BIN / "uv",
        "pip",
        "install",
        "--python",
        BIN / "python",
        "--no-deps",  # a lock is complete
        "--require-hashes",
        "--config-settings-package",
        "pyspark:--build-option=--compression=stored",  # its wheel is unpacked at once: 450 MB, and no gain
        "-r",
        lock,
        env=uv_environment(),
        what=f"the install of {lock.name}",
    )


def install_run_packages():
    install_locked(RUN_LOCK)


def install_database_packages():
    install_locked(DATABASES_LOCK)


def install_all_packages():
    install_locked(LOCK)
    for command in BIN.glob("nbdev-*"):  # nbdev 3 spells them with hyphens; many fingers know nbdev_export
        link = BIN / command.name.replace("-", "_")
        if not link.exists():
            link.symlink_to(command.name)


def install_project():
    run(
        BIN / "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        BIN / "python",
        "--no-deps",
        "--no-build-isolation",
        "--offline",
        "-e",
        ROOT,
        what="the install of the project itself",
    )


def prepare_spark():
    run(
        BIN / "python",
        "-c",
        "from cdc_local.engines.spark.session import prepare_spark; prepare_spark()",
        what="the preparation of Spark",
    )


def without_java():
    "What is said of a Java that is missing or too old; nothing where there is one"
    from cdc_local.engines.spark.java import find_java
    from cdc_local.errors import UsageError

    try:
        find_java()
    except UsageError as error:
        return str(error)


@dataclass(frozen=True)
class Step:
    "One step of set-up"

    name: str
    title: str
    made_from: str  # digest
    do: Callable[[], None]
    contained_in: str = "never"  # digest of a step of the same name that does this one's work as well


ALL = Step(
    "packages", "the packages of requirements.lock; some hundred MB once", digest(LOCK), install_all_packages
)
RUN = Step(
    "packages",
    "the packages of requirements-run.lock; some hundred MB once",
    digest(RUN_LOCK),
    install_run_packages,
    ALL.made_from,
)
BEFORE = (
    Step("venv", "a virtual environment in .venv", digest(str(ROOT)), make_venv),
    Step("uv", "uv, pinned in tools/uv.lock", digest(UV_LOCK), install_uv),
)
PROJECT = Step("project", "this project, editable", digest(ROOT / "pyproject.toml"), install_project)
SPARK = Step(
    "spark",
    "the Delta jars, and an archive of Spark's classes for faster starts",
    digest(LOCK, str(ROOT), os.environ.get("JAVA_HOME"), os.environ.get("CDC_JARS"), shutil.which("java")),
    prepare_spark,
)
DATABASES = Step(
    "databases",
    "Debezium's engine and clients of databases; 200 MB once",
    digest(DATABASES_LOCK, LOCK),
    install_database_packages,
)


def to_do(words):
    "The steps that the words of the command line ask for, without those that were done"
    known = stamps()
    asked = [step for word, step in (("--spark", SPARK), ("--databases", DATABASES)) if word in words]
    steps = (*BEFORE, RUN if "--run" in words else ALL, PROJECT, *asked)
    return [step for step in steps if known.get(step.name) not in (step.made_from, step.contained_in)]


def set_up(steps):
    began = time.monotonic()
    STAMPS.write_text(json.dumps(stamps()))
    for step in steps:
        lacking = without_java() if step == SPARK else None
        if lacking:
            print(f"set-up: without Spark: {lacking}", flush=True)
            continue
        started = time.monotonic()
        print(f"set-up: {step.title}", flush=True)
        step.do()
        STAMPS.write_text(json.dumps({**json.loads(STAMPS.read_text()), step.name: step.made_from}, indent=1))
        print(f"set-up:   done in {time.monotonic() - started:.1f} s", flush=True)
    print(f"set-up: ready after {time.monotonic() - began:.0f} s", flush=True)


def main(words):
    sys.path.insert(0, str(ROOT))
    sys.dont_write_bytecode = True
    if not to_do(words):
        return
    (CACHE / "jars").mkdir(parents=True, exist_ok=True)  # sessions of this clone keep their jars here
    with (CACHE / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("set-up: another set-up of this folder is running; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        set_up(to_do(words))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted; run make again to go on from here")
