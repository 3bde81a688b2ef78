"""The new rows of a flow's sources, as the next batch reads them: after what `progress.py` says was read."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from cdc_local.analysis.runtime import Runtime
from cdc_local.auto_cdc.visible_changes import read_as_inserts, read_changes
from cdc_local.autoloader.files import FILES_PER_TRIGGER, FileSelection, fixed_folder
from cdc_local.autoloader.options import Options
from cdc_local.dataflow.graph import Flow
from cdc_local.delta.log import read_table_version
from cdc_local.delta.new_files import SourceChangedError, SourceLostError, read_new_files
from cdc_local.delta.table_options import TableOptions
from cdc_local.engines.engine import engine_of, observe
from cdc_local.errors import PipelineError
from cdc_local.storage import strip_scheme
from cdc_local.update.progress import Position, Progress, Slice, path_of_table, reads_changes, table_source

if TYPE_CHECKING:
    from cdc_local.engines.protocol import Engine, Observed


@dataclass
class NewRows:
    "Reads what a flow has not read; notes what that is, for the batch to be planned."

    runtime: Runtime  # The update
    flow: Flow  # A flow whose sources are read batch by batch
    progress: Progress  # How far it has read
    at_once: bool = False  # Take all that is there, whatever the options say of a batch
    is_written: bool = False  # The planned batch is in its target already, and only counted again
    slices: dict[str, Slice] = field(default_factory=dict)  # Source -> what the batch reads of it
    sources: dict[str, str] = field(default_factory=dict)  # Each source that the query reads -> its path
    has_more: bool = False  # Files are left for another batch
    stored_rows: int = 0  # Rows that the batch reads of tables, as far as their statistics tell
    observations: list["Observed"] = field(default_factory=list)  # Count what the batch reads of files

    @property
    def engine(self) -> "Engine":
        "The engine of the update."
        return engine_of(self.runtime.spark)

    def read_table(
        self,
        path: Path,  # A Delta table's folder
        options: dict[str, str],  # Reader options, such as `skipChangeCommits`
    ) -> DataFrame | None:  # Its new rows, hidden ones included; None where only Spark's stream knows them
        """Read the rows that the flow has not read, or the changes where the options ask for these.

        `PipelineError` for a table that did not only grow, and for one without a change feed."""
        asked = TableOptions.of(options)
        if not asked.is_known:
            return None
        source = table_source(self.runtime.storage.relative_path(str(path)), asked.reads_changes)
        self.sources[source] = str(path)
        piece = self._slice_table(source, path, asked)
        try:
            if asked.reads_changes:
                return self._read_changes(source, path, piece)
            return self._read_rows(source, path, piece, asked.skips_changes)
        except SourceChangedError:
            raise self._refuse_changed_source() from None
        except SourceLostError as lost:
            raise self._refuse(f"{self.flow.name} has not read all of its source: {lost}") from None

    def _read_rows(self, source: str, path: Path, piece: Slice | None, skips_changes: bool) -> DataFrame:
        "Read the rows that a piece of a table has."
        spark = self.runtime.spark
        if piece is None:
            return self.engine.read_added_files(spark, path, ())
        if piece["from"] is None:
            self._plan(source, piece, _count_stored_rows(path, piece["to"]))
            return self.engine.read_delta(spark, path, {"versionAsOf": piece["to"]})
        new = read_new_files(path, piece["from"], piece["to"], skips_changes)
        if new.actions or _is_empty(piece):
            self._plan(source, piece, new.rows or 0)
        return self.engine.read_added_files(spark, path, new.actions)

    def _read_changes(self, source: str, path: Path, piece: Slice | None) -> DataFrame:
        "Read the changes that a piece of a table has; of a first piece, its rows."
        spark = self.runtime.spark
        if piece is None or _is_empty(piece):
            if piece is not None:
                self._plan(source, piece, 0)
            return read_as_inserts(spark, path, DeltaTable(str(path)).version()).where(F.lit(False))
        self._plan(source, piece, 0)
        if piece["from"] is None:
            changes = read_as_inserts(spark, path, piece["to"])
        else:
            changes = read_changes(spark, path, piece["from"], piece["to"])
        rows = self.engine.new_observation("rows of changes")
        self.observations.append(rows)
        return observe(changes, rows, F.count("*").alias("rows"))

    def select_files(
        self,
        path: str,  # Folder, file or glob
        options: Options,  # Of Auto Loader
        files: Sequence[str],  # All files there are, as paths
    ) -> FileSelection:
        "Select the files that the flow has not read; `PipelineError` where a planned one is gone."
        filters = json.dumps(dict(options.file_filters), sort_keys=True) if options.file_filters else ""
        source = f"files {self.runtime.storage.relative_path(path)} {filters}".strip()
        folder = fixed_folder(path)
        self.sources[source] = folder
        rows = self.engine.new_observation("rows of files")
        self.observations.append(rows)
        if self.progress.planned is not None:
            self.has_more = True  # what came since is another batch
            chosen = self.progress.planned.get(source, {"files": {}})["files"]
            chosen = self._find_planned_files(folder, chosen)
        else:
            chosen = self._choose_files(source, folder, options, files)
        if chosen:
            self.slices[source] = {"files": chosen}
        return FileSelection(tuple(str(Path(folder, name)) for name in chosen), rows)

    def count_rows(self) -> int:
        "Count the rows that the batch has read, once it is written."
        counted = self.engine.read_counts(self.runtime.spark, self.observations)
        return self.stored_rows + sum(int(batch["rows"]) for batch in counted if batch is not None)

    def _plan(self, source: str, piece: Slice, rows: int) -> None:
        if source not in self.slices:
            self.stored_rows += rows
        self.slices[source] = piece

    def _slice_table(
        self,
        source: str,  # Its name in the log
        path: Path,  # The table's folder
        asked: TableOptions,  # What its reader was told
    ) -> Slice | None:  # The versions to read; None where there is nothing new
        identity, version = read_table_version(path)
        position = self._find_position(source)
        planned = None if self.progress.planned is None else self.progress.planned.get(source)
        known = planned or position
        if known is not None and known["table"] != identity:
            raise self._refuse(
                f"{self.flow.name} streams from a table that was rebuilt; rebuild this one too", bare=True
            )
        if self.progress.planned is not None:
            self.has_more = True  # what came since is another batch
            return planned
        if position is None:
            start = asked.find_start(path, self.runtime.zone)
            if start is not None:
                return {"table": identity, "from": start, "to": version}
            return {"table": identity, "from": None, "to": version} if _has_files(path) else None
        if position["next"] > version + 1:
            raise self._refuse(
                f"{self.flow.name} has read version {position['next'] - 1} of {path.name}, "
                f"which is at version {version} now: it was put back to an older state"
            )
        if position["next"] > version:
            return None
        return {"table": identity, "from": position["next"], "to": version}

    def _find_position(
        self,
        source: str,  # A table, as the log names it
    ) -> Position | None:
        "How far a table was read; a flow that reads its changes now, or no longer, goes on where it was."
        positions, path = self.progress.positions, path_of_table(source)
        other = table_source(path or "", not reads_changes(source))
        if source in positions or other not in positions or self.progress.planned is not None:
            return positions.get(source)
        positions[source] = positions[other] if other in self.sources else positions.pop(other)
        self.progress.write_state()
        return positions[source]

    def _choose_files(
        self,
        source: str,  # Its name in the log
        folder: str,  # What the names of files are relative to
        options: Options,  # Of Auto Loader
        files: Sequence[str],  # All files there are
    ) -> dict[str, list[int]]:  # Name -> when it was modified (ns since 1970), its size in bytes
        read = self._files_read(source)
        found = {}
        for file in files:
            local = Path(strip_scheme(file))
            name = os.path.relpath(local, folder)
            if name not in read and local.exists():
                status = local.stat()
                found[name] = [status.st_mtime_ns, status.st_size]
        oldest_first = sorted(found, key=lambda name: (found[name][0], name))
        chosen = oldest_first if self.at_once else _limit_files(oldest_first, found, options)
        self.has_more = self.has_more or len(chosen) < len(found)
        return {name: found[name] for name in chosen}

    def _files_read(self, source: str) -> dict[str, list[int]]:
        "The files that were read: those of the source, and, of one whose filters are new, of its path."
        positions = self.progress.positions
        if source in positions:
            return dict(positions[source]["files"])
        path = source.partition(" {")[0]
        same_path = [other for other in positions if other.partition(" {")[0] == path]
        return {name: status for other in same_path for name, status in positions[other]["files"].items()}

    def _find_planned_files(self, folder: str, planned: dict[str, list[int]]) -> dict[str, list[int]]:
        gone = [name for name in planned if not Path(folder, name).exists()]
        if gone and not self.is_written:
            others = f" and {len(gone) - 1} others" if gone[1:] else ""
            raise self._refuse(
                f"{self.flow.name} was interrupted while it read {Path(folder, gone[0])}{others}, "
                "which is gone; put it back"
            )
        return {name: status for name, status in planned.items() if name not in gone}

    def adopt_moved_sources(self) -> bool:  # Whether a source is known by another name now
        """Recognise a folder outside the storage that was moved: its files are those that were read.

        `PipelineError` where only some of them are, since the rest cannot be told from new ones.
        """
        positions = self.progress.positions
        vanished = [name for name in positions if name.startswith("files ") and name not in self.sources]
        unknown = [name for name in self.sources if name.startswith("files ") and name not in positions]
        if self.progress.planned is not None or len(vanished) != 1 or len(unknown) != 1:
            return False
        if vanished[0].partition(" {")[0] == unknown[0].partition(" {")[0]:
            return False  # the same path with other filters
        there = _count_same_files(positions[vanished[0]], self.sources[unknown[0]])
        before, now = vanished[0].removeprefix("files "), unknown[0].removeprefix("files ")
        read = len(positions[vanished[0]]["files"])
        if there == 0:
            return False
        if there < read:
            raise self._refuse(
                f"{self.flow.name} has read {read} files of {before} and reads {now} now, "
                f"where {there} of them are: which files are new cannot be told"
            )
        positions[unknown[0]] = positions.pop(vanished[0])
        self.progress.write_state()
        self.runtime.graph.warn(f"{self.flow.name}: {now} is what {before} was; its files are read already")
        return True

    def _refuse_changed_source(self) -> PipelineError:
        return PipelineError(
            f"{self.flow.name} streams from a table whose rows were changed or deleted; "
            f"a streaming source must only grow. {self.flow.hint_of_changed_source}",
            self.flow.location,
        )

    def _refuse(self, message: str, bare: bool = False) -> PipelineError:
        command = f"cdc run … --full-refresh {self.flow.target.table}"
        if bare:
            return PipelineError(f"{message}: {command}", self.flow.location)
        return PipelineError(
            message, self.flow.location, f"or compute {self.flow.target.table} anew: {command}"
        )


def _limit_files(
    names: list[str],  # Files, oldest first
    status: dict[str, list[int]],  # Name -> modified, bytes
    options: Options,  # Of Auto Loader
) -> list[str]:  # Those of one batch; at least one
    if options.max_bytes_per_trigger is None:
        limit = options.max_files_per_trigger
        return names[: FILES_PER_TRIGGER if limit is None else limit]
    total = 0
    chosen: list[str] = []
    for name in names:
        total += status[name][1]
        if chosen and total > options.max_bytes_per_trigger:
            break
        chosen.append(name)
    return chosen


def _is_empty(piece: Slice) -> bool:
    "Whether a piece is behind the table's end, where a flow begins that reads what comes from now on."
    return piece["from"] is not None and piece["from"] > piece["to"]


def _has_files(path: Path) -> bool:
    "Whether a table holds rows; one that does not has nothing to begin with."
    return bool(DeltaTable(str(path)).file_uris())


def _count_stored_rows(path: Path, version: int) -> int:
    "Rows of a table, as far as the statistics of its files tell."
    counts = DeltaTable(str(path), version=version).get_add_actions(flatten=True)
    names = counts.schema.names
    if "num_records" not in names:
        return 0
    return sum(count or 0 for count in counts.column(names.index("num_records")).to_pylist())


def _count_same_files(position: Position, folder: str) -> int:
    "Files of a position that lie below a folder, with the size that they had."
    files = {Path(folder, name): status[1] for name, status in position["files"].items()}
    return sum(file.is_file() and file.stat().st_size == size for file, size in files.items())
