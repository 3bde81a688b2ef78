"""Values that a call sends: each is checked before anything is read from it."""

from typing import Any

from cdc_local.workspace.call_error import CallError


def check_objects(
    name: str,  # What the value is called in the call
    value: Any,  # What was sent
) -> list[dict[str, Any]]:  # The same value
    "Return a list of objects; `CallError` for anything else."
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {value!r}; it must be a list of objects")


def read_names(
    body: dict[str, Any],  # Body of a call
    name: str,  # The part of it to read
) -> list[str]:  # Empty where it is missing
    "Read a list of names of tables or tasks; `CallError` for anything else."
    value = body.get(name) or []
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {value!r}; it must be a list of names")


def read_parameters(
    body: dict[str, Any],  # Body of a call
    name: str,  # The part of it to read
) -> dict[str, str]:  # Name -> value; empty where it is missing
    "Read parameters by name; `CallError` for a value that is no text, and for anything else."
    value = body.get(name) or {}
    if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
        return value
    raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {value!r}; it must be names with texts")
