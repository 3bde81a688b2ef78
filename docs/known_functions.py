"""The page of what is known of functions on both engines, made from the list that the runner asks."""

import json
import re
from collections import defaultdict

import reference

LIST = reference.LOCAL / "engines/known/functions.json"

NOT_NAMED = "who answers depends on the order of rows, on the moment or on a constant that was not asked"
# Beginning of what the list says of a call -> the group that it is in
GROUPS = {
    r".*can't be read": "a value that Python can't read, so that answers were not compared",
    r".*Spark raises": "Sail answers where Spark raises, as for an overflow",
    r".*Spark gives (?!null|true|false)[a-z]": "Sail gives another type",
    r"": "Sail gives another value",
}
REFUSED = "Sail does not have it, or not with these types"
TIMED_OUT = "an engine gave no answer in time"


def name_of(call):
    return call.partition("(")[0]


def group_of(said):
    "The group of a call that differs"
    return next(group for start, group in GROUPS.items() if re.match(start, said))


def code(text):
    "Two signs around it: a name between single ones would link to a function of ours"
    return f"``{text}``" if text else ""


def codes(texts):
    return ", ".join(map(code, sorted(texts)))


def read_list():
    return json.loads(LIST.read_text(encoding="utf-8").replace("`", "'"))  # it is shown as code


def reasons(data):
    "Call that is not known -> group, and how it differs"
    found = {call: (group_of(said), said) for call, said in data["differs"].items()}
    found |= {call: (REFUSED, "") for call in data["refused"]}
    return found | {call: (TIMED_OUT, "") for call in data["timed out"]}


def is_function(name):
    "Whether a name is a function's, not that of an operator, a clause or a window"
    return re.fullmatch(r"[a-z]\w*", name) is not None


def unknown_functions(data, known):
    "Group -> functions that are known for no types, each with how the first of its calls differs"
    first = dict.fromkeys(filter(is_function, data["asked"]), (NOT_NAMED, ""))
    for call, reason in reversed(reasons(data).items()):
        first[name_of(call)] = reason
    found = defaultdict(dict)
    for name, (group, said) in first.items():
        if is_function(name) and name not in known:
            found[group][name] = said
    return found


def group_table(data, known):
    "Functions that are left to Spark, by reason"
    rows = [
        (
            group,
            codes(names),
            code(next(filter(None, names.values()), None)),
        )
        for group, names in sorted(unknown_functions(data, known).items(), key=lambda row: -len(row[1]))
    ]
    return reference.table(("why", "functions", "an example"), rows)


def part_table(data, known):
    "Functions and operators that are known for some types: which ones, and what is left to Spark"
    left = defaultdict(lambda: defaultdict(list))
    for call, (group, _) in reasons(data).items():
        if name_of(call) in known:
            left[name_of(call)][group].append(call)
    rows = [
        (codes(known[name]), "; ".join(f"{group}: {codes(calls)}" for group, calls in groups.items()))
        for name, groups in sorted(left.items())
    ]
    return reference.table(("known", "left to Spark"), rows)


def functions_page():
    "What is known of each function"
    data, known = read_list(), defaultdict(list)
    for call in (*data["same"], *data["raises"], *data["patterns"]):
        known[name_of(call)].append(call)
    whole = sorted(set(known) - {name_of(call) for call in reasons(data)})
    functions = [name for name in known if is_function(name)]
    return "\n\n".join(
        [
            "# Functions on both engines",
            f"*{len(functions)} functions of Spark are known to give the same on Sail, for some types at "
            f"least: what both engines ({data['engine']}, {data['compared_with']}) were asked and "
            "answered. An update on `auto` runs on Sail where all its calls are known. "
            "[Who computes](local/engines.ipynb) says how to read a call. A function that is not on this "
            "page was not asked yet, and is left to Spark.*",
            "## Left to Spark",
            "Functions that are known for no types.",
            group_table(data, known),
            "## Known for some types",
            part_table(data, known),
            "## Known in all that was asked",
            reference.table(
                ("function", "calls"),
                [(code(name), codes(known[name])) for name in whole],
            ),
            "## Raises on Sail for some values",
            "Spark gives an answer there. The update runs on Spark then, and says so.",
            reference.table(
                ("call", "an example"),
                [(code(call), code(said)) for call, said in data["raises"].items()],
            ),
        ]
    )
