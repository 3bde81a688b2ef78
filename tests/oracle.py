"""What AUTO CDC's tables are, in plain Python, and random stories to try it on.

It shares no code with the project: a story is replayed event by event. Events are
(story, id, name, city, points, op, at, writes); the number of the story is the first key column,
so that hundreds of stories share a frame, an update, a Spark job. `writes` lists the columns
that an event writes, for tables with `columns_to_update`; others do without it. Of bitemporal tables, events
have one value more: when they were heard of.
"""

from collections import defaultdict

KEYS = ["story", "id"]
COLUMNS = [*KEYS, "name", "city", "points"]
SCHEMA = "story int, id string, name string, city string, points int, op string, at int, writes array<string>"
DELETE, TRUNCATE = "op = 'D'", "op = 'T'"
TRACKINGS = [None, ["name"], ["name", "points"], []]


def rank(event, listed):
    "Of events with one sequence the greatest rank wins: upserts, then columns left to right, None lowest."
    told = [*event[2:5], event[7]] if listed else event[2:5]
    return (
        event[5] != "D",
        *[(value is not None, value) if value is not None else (False,) for value in told],
    )


def says(event, name, unsaid, listed):
    "Whether an event says what a column is, or leaves it as it was."
    if listed:
        return event[7] is None or name in event[7]
    return event[COLUMNS.index(name)] is not None or name not in unsaid


def since_truncate(events):
    "What is left of the events: nothing older than the newest truncate."
    emptied = max((event[6] for event in events if event[5] == "T"), default=None)
    return [event for event in events if event[5] != "T" and (emptied is None or event[6] >= emptied)]


def replay(events, tracked, unsaid=(), listed=False):
    "Return (current rows, history rows) of all events, one event at a time in the order of `at`."
    events, tracked = (
        since_truncate(list(events)),
        [2, 3, 4] if tracked is None else [COLUMNS.index(name) for name in tracked],
    )
    winners = defaultdict(dict)
    for event in events:
        same = winners[event[:2]]
        if event[6] not in same or rank(event, listed) > rank(same[event[6]], listed):
            same[event[6]] = event
    current, history = [], []
    for key, by_sequence in winners.items():
        open_row, life = None, [None] * 3
        for at in sorted(by_sequence):
            event = by_sequence[at]
            values = [event[i] if says(event, COLUMNS[i], unsaid, listed) else life[i - 2] for i in (2, 3, 4)]
            life = [None] * 3 if event[5] == "D" else values
            if event[5] == "D":
                if open_row:
                    history.append((*key, *open_row[0], open_row[1], at))
                open_row = None
            elif open_row is None:
                open_row = [values, at]
            elif any(open_row[0][i - 2] != values[i - 2] for i in tracked):
                history.append((*key, *open_row[0], open_row[1], at))
                open_row = [values, at]
            else:
                open_row[0] = values  # tracked values are equal, the others are updated in place
        if open_row:
            history.append((*key, *open_row[0], open_row[1], None))
            current.append((*key, *open_row[0]))
    return current, history


def known_best(events, unsaid):
    "Of events with one business time, what is held true: the newest heard of, completed by those before it."
    best = None
    for heard in sorted({event[8] for event in events}):
        told = max((event for event in events if event[8] == heard), key=lambda event: rank(event, False))
        if best is not None and "D" not in (best[5], told[5]):
            values = [
                told[place] if says(told, COLUMNS[place], unsaid, False) else best[place]
                for place in (2, 3, 4)
            ]
            told = (*told[:2], *values, *told[5:])
        best = told
    return best


def replay_bitemporal(events, tracked, unsaid=()):
    "Return the rows of a bitemporal table: at each moment of hearing the history of what was known then."
    by_key, rows = defaultdict(list), []
    for event in events:
        by_key[event[:2]].append(event)
    for mine in by_key.values():
        held = {}  # row of the history -> since when it is held true
        for moment in sorted({event[8] for event in mine}):
            by_time = defaultdict(list)
            for event in mine:
                if event[8] <= moment:
                    by_time[event[6]].append(event)
            standing = [known_best(told, unsaid) for told in by_time.values()]
            now = set(replay(standing, tracked, unsaid)[1])
            rows += [(*row, held.pop(row), moment) for row in set(held) - now]
            held |= {row: moment for row in now - set(held)}
        rows += [(*row, since, None) for row, since in held.items()]
    return rows


def heard_late(choose, story):
    "The events of a story, each with when it was heard of: late, together with others, a second time."
    heard = [(*event, event[6] + choose.randint(0, 6)) for event in story]
    return heard + [(*event[:8], event[8] + choose.randint(1, 6)) for event in heard if choose.random() < 0.1]


def random_story(choose, number):
    "Up to nine events of one or two keys: a fifth deletes, a quarter of values NULL, duplicates and ties."

    def value(*options):
        return None if choose.random() < 0.25 else choose.choice(options)

    def writes():
        return value(*[choose.sample(COLUMNS[2:], many) for many in (0, 1, 2)])

    events = []
    for _ in range(choose.randint(1, 9)):
        op = "D" if choose.random() < 0.2 else choose.choice("IU")
        values = value("a", "b"), value("p", "q", "r"), value(1, 2)
        events.append((number, choose.choice("xxy"), *values, op, choose.randint(1, 12), writes()))
    for event in list(events):
        if choose.random() < 0.15:
            events.append(event)
        if choose.random() < 0.08:
            events.append(
                (
                    *event[:2],
                    value("a", "b"),
                    value("p", "q"),
                    value(1, 2),
                    choose.choice("UD"),
                    event[6],
                    writes(),
                )
            )
    choose.shuffle(events)
    return events


def by_story(rows):
    found = defaultdict(list)
    for row in rows:
        found[row[0]].append(tuple(row))
    return {story: sorted(mine, key=repr) for story, mine in found.items()}


def assert_same(stories, expected, got, what):
    "Compare story by story, and show the shortest story that differs."
    expected, got = by_story(expected), by_story(got)
    wrong = [story for story in stories if expected.get(story[0][0]) != got.get(story[0][0])]
    if not wrong:
        return
    story = min(wrong, key=len)
    raise AssertionError(
        f"{what}: {len(wrong)} of {len(stories)} stories differ; the shortest, as it arrived:\n  "
        + "\n  ".join(map(str, story))
        + f"\nexpected {expected.get(story[0][0])}\ngot      {got.get(story[0][0])}"
    )
