"""What stands behind the calls: the files, notes, runs and updates of one workspace."""

import getpass
import logging
from dataclasses import dataclass

from cdc_local.errors import UsageError
from cdc_local.jobs.processes import end_lost_programs
from cdc_local.jobs.running_job import workspace_number
from cdc_local.storage import Storage
from cdc_local.workspace.background import BackgroundWork
from cdc_local.workspace.execution import Execution, local_execution, program_notes
from cdc_local.workspace.files import check_volume_path, make_folder
from cdc_local.workspace.paths import WorkspacePaths, check_path
from cdc_local.workspace.runs import Runs
from cdc_local.workspace.state import State, settle_lost_work
from cdc_local.workspace.statements import Statements
from cdc_local.workspace.updates import Updates
from cdc_local.workspace.uploads import UPLOAD_LIMIT, delete_broken_uploads
from cdc_local.workspace.warehouse import Warehouse

log = logging.getLogger(__name__)


@dataclass
class Workspace:
    "Files, notes, runs and updates behind the calls."

    storage: Storage  # The folder that stands for the workspace
    user: str  # Name of the one user
    execution: Execution | None = None  # What carries out runs; processes of this machine by default
    host: str = ""  # Address, for links
    upload_limit: int = UPLOAD_LIMIT  # Bytes that an upload may have
    refuse_job_environments: bool = False  # Whether to refuse notebook tasks that name an environment

    def __post_init__(self) -> None:
        self.paths = WorkspacePaths(self.storage)
        self.state = State(self.storage, self.user)
        self.work = BackgroundWork(self.state)
        execution = self.execution or local_execution(self.paths)
        self.updates = Updates(self.work, execution)
        self.runs = Runs(self.work, execution, self.updates, self.host)
        self.statements = Statements(Warehouse(self.storage))
        delete_broken_uploads(self.storage)
        end_lost_programs(program_notes(self.storage))
        lost = settle_lost_work(self.state)
        if lost:
            log.warning("%s runs and updates of an earlier server are marked as failed", lost)
        make_folder(self.paths, f"/Workspace/Users/{self.user}")
        make_folder(self.paths, "/Workspace/Shared")

    def close(self) -> None:
        "Stop what runs, and wait until it has ended."
        self.statements.close()
        self.work.close()

    @property
    def number(self) -> int:  # Made of the storage's path, so a restart does not change it
        "Id of the workspace."
        return workspace_number(self.storage)

    def has_volume(
        self,
        full_name: str,  # `catalog.schema.volume`
    ) -> bool:
        "Whether a volume was declared."
        return self.state.find("volumes", full_name) is not None

    def check_volume_path(
        self,
        path: str,  # A path below `/Volumes`
    ) -> str:  # In the spelling that is stored
        "Read a path of a volume; `CallError` for one outside the volumes that were declared."
        return check_volume_path(path, self.has_volume)


def read_user_name(
    name: str | None = None,  # As it was asked for
) -> str:
    "Read the name of the user, by default the one of this machine; `UsageError` for one with a slash."
    user = name or f"{getpass.getuser()}@localhost"
    if len(check_path(f"/Users/{user}")) != 3:
        raise UsageError(f"--user {user!r} is no name of a user", hint="write e.g. ann@example.org")
    return user
