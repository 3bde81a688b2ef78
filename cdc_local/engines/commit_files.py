"The files of a commit whose rows a change feed shows."

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class CommitFiles:
    "Files that a commit of a Delta table tells of, each as the JSON text of an `add`."

    version: int
    milliseconds: int  # When it was made, since 1970
    added: tuple[str, ...]
    removed: tuple[str, ...]
    recorded: tuple[str, ...]  # Of changed rows, beside the column `_change_type`

    @property
    def moment(self) -> datetime:
        "When it was made."
        return datetime.fromtimestamp(self.milliseconds / 1000, UTC)
