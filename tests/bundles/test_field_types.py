"Values of a bundle's fields in their types, as Databricks' command gives them"

from dataclasses import dataclass, field

import pytest

from cdc_local.bundles.field_types import typed_value


@dataclass
class Task:
    "A structure with a list, a mapping, a structure and a field that may be missing"

    names: list[str] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    retries: int | None = None
    inner: "Task | None" = None


@pytest.mark.parametrize(
    ("expected", "value", "typed"),
    [
        (str, True, "true"),
        (str, 1.0, "1"),
        (str, 1.50, "1.5"),
        (str, 1e16, "10000000000000000"),
        (str, -0.001, "-0.001"),
        (str, 7, "7"),
        (int, "2", 2),
        (int, "-2", -2),
        (int, 60.0, 60),
        (float, "0.5", 0.5),
        (float, 3, 3.0),
        (bool, "yes", True),
        (bool, "OFF", False),
    ],
)
def test_a_value_has_the_type_of_its_field(expected, value, typed):
    made = typed_value(expected, value)
    assert (made, type(made)) == (typed, expected)


@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (int, 1.5),
        (int, "two"),
        (int, True),
        (int, "\u0662"),
        (float, "much"),
        (float, False),
        (bool, "perhaps"),
        (bool, 1),
        (str, ["a"]),
        (str, None),
        (int, "${resources.jobs.other.id}"),
        (list[str], "a"),
    ],
)
def test_a_value_that_cannot_have_it_stays_as_it_is(expected, value):
    made = typed_value(expected, value)
    assert (made, type(made)) == (value, type(value))


def test_values_inside_have_their_types():
    written = {"names": [1, True], "limits": {"a": "1"}, "inner": {"retries": "2"}, "unknown": 1.0}
    assert typed_value(Task, written) == {
        "names": ["1", "true"],
        "limits": {"a": 1},
        "inner": {"retries": 2},
        "unknown": 1.0,
    }
