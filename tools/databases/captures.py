"""What captures a database's changes while the proof runs, each as a process that may be killed."""

import json
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path

from database import Database, kill_process
from feeds import TABLES

HERE = Path(__file__).resolve().parent
PATIENCE = 180  # Seconds that a capture has to catch up
NO_JARS = Path("/dev/null")  # Where the engine is the wheel's
MARIADB = "3.5.0.Final"  # The newest connector for MariaDB on Maven Central, which the wheel lacks
ENGINE = ("debezium-connector-mariadb", "debezium-embedded", "debezium-storage-file")


class Capture(ABC):
    "A process that writes a database's changes into files."

    def __init__(self, database: Database, folder: Path):
        self.database, self.folder, self.landing = database, folder, folder / "landing"
        self.log = folder / "capture.log"
        self.process: subprocess.Popen | None = None

    @abstractmethod
    def command(self) -> list[str]:
        "The command of the process."

    @abstractmethod
    def shows(self, stop: int, text: str) -> bool:
        "Whether a file tells of a row that was inserted into `stops`."

    def start(self) -> None:
        "Start the process where its last run stopped."
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)

    def end(self) -> None:
        "Kill the process."
        if self.process is not None:
            kill_process(self.process)

    def wait_for(self, stop: int) -> None:
        "Wait until the changes before a stop have landed."
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            newest = sorted(self.stops().glob("*.json"))[-50:]
            if any(self.shows(stop, path.read_text()) for path in newest):
                return
            if self.process is None or self.process.poll() is not None:
                raise SystemExit(f"the capture has ended: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)
        raise SystemExit(
            f"the capture has not sent stop {stop} in {PATIENCE} s: {self.log.read_text()[-2000:]}"
        )

    @abstractmethod
    def stops(self) -> Path:
        "The folder in which the rows of `stops` land."


class Debezium(Capture):
    "Debezium's engine, which first takes a snapshot."

    def command(self) -> list[str]:
        "The command of the engine."
        state = self.folder / "state"
        state.mkdir(exist_ok=True)
        settings = [f"{name}={value}" for name, value in self.database.debezium().items()]
        jars = engine_jars() if self.database.needs_own_engine else NO_JARS
        script = str(HERE / "capture_debezium.py")
        return [sys.executable, script, str(self.landing), str(state), str(jars), *settings]

    def shows(self, stop: int, text: str) -> bool:
        "Whether a file tells of a row that was inserted into `stops`."
        return f'"after":{{"id":{stop}}}' in text

    def stops(self) -> Path:
        "The folder in which the rows of `stops` land."
        return self.landing / "stops"


class Wal2json(Capture):
    "What a slot holds, read with SQL."

    version = "2"

    def command(self) -> list[str]:
        "The command of the reader."
        tables = ",".join(f"public.{table}" for table in (*TABLES, "stops"))
        script, address = str(HERE / "capture_wal2json.py"), json.dumps(self.database.address)
        return [sys.executable, script, str(self.stops()), self.version, tables, address]

    def shows(self, stop: int, text: str) -> bool:
        "Whether a file tells of a row that was inserted into `stops`."
        return any('"stops"' in line and stop in find_numbers(json.loads(line)) for line in text.splitlines())

    def stops(self) -> Path:
        "The folder in which the rows of all tables land."
        return self.landing / "all"


class Wal2json1(Wal2json):
    "The same in format 1, an object a transaction."

    version = "1"


def find_numbers(line: dict) -> list[int]:
    "The ids that a line of wal2json brings into `stops`."
    if line.get("table") == "stops":
        return [column["value"] for column in line["columns"]]
    return [
        value for each in line.get("change", ()) if each["table"] == "stops" for value in each["columnvalues"]
    ]


def engine_pom() -> str:  # A Maven project
    "A pom whose one job is to copy Debezium's engine with its connector for MariaDB."
    wanted = "".join(
        f"<dependency><groupId>io.debezium</groupId><artifactId>{name}</artifactId><version>{MARIADB}</version></dependency>"
        for name in ENGINE
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>local</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{wanted}</dependencies></project>"
    )


def engine_jars() -> Path:  # Folder with the jars
    "Fetch an engine that knows MariaDB, once; the wheel has no connector for it."
    folder = Path(sys.prefix).parent / ".cache" / f"debezium-{MARIADB}"
    if folder.is_dir():
        return folder
    print(f"fetching Debezium {MARIADB} with mvn into {folder}, once", flush=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        Path(work, "pom.xml").write_text(engine_pom())
        copy = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"]
        done = subprocess.run(copy, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"mvn could not fetch Debezium {MARIADB}: {done.stdout.strip()[-500:]}")
        Path(work, "jars").rename(folder)
    return folder
