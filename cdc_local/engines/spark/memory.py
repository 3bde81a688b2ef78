"""How much memory the Java of a session gets, which is fixed when it starts."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cdc_local.errors import UsageError

MEMORY_VARIABLE = "CDC_MEMORY"  # Environment variable: what `--memory` says, for a command and what it starts
MEMORY_SETTING = "spark.driver.memory"  # What Spark calls it

_MIB, _GIB = 2**20, 2**30
_LEAST = 512 * _MIB  # Spark does not start with less than 450 MiB
_DEFAULT_RANGE = (2 * _GIB, 16 * _GIB)  # Bounds of a quarter of the machine's memory
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def parse_memory(
    text: str,  # As typed: a number with m (MiB) or g (GiB), e.g. 4g
) -> int:  # Bytes
    "Read a size of memory; `UsageError` for what is no size, and for less than Spark needs."
    found = re.fullmatch(r"(\d+)\s*([mg])(?:i?b)?", text.strip(), re.I)
    if found is None:
        raise UsageError(f"--memory {text!r} is not a size", hint="write e.g. --memory 4g, or 3500m")
    size = int(found[1]) * (_GIB if found[2].lower() == "g" else _MIB)
    if size < _LEAST:
        raise UsageError(
            f"--memory {text!r} is too little: Spark needs 512m", hint="2g is enough for a small pipeline"
        )
    return size


def machine_memory() -> int:  # Bytes
    "The memory of this machine, or of the container that this process runs in."
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # no such file, or `max`: there is no limit
            sizes.append(int(Path(file).read_text()))
    return min(sizes)


def choose_memory(
    environ: Mapping[str, str] | None = None,  # Environment variables; those of this process by default
) -> str:  # As Spark and Java write it, e.g. 6016m
    """Choose the memory of a session: what `--memory` or CDC_MEMORY says, else a quarter of the machine's,
    between 2 and 16 GiB; `UsageError` for a value that is no size."""
    given = (os.environ if environ is None else environ).get(MEMORY_VARIABLE)
    if given:
        return f"{parse_memory(given) // _MIB}m"
    least, most = _DEFAULT_RANGE
    return f"{min(max(machine_memory() // 4, least), most) // _MIB}m"


def describe_memory(
    setting: str,  # Of `spark.driver.memory`, e.g. 6016m
) -> str:  # For a reader, e.g. 5.9 GB
    "Write a size of memory as a person does."
    return f"{parse_memory(setting) / _GIB:.1f}".removesuffix(".0") + " GB"
