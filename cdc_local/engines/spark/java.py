"""Java: found, started, ended with what started it."""

import atexit
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Thread
from threading import enumerate as threads

from cdc_local.engines.spark.jars import DELTA_VERSION
from cdc_local.errors import UsageError

JAVA_REQUIRED = 17  # Spark 4.2 runs on Java 17 and newer


def java_version(
    text: str,  # What `java -version` printed
) -> int:  # The major version, 0 where none is named
    "Read the major version out of `java -version`."
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found[1]) if found else 0


def find_java(
    environ: Mapping[str, str] | None = None,  # Environment variables; those of this process by default
) -> str:  # Path of a `java` that Spark can run on
    "Find Java by JAVA_HOME, then by PATH; `UsageError` says what to install."
    environ = os.environ if environ is None else environ
    home = environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java", path=environ.get("PATH"))
    if java is None or not Path(java).exists():
        raise UsageError(
            f"Spark needs Java {JAVA_REQUIRED} or newer, and none was found",
            hint="install one (Debian: apt-get install openjdk-17-jre-headless) or point JAVA_HOME at it",
        )
    found = java_version(subprocess.run([java, "-version"], capture_output=True, text=True).stderr)
    if found < JAVA_REQUIRED:
        raise UsageError(
            f"Spark needs Java {JAVA_REQUIRED} or newer; {java} is version {found or 'unknown'}",
            hint="install a newer one or point JAVA_HOME at it",
        )
    return java


def class_archive_path(
    folder: Path,  # Folder of the jars
    java: str,  # The `java` that runs Spark
) -> Path:  # A file, there or not
    """Where the archive of Spark's classes is kept: one for each Java, Spark and place of Spark, since it
    fits no other."""
    import pyspark

    identity = (
        f"{os.path.realpath(java)} {pyspark.__version__} {Path(pyspark.__file__).parent} {DELTA_VERSION}"
    )
    return folder / f"classes-{sha256(identity.encode()).hexdigest()[:12]}.jsa"


def class_archive_options(
    archive: Path,  # Perhaps there
) -> str:  # Options for Java, beginning with a space, or nothing
    """Options that let a session use the archive; quiet, since Java would tell of one that does not fit on
    standard output."""
    return (
        f" -Xlog:disable -Xshare:auto -XX:SharedArchiveFile={archive}"
        if archive.exists() and " " not in str(archive)
        else ""
    )


JAVA_GRACE = 15  # Seconds that the JVM gets to tidy up


def end_java(
    java: subprocess.Popen[bytes],  # The JVM, which listens on its standard input
) -> None:
    "Stop what runs in the JVM, tell it that nobody needs it any more, and see it end."
    from py4j.protocol import Py4JError
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    with suppress(Py4JError):  # Ctrl-C broke the connection; the JVM stops Spark as it ends
        if context and java.poll() is None:
            context.stop()  # its Python side first: that would complain of a JVM that went away
    if java.stdin:
        java.stdin.close()
    with suppress(subprocess.TimeoutExpired):  # it ends by itself, later
        java.wait(JAVA_GRACE)


def await_java_end(
    java: subprocess.Popen[bytes] | None,  # The JVM; None where another process started it
) -> None:
    "Take note of the JVM's end as soon as it comes; it comes with this process's own at the latest."
    if java is None or (name := f"java {java.pid} ends") in {thread.name for thread in threads()}:
        return
    Thread(target=java.wait, name=name, daemon=True).start()
    atexit.register(end_java, java)
