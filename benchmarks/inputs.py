"""What is measured on: feeds of this project, made once into build/bench, and small batches of new events for
stored tables."""

import json
import shutil
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from uuid import UUID

from cdc_utils.feed import write_feed

SEED, PART = (
    42,
    500_000,
)
NEW = {
    "APPEND": 0.1,
    "UPDATE": 0.7,
    "DELETE": 0.1,
    "late": 0.1,
}  # of new events: new customers, changes, deletes, changes older than one stored


def folder(work, events):
    "Where a feed is kept."
    return Path(work, f"feed-{events}")


def landing(work, events):
    "A folder with the files of a feed, made if it is missing."
    done = folder(work, events)
    if done.is_dir():
        return done
    making = done.with_suffix(".part")
    shutil.rmtree(making, ignore_errors=True)
    for part, rows in enumerate([PART] * (events // PART) + [events % PART] * bool(events % PART)):
        write_feed(making / str(part), rows=rows, seed=SEED + part)
        for number, path in enumerate(sorted((making / str(part)).iterdir())):
            path.rename(making / f"customers-0001-{part * 10 + number:02d}.json")
        (making / str(part)).rmdir()
    making.rename(done)
    return done


def stored_events(feed, many, draw):
    "So many good events of a feed, from all of its files."
    files = sorted(Path(feed).iterdir())
    for path in files:
        with path.open(encoding="utf-8") as lines:
            chosen = draw.sample(list(lines), -(-many * 13 // 10 // len(files)))
        for line in chosen:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a corrupt line of the feed
            if (
                event.get("id")
                and event["operation"] in ("APPEND", "UPDATE")
                and str(event["operation_date"]).endswith("Z")
            ):
                yield event


def new_event(kind, event, place, draw):
    "An event of the next day for a customer who has one already, or is new."
    moment = datetime(2026, 1, 2) + timedelta(milliseconds=place)
    if (
        kind == "late"
    ):  # half a millisecond before an event that is stored; a feed's moments are whole milliseconds
        moment = datetime.fromisoformat(event["operation_date"].removesuffix("Z")) - timedelta(
            microseconds=500
        )
    if kind == "APPEND":
        event = event | {"id": str(UUID(int=draw.getrandbits(128), version=4))}
    if kind == "DELETE":
        event = {"id": event["id"], "firstname": None, "lastname": None, "email": None, "address": None}
    else:
        event = event | {"email": f"{draw.getrandbits(40):x}@example.org"}
    return event | {
        "operation": "UPDATE" if kind == "late" else kind,
        "operation_date": moment.isoformat(timespec="microseconds") + "Z",
    }


def new_events(folder, feed, batches, many):
    "Files of new events, one a batch; made anew each time, always the same."
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True)
    draw, kinds = Random(SEED), list(NEW)
    events = list(islice(stored_events(feed, batches * many, draw), batches * many))
    if len(events) < batches * many:
        raise ValueError(f"{feed} is too small for {batches} batches of {many:,} new events")
    draw.shuffle(events)
    chosen = draw.choices(kinds, [NEW[kind] for kind in kinds], k=len(events))
    pairs = enumerate(zip(chosen, events, strict=True))
    written = [new_event(kind, event, place, draw) for place, (kind, event) in pairs]
    paths = [Path(folder, f"new-{batch:02d}.json") for batch in range(batches)]
    for batch, path in enumerate(paths):
        path.write_text(
            "".join(json.dumps(event) + "\n" for event in written[batch::batches]), encoding="utf-8"
        )
    return paths
