"""Makes airports_snapshots.json.gz and airports_changes.json.gz from wheels of airportsdata: see README."""

import csv
import gzip
import io
import json
import sys
import zipfile
from itertools import pairwise
from pathlib import Path

COLUMNS = (
    "iata",
    "name",
    "city",
    "subd",
    "country",
    "elevation",
    "tz",
)  # values as they are in airports.csv: text, "" for unknown
UNCHANGED = (
    300  # of the airports that no release touched, how many to keep; of those with one change, twice as many
)
RELEASES = ("20230303", "20240202", "20240806", "20250224", "20250909", "20260905")  # sequence 1, 2, ...


def snapshot(wheel: Path) -> dict[str, list[str]]:
    "The airports of a release: icao to the values of COLUMNS."
    with zipfile.ZipFile(wheel) as archive, archive.open("airportsdata/airports.csv") as file:
        rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8")))
    found = {row["icao"]: [row[name] for name in COLUMNS] for row in rows}
    assert len(found) == len(rows), f"{wheel}: icao is not unique"
    return found


def times_changed(icao: str, snapshots: list[dict]) -> int:
    "In how many releases an airport appears, changes or disappears, the first release aside."
    states = [found.get(icao) for found in snapshots]
    return sum(before != after for before, after in pairwise(states))


def every(keys: list[str], count: int) -> list[str]:
    "`count` of the sorted keys, evenly spread."
    return [keys[index * len(keys) // count] for index in range(min(count, len(keys)))]


def sample(snapshots: list[dict]) -> list[str]:
    "All airports that changed twice or more, some that changed once, some that never did."
    changed = {icao: times_changed(icao, snapshots) for icao in sorted(set().union(*snapshots))}
    often = [icao for icao, times in changed.items() if times > 1]
    once = [icao for icao, times in changed.items() if times == 1]
    never = [icao for icao, times in changed.items() if times == 0]
    return sorted(often + every(once, 2 * UNCHANGED) + every(never, UNCHANGED))


def changes(keys: list[str], snapshots: list[dict]) -> list[dict]:
    "What turns each release into the next, as change events in the order of the releases."
    events, before = [], {}
    for sequence, found in enumerate(snapshots, 1):
        for icao in keys:
            old, new = before.get(icao), found.get(icao)
            if old == new:
                continue
            operation = "DELETE" if new is None else "APPEND" if old is None else "UPDATE"
            values = dict(zip(COLUMNS, new or [None] * len(COLUMNS), strict=True))
            events.append({"icao": icao, **values, "operation": operation, "sequence": sequence})
        before = found
    return events


def write(name: str, rows: list) -> None:
    "JSON lines, compressed to the same bytes every time."
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = Path(__file__).with_name(name)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path.name}: {len(rows):,} lines, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    wheels = [next(Path(sys.argv[1]).glob(f"airportsdata-{release}-*.whl")) for release in RELEASES]
    found = [snapshot(wheel) for wheel in wheels]
    keys = sample(found)
    # sorted by airport, so that rows which hardly differ lie side by side and compress well
    by_release = dict(zip(RELEASES, found, strict=True))
    rows = [
        [icao, release, *by_release[release][icao]]
        for icao in keys
        for release in RELEASES
        if icao in by_release[release]
    ]
    write("airports_snapshots.json.gz", rows)
    write("airports_changes.json.gz", changes(keys, found))
