"""The Delta jars: where they lie, how they are fetched."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cdc_local.errors import UsageError

DELTA_VERSION = "4.4.0"

DELTA_JARS = (
    "delta-spark_4.2_2.13",
    "delta-storage",
    "delta-kernel-api",
    "delta-kernel-defaults",
    "delta-kernel-unitycatalog",
)


def jar_folder(
    environ: Mapping[str, str] | None = None,  # Environment variables; those of this process by default
) -> Path:  # Folder that keeps the jars between runs
    "`CDC_JARS`, else `.cache/jars` beside this environment, else the user's cache."
    environ = os.environ if environ is None else environ
    if environ.get("CDC_JARS"):
        return Path(environ["CDC_JARS"])
    beside = Path(sys.prefix).parent / ".cache" / "jars"
    if beside.is_dir():
        return beside
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cdc_utils" / "jars"


def jar_pom() -> str:  # A Maven project
    "A pom whose one job is to copy the Delta jars."
    items = "".join(
        f"<artifactItem><groupId>io.delta</groupId><artifactId>{artifact}</artifactId><version>{DELTA_VERSION}</version></artifactItem>"
        for artifact in DELTA_JARS
    )
    return f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
<build><plugins><plugin><groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId>
<configuration><artifactItems>{items}</artifactItems></configuration></plugin></plugins></build></project>"""


def fetch_with_maven(
    folder: Path,  # Where the jars go
) -> None:
    "Fetch the Delta jars with `mvn`, which honours a company's mirror settings; `UsageError` where it fails."
    (folder / "pom.xml").write_text(jar_pom())
    done = subprocess.run(
        ["mvn", "-q", "-B", "dependency:copy", f"-DoutputDirectory={folder.resolve()}"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise UsageError(
            f"mvn could not fetch the Delta jars {DELTA_VERSION}: "
            f"{(done.stdout or done.stderr).strip()[-300:]}",
            hint="check the network, or the mirror in ~/.m2/settings.xml",
        )


RESOLVE = """import sys; from pyspark.sql import SparkSession
packages, excludes, folder = sys.argv[1:]
builder = SparkSession.builder.master('local[1]').config('spark.ui.enabled', 'false')
builder = builder.config('spark.jars.packages', packages).config('spark.jars.excludes', excludes)
builder.config('spark.jars.ivy', folder).getOrCreate().stop()"""

# What the jars depend on, and Spark has
NOT_DELTA = "org.*:*,com.*:*,io.unitycatalog:*,io.airlift:*,javax.*:*,commons-*:*"


def failure_line(
    log: str,  # What Spark's resolver printed
) -> str:  # The one line that says most
    "The line of a resolver's log that names the failure."
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if re.search(r"unresolved dependency|download failed|Server access error|RuntimeException", line)
    ]
    return (telling or lines or ["it said nothing"])[0 if telling else -1][:300]


def fetch_with_spark(
    folder: Path,  # Where the jars go
) -> None:
    "Fetch the Delta jars with the resolver that Spark has built in; `UsageError` where it fails."
    packages = ",".join(f"io.delta:{artifact}:{DELTA_VERSION}" for artifact in DELTA_JARS)
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE, packages, NOT_DELTA, str(folder.resolve())],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise UsageError(
            f"Spark could not fetch the Delta jars {DELTA_VERSION}: {failure_line(done.stderr)}",
            hint="check the network, or install Maven (mvn) and name your mirror in ~/.m2/settings.xml",
        )
    for jar in (folder / "jars").glob("io.delta_*.jar"):
        jar.rename(folder / jar.name.removeprefix("io.delta_"))


def jar_paths(
    folder: Path,  # Folder of the jars
) -> list[Path]:  # One path a jar, there or not
    "The jars that Spark needs for Delta."
    return [folder / f"{artifact}-{DELTA_VERSION}.jar" for artifact in DELTA_JARS]


def has_jars(
    folder: Path,  # Folder of the jars
) -> bool:  # Whether all are there
    "Whether a session needs to fetch nothing."
    return all(jar.exists() for jar in jar_paths(folder))


@contextmanager
def open_work_folder(
    folder: Path,  # Where the finished files go; made if it is missing
    name: str,  # Of the work; one process at a time does it
) -> Iterator[Path]:  # Deleted at the end, and by the next process if this one is killed
    "A folder for files that are not whole yet, while no other process has one of that name."
    from filelock import FileLock  # here, since set-up asks for Java before anything is installed

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{name}.lock"):
        for left in folder.glob(f".{name}-*"):
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as work:
            yield Path(work)


def fetch_jars(
    folder: Path,  # Where the jars go; made if it is missing
) -> None:
    """Fetch the Delta jars: with `mvn` where it is on the PATH, else with Spark's own resolver.

    Of processes that miss them at the same time one fetches, and the others wait for it.
    """
    print(f"Spark needs the Delta jars {DELTA_VERSION}: fetching them into {folder}, once", file=sys.stderr)
    with open_work_folder(folder, "fetch") as work:
        if has_jars(folder):
            return  # another process has fetched them
        (fetch_with_maven if shutil.which("mvn") else fetch_with_spark)(work)
        for jar in jar_paths(folder):
            Path(work, jar.name).replace(jar)


def delta_options(
    folder: Path,  # Folder of the jars
) -> dict[str, str]:  # Spark options that bring Delta
    "The jars of the folder, fetched first where one is missing."
    if not has_jars(folder):
        fetch_jars(folder)
    return {"spark.jars": ",".join(str(jar.resolve()) for jar in jar_paths(folder))}
