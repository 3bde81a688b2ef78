"""A call of the workspace: what it asks, and what stands behind it."""

import getpass
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cdc_local.errors import UsageError
from cdc_local.storage import Storage
from cdc_local.workspace.definitions import check_items
from cdc_local.workspace.files import CallError, Places, check_path, make_folder
from cdc_local.workspace.runs import Execution, Runs, local_execution
from cdc_local.workspace.state import State, settle_runs

log = logging.getLogger("cdc_local.workspace")


@dataclass
class Workspace:
    "Files, notes and runs behind the calls."

    storage: Storage  # The folder that stands for the workspace
    user: str  # Name of the one user
    execution: Execution = None  # What carries out runs; processes of this machine by default
    host: str = ""  # Address, for links
    limit: int = 2**30  # Bytes that an upload may have
    refuse_job_environments: bool = (
        False  # Refuse a notebook task that names an environment, as some workspaces do
    )

    def __post_init__(self):
        self.places, self.state = Places(self.storage), State(self.storage, self.user)
        self.runs = Runs(self.state, self.execution or local_execution(self.places), self.host)
        for left in (self.storage.root / "workspace" / "uploads").glob("*"):
            left.unlink()
        lost = settle_runs(self.state)
        if lost:
            log.warning("%s runs and updates of an earlier server are marked as failed", lost)
        make_folder(self.places, f"/Workspace/Users/{self.user}")
        make_folder(self.places, "/Workspace/Shared")

    @property
    def number(self) -> int:
        "A number for the workspace, which stays."
        return int.from_bytes(hashlib.sha256(str(self.storage.root).encode()).digest()[:8]) >> 12

    def declared(self, volume: str) -> bool:
        "Whether there is a volume `catalog.schema.volume`."
        return self.state.find("volumes", volume) is not None


def user_name(
    named: str | None = None,  # As it was asked for
) -> str:
    "Name of the user: the one of this machine by default."
    name = named or f"{getpass.getuser()}@localhost"
    if len(check_path(f"/Users/{name}")) != 3:
        raise UsageError(f"--user {name!r} is no name of a user", hint="write e.g. ann@example.org")
    return name


@dataclass(frozen=True)
class Call:
    "What was asked of the workspace."

    workspace: Workspace  # Who answers
    values: Mapping[str, Any]  # Parts of the path, the query and the body, by name
    body: dict = field(default_factory=dict)  # The body alone

    def text(self, name: str, default: str | None = None) -> str:
        "A text; `CallError` if it is missing and there is no default."
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {value!r}; it must be given as a text")
        return str(value)

    def flag(self, name: str) -> bool:
        "Whether it is true; false where it is missing."
        return str(self.values.get(name, "")).lower() == "true"

    def number(self, name: str, default: int | None = None) -> int:
        "A number; `CallError` if it is missing and there is no default."
        text = self.text(name, default)
        if not text.isdecimal() or not text.isascii():
            raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {text!r}; it must be a number")
        return int(text)

    def items(self, name: str) -> list[dict]:
        "A list of objects; empty where it is missing, `CallError` for anything else."
        return check_items(name, self.body.get(name) or [])

    def page(self, name: str, items: list, size: str = "max_results", default: int = 100) -> dict:
        "The part of a list that was asked for, and how to ask for the next."
        begin, many = (
            self.number("page_token", 0) or self.number("offset", 0),
            min(max(self.number(size, default) or default, 1), 1000),
        )
        more = {"next_page_token": str(begin + many)} if len(items) > begin + many else {}
        return {name: items[begin : begin + many]} | more
