"""Set up this clone, once: .venv with the locked packages, and for Spark a Java and the Delta jars in
.cache/jars.

    python3 tools/setup.py [--spark]

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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV, CACHE = ROOT / ".venv", ROOT / ".cache"
BIN, STAMPS = VENV / "bin", CACHE / "setup.json"
CHECK = "import sys; sys.exit(sys.version_info < (3, 11))"
UV_LOCK, LOCK = ROOT / "tools/uv.lock", ROOT / "requirements.lock"
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


def install_packages():
    run(
        BIN / "uv",
        "pip",
        "install",
        "--python",
        BIN / "python",
        "--require-hashes",
        "-r",
        LOCK,
        env=uv_environment(),
        what="the install of requirements.lock",
    )


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
    for command in BIN.glob(
        "nbdev-*"
    ):  # nbdev 3 spells its commands with hyphens; many fingers know nbdev_export
        link = BIN / command.name.replace("-", "_")
        if not link.exists():
            link.symlink_to(command.name)


def check_java():
    from cdc_local.engines.spark.java import find_java
    from cdc_local.errors import UsageError

    try:
        find_java()
    except UsageError as error:
        sys.exit(f"set-up: {error}")


def jars_missing():
    from cdc_local.engines.spark.jars import DELTA_JARS, DELTA_VERSION

    return not all((CACHE / "jars" / f"{jar}-{DELTA_VERSION}.jar").exists() for jar in DELTA_JARS)


def start_jars():
    "Fetch the Delta jars in a process beside the install of the packages"
    fetch = (
        "from pathlib import Path; from cdc_local.engines.spark.jars import fetch_jars; "
        "fetch_jars(Path('.cache/jars'))"
    )
    return subprocess.Popen(
        [BIN / "python", "-c", fetch],
        cwd=ROOT,
        env=ENV,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def await_jars(process):
    said = process.communicate()[1].strip().splitlines()
    if process.returncode:
        sys.exit(f"set-up: the Delta jars could not be fetched: {said[-1] if said else process.returncode}")


def make_archive():
    run(
        BIN / "python",
        "-c",
        "from pathlib import Path; from cdc_local.engines.spark.session import make_class_archive; "
        "make_class_archive(Path('.cache/jars'))",
        what="the archive of Spark's classes",
    )


STEPS = [
    ("a virtual environment in .venv", "venv", digest(str(ROOT)), make_venv),
    ("uv, pinned in tools/uv.lock", "uv", digest(UV_LOCK), install_uv),
    (
        "the packages of requirements.lock; some hundred MB the first time",
        "packages",
        digest(LOCK),
        install_packages,
    ),
    (
        "this project, editable, and nbdev's commands with underscores",
        "project",
        digest(ROOT / "pyproject.toml"),
        install_project,
    ),
]
CLASSES = (
    "an archive of Spark's classes, for faster starts",
    "classes",
    digest(LOCK, str(ROOT), os.environ.get("JAVA_HOME", ""), shutil.which("java") or ""),
    make_archive,
)
JAVA = ("Java", "java", digest(os.environ.get("JAVA_HOME", ""), shutil.which("java") or ""), check_java)


def to_do(spark):
    known = stamps()
    return [
        step
        for step in ([JAVA] if spark else []) + STEPS + ([CLASSES] if spark else [])
        if known.get(step[1]) != step[2]
    ]


def set_up(spark):
    began, fetching = time.monotonic(), None
    STAMPS.write_text(json.dumps(stamps()))
    for title, name, wanted, do in to_do(spark):
        if name == "classes":
            ensure_jars(fetching)
        started = time.monotonic()
        print(f"set-up: {title}", flush=True)
        do()
        STAMPS.write_text(json.dumps({**json.loads(STAMPS.read_text()), name: wanted}, indent=1))
        print(f"set-up:   done in {time.monotonic() - started:.1f} s", flush=True)
        if name == "venv" and spark and jars_missing() and shutil.which("mvn"):
            fetching = start_jars()
    if spark:
        ensure_jars(fetching)
    print(f"set-up: ready after {time.monotonic() - began:.0f} s", flush=True)


def ensure_jars(fetching):
    "Wait for the Delta jars, or fetch those that are missing"
    if not jars_missing():
        return
    print("set-up: the Delta jars, into .cache/jars", flush=True)
    await_jars(fetching or start_jars())


def main(spark):
    sys.path.insert(0, str(ROOT))
    sys.dont_write_bytecode = True
    if not to_do(spark) and not (spark and jars_missing()):
        return
    (CACHE / "jars").mkdir(parents=True, exist_ok=True)
    with (CACHE / "setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("set-up: another set-up of this folder is running; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        set_up(spark)


if __name__ == "__main__":
    try:
        main("--spark" in sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted; run make again to go on from here")
