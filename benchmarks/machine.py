"What it was measured on: no path, no name of a host."

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

import cdc_utils
from cdc_local.engines.spark.jars import DELTA_VERSION
from cdc_local.engines.spark.java import find_java
from cdc_local.engines.spark.memory import choose_memory


def cpu_model():
    "The processor's name, as Linux tells it."
    file = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", file.read_text(), re.M) if file.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


def java():
    "Java's own first word on its version."
    told = subprocess.run([find_java(), "-version"], capture_output=True, text=True, check=True).stderr
    return re.search(r'version "([^"]+)"', told)[1]


def cores():
    "Cores that this process may use."
    return (
        len(psutil.Process().cpu_affinity())
        if hasattr(psutil.Process, "cpu_affinity")
        else psutil.cpu_count()
    )


def facts():
    "Machine and versions."
    return {
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "cpu": cpu_model(),
        "system": platform.system(),
        "python": platform.python_version(),
        "java": java(),
        "spark": version("pyspark"),
        "delta": DELTA_VERSION,
        "duckdb": version("duckdb"),
        "cdc_utils": cdc_utils.__version__,
        "spark_driver_memory": choose_memory(),
    }
