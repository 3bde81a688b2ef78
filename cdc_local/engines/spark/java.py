"""Java: found, started, ended with what started it."""

import atexit
import math
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Thread
from threading import enumerate as threads

from cdc_local.engines.spark.jars import DELTA_VERSION
from cdc_local.engines.spark.memory import choose_memory, describe_memory, parse_memory
from cdc_local.errors import JavaMissingError

JAVA_REQUIRED = 17  # Spark 4.2 runs on Java 17 and newer

INSTALL_JAVA = (
    "install one (Debian, Ubuntu, WSL: apt-get install openjdk-17-jre-headless; macOS: brew install "
    "openjdk@17) or point JAVA_HOME at it"
)


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
        looked = f"JAVA_HOME is {home}, which has no bin/java" if home else "none is on the PATH"
        raise JavaMissingError(f"Spark needs Java {JAVA_REQUIRED} or newer, and {looked}", hint=INSTALL_JAVA)
    found = java_version(subprocess.run([java, "-version"], capture_output=True, text=True).stderr)
    if found < JAVA_REQUIRED:
        raise JavaMissingError(
            f"Spark needs Java {JAVA_REQUIRED} or newer; {java} is version {found or 'unknown'}",
            hint=INSTALL_JAVA,
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
    """Stop what runs in the JVM, tell it that nobody needs it any more, and see it end.

    Ctrl-C ends the waiting: the JVM tidies up by itself, as soon as its standard input is closed.
    """
    from py4j.protocol import Py4JError
    from pyspark import SparkContext

    try:
        context = SparkContext._active_spark_context
        with suppress(Py4JError):  # Ctrl-C broke the connection; the JVM stops Spark as it ends
            if context and java.poll() is None:
                context.stop()  # its Python side first: that would complain of a JVM that went away
        _stop_releasing_objects()
    except KeyboardInterrupt:
        pass
    try:
        if java.stdin:
            java.stdin.close()
        java.wait(JAVA_GRACE)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        pass  # it ends by itself, later


def _stop_releasing_objects() -> None:
    """End py4j's thread that tells the JVM which objects nobody needs any more.

    It would go on while the JVM ends, and log a connection that breaks in the middle of a question.
    """
    from py4j.clientserver import SHUTDOWN_FINALIZER_WORKER, FinalizerWorker

    for thread in threads():
        if isinstance(thread, FinalizerWorker):
            thread.deque.append(SHUTDOWN_FINALIZER_WORKER)  # it takes the newest entry next
            thread.join(JAVA_GRACE)


def await_java_end(
    java: subprocess.Popen[bytes] | None,  # The JVM; None where another process started it
) -> None:
    "Take note of the JVM's end as soon as it comes; it comes with this process's own at the latest."
    if java is None or (name := f"java {java.pid} ends") in {thread.name for thread in threads()}:
        return
    Thread(target=java.wait, name=name, daemon=True).start()
    atexit.register(end_java, java)


_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|Java heap space|GC overhead limit|Not enough memory to build and broadcast"
    r"|UNABLE_TO_ACQUIRE_MEMORY|Cannot reserve enough memory"
)
_STATUS_OUT_OF_MEMORY = 52  # What Spark's Java ends with where a task had no memory left
_SECONDS_TO_DIE = 5.0  # A connection breaks before its process has ended


def describe_java_end(
    messages: Sequence[str],  # Of an exception and its causes
    is_connection_error: bool,  # Whether one of them says that the JVM does not answer
) -> str | None:  # A sentence; None where the JVM is well
    "Say that the JVM had too little memory, or that it has ended."
    if any(_OUT_OF_MEMORY.search(message) for message in messages):
        return _describe_memory_shortage()
    status = _exit_status(_SECONDS_TO_DIE if is_connection_error else 0)
    if status is None:
        return None
    if status == _STATUS_OUT_OF_MEMORY:
        return _describe_memory_shortage()
    if status == -signal.SIGKILL:
        return (
            f"Spark's Java was killed, as a machine that runs out of memory does; it had "
            f"{describe_memory(choose_memory())}: give it less by --memory, or end other programs"
        )
    return f"Spark's Java has ended (exit status {status}); the storage's logs/spark.log says why"


def _describe_memory_shortage() -> str:
    "Say how much memory Java has, and how it gets more."
    memory = choose_memory()
    twice = describe_memory(f"{2 * parse_memory(memory) // 2**20}m").replace(" GB", "")
    return (
        f"Spark's Java ran out of memory, it has {describe_memory(memory)}; "
        f"give it more by --memory, e.g. --memory {math.ceil(float(twice))}g"
    )


def is_java_running() -> bool:
    "Whether the JVM of this process still answers, as far as one can see from outside."
    return _exit_status(0) is None


def _exit_status(
    seconds: float,  # How long to wait for its end
) -> int | None:  # None while it runs, and where another process started it
    "The exit status of the JVM of this process."
    from pyspark import SparkContext

    java = getattr(SparkContext._gateway, "proc", None)
    if java is None:
        return None
    with suppress(subprocess.TimeoutExpired):
        return int(java.wait(seconds)) if seconds else java.poll()
    return None
