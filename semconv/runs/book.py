"""Run one stage: reuse a finished run, or resume a killed one, and record the result in one transaction.

A run's fingerprint is a hash of the stage's format version, the settings that the stage reads, the fingerprints of its
input runs, and the content of the tables that it reads. A finished run with the same fingerprint is reused. A run that
was killed or failed is resumed in its own folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semconv import __version__
from semconv.artifacts import atomic_path, machine_errors, remove_unfinished
from semconv.clock import utc_now
from semconv.columns import BACKBONE, BLEND, EMBED_BEHAVIOR, EVALUATE, FINETUNE, PEER, RECOMMEND
from semconv.data.store import RunRecord, Store
from semconv.errors import InputError, LockedError, SemconvError
from semconv.locks import LOCK, run_lock
from semconv.modes import closed_umask, make_folder
from semconv.progress import Progress
from semconv.runs.digests import damaged_files, discard_damaged, is_complete, read_complete, write_complete
from semconv.runs.files import COMPLETE, run_files, table_file
from semconv.runs.lineage import newest_first

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT_VERSION = 1  # version of all stages, except those with an own version in _OWN_FORMATS
_OWN_FORMATS = {EVALUATE: 5, BACKBONE: 3, EMBED_BEHAVIOR: 3, FINETUNE: 3, BLEND: 7, PEER: 2, RECOMMEND: 2}
_START_SECONDS = 5.0  # Finding a run with the same fingerprint, or recording a new one, is faster than this.
Tables = Mapping[str, "pa.Table"]


@dataclass(frozen=True)
class StageRequest:
    """A request to run a stage, with everything that determines its result."""

    stage: str
    settings: Mapping[str, Any]  # only those that the stage reads
    inputs: tuple[RunRecord, ...] = ()
    tables: tuple[str, ...] = ()  # warehouse tables that determine the result
    content: Mapping[str, str] = field(default_factory=dict)  # hashes of further inputs, such as the user's files
    hashes: Mapping[str, str] | None = None  # of the tables, if the result was computed from an earlier state of them


@dataclass(frozen=True)
class Outcome:
    """A finished run, whether it was reused, and how long it took."""

    record: RunRecord
    is_reused: bool
    seconds: float


@dataclass(frozen=True)
class RunBook:
    """The runs of one project: find, start, resume and record them."""

    store: Store
    root: Path  # the project folder
    runs_folder: Path
    progress: Progress
    wait: float = 0.0  # seconds to wait for a run that another process computes

    def folder(self, record: RunRecord) -> Path:
        """Return the folder of a run; raise InputError if the run table names a folder outside the project."""
        path = Path(record.artifact_path)
        if path.is_absolute() or ".." in path.parts:
            raise InputError(
                f"run {record.run_id}: its folder {path} lies outside the project, so another program changed the warehouse; restore a backup"
            )
        return self.root / path

    def execute(self, request: StageRequest, compute: Callable[[Path], Tables]) -> Outcome:
        """Return the finished run with the same fingerprint, or make it with ``compute``, and make it the current run.

        ``compute`` gets the run's folder. If the process is killed, the next call runs ``compute`` again on the same
        folder, so ``compute`` must continue from the files in it.

        Raises:
            LockedError: another process computes this run, or holds the warehouse. Computed files are not deleted.
        """
        started = time.monotonic()
        hashes = self.hashes(request)
        fingerprint = _fingerprint(request, hashes)
        for run in self._same(request, fingerprint):
            if self._is_reusable(run):
                return Outcome(self.take_up(run), True, time.monotonic() - started)
        with ExitStack() as locks:
            record, is_new = self._begun(request, fingerprint, locks)
            # Another process may have finished the run while this process waited for the lock.
            is_reused = not is_new and self._is_reusable(self._again(record))
            if not is_reused:
                if not is_new:
                    self.store.start_run(replace(record, status="running", error=None))
                folder = self._cleaned_folder(record)
                with self._noting_failure(record), machine_errors(folder), closed_umask():
                    if not is_complete(folder):
                        _keep_tables(folder, compute(folder), hashes)
                    self.store.finish_run(record.run_id, _kept_tables(folder))
        return Outcome(self._again(record), is_reused, time.monotonic() - started)

    def adopt(self, record: RunRecord, source: Path) -> None:
        """Take over a finished run of another project with the same items and users, with its id and its rows.

        Its files are linked, or copied where links are impossible. The mark that the run is complete comes last, so a
        killed process leaves an incomplete run, which the next call completes.

        Args:
            source: the folder of the run in the other project.
        """
        with run_lock(self.runs_folder, wait=max(self.wait, _START_SECONDS), work="a run is being started"):
            known = next((run for run in self.store.runs(stage=record.stage) if run.run_id == record.run_id), None)
            if known is not None and self.is_done(known):
                return
            self.store.start_run(record)
            folder = self.folder(record)
            with machine_errors(folder), closed_umask():
                files = run_files(source)
                last = {COMPLETE: files.pop(COMPLETE)}
                for name, path in {**files, **last}.items():
                    if name != LOCK:
                        _linked(path, folder / name)
            self.store.finish_run(record.run_id, _kept_tables(folder))

    def _begun(self, request: StageRequest, fingerprint: str, locks: ExitStack) -> tuple[RunRecord, bool]:
        """Find the run with a fingerprint, or record a new one; lock it. Return the run, and whether it is new.

        Only one process at a time may find or record a run. Two processes could record two runs of one fingerprint.
        """
        with run_lock(self.runs_folder, wait=max(self.wait, _START_SECONDS), work="a run is being started"):
            same = self._same(request, fingerprint)
            if not same:
                record = self._new_record(request, fingerprint)
                locks.enter_context(run_lock(self.folder(record)))
                self.store.start_run(record)
                return record, True
        locks.enter_context(run_lock(self.folder(same[0]), wait=self.wait))
        return same[0], False

    def _same(self, request: StageRequest, fingerprint: str) -> list[RunRecord]:
        return [run for run in self.store.runs(stage=request.stage) if run.fingerprint == fingerprint]

    def fingerprint(self, request: StageRequest) -> str:
        """Return the fingerprint of the run that the request would make now."""
        return _fingerprint(request, self.hashes(request))

    def find(self, request: StageRequest) -> RunRecord | None:
        """Return the finished run that ``execute`` would reuse for a request, or None if it would compute one."""
        return next(filter(self._is_reusable, self._same(request, self.fingerprint(request))), None)

    def hashes(self, request: StageRequest) -> dict[str, str]:
        """Return a hash of the content of each table that a request reads."""
        if request.hashes is not None:
            return dict(request.hashes)
        return {table: self.store.content_hash(table) for table in request.tables}

    def finished(self, stage: str) -> list[RunRecord]:
        """Return the finished runs of a stage, latest first; a reused run counts from the time of its reuse."""
        return newest_first(self.store.runs(stage=stage, status="finished"))

    def is_done(self, run: RunRecord) -> bool:
        """Return whether a run is finished and all of its files exist."""
        return run.status == "finished" and is_complete(self.folder(run))

    def _is_reusable(self, run: RunRecord) -> bool:
        """Return whether a run is finished and the checksums of its files are right."""
        return self.is_done(run) and not damaged_files(self.folder(run))

    def _again(self, record: RunRecord) -> RunRecord:
        return next(run for run in self.store.runs(stage=record.stage) if run.run_id == record.run_id)

    def take_up(self, run: RunRecord) -> RunRecord:
        """Make a finished run the current run of its kind, if a later run has replaced it."""
        kind = _kind(run)
        newest = next(other for other in self.finished(run.stage) if _kind(other) == kind)
        if newest.run_id == run.run_id:
            return run
        self.store.finish_run(run.run_id, {})
        return self._again(run)

    def is_stale(self, record: RunRecord, settings: Mapping[str, Any]) -> bool:
        """Return whether a run is outdated: its settings differ from ``settings``, or a table that it read changed."""
        if any(record.settings.get(name) != value for name, value in settings.items()):
            return True
        content = read_complete(self.folder(record)).get("content", {})
        return any(self.store.content_hash(table) != digest for table, digest in content.items())

    def _new_record(self, request: StageRequest, fingerprint: str) -> RunRecord:
        now = utc_now()
        run_id = f"{request.stage}-{now:%Y%m%dT%H%M%S}-{fingerprint[:8]}"
        path = (self.runs_folder / run_id).relative_to(self.root)
        inputs = tuple(run.run_id for run in request.inputs)
        return RunRecord(
            run_id, request.stage, "running", dict(request.settings), inputs, fingerprint, str(path), __version__, now
        )

    def _cleaned_folder(self, record: RunRecord) -> Path:
        """Delete unfinished and damaged files in the folder of a run, and return the folder."""
        folder = self.folder(record)
        remove_unfinished(folder)
        for name in discard_damaged(folder):
            self.progress.say(
                f"{folder / name}: wrong checksum, so the file was deleted; {record.run_id} recomputes it"
            )
        return folder

    @contextmanager
    def _noting_failure(self, record: RunRecord) -> Iterator[None]:
        """Record the run as failed if the block raises an error, except a LockedError.

        Only the kind of the error is recorded, because its message may quote ids of users.
        """
        try:
            yield
        except LockedError:
            raise
        except SemconvError as error:
            self._note_failure(record, error.meaning)
            raise
        except MemoryError:
            self._note_failure(record, "out of memory")
            raise

    def _note_failure(self, record: RunRecord, reason: str) -> None:
        try:
            self.store.fail_run(record.run_id, f"{reason}; the command that failed printed the details")
        except SemconvError:
            self.progress.say(
                f"{record.run_id}: the failure could not be recorded, so `semconv runs` shows the run as killed"
            )


def _fingerprint(request: StageRequest, hashes: Mapping[str, str]) -> str:
    """Return a digest of everything that determines the result of a run."""
    content = {
        "stage": request.stage,
        "format": _OWN_FORMATS.get(request.stage, FORMAT_VERSION),
        "settings": dict(request.settings),
        "inputs": [run.fingerprint for run in request.inputs],
        "tables": dict(hashes),
        "content": dict(request.content),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _kind(run: RunRecord) -> str:
    """Return the kind of a run. A run replaces only runs of its kind: lists for serving never replace other lists."""
    split = run.settings.get("split")
    return split if isinstance(split, str) else ""


def _keep_tables(folder: Path, tables: Tables, hashes: Mapping[str, str]) -> None:
    """Write a run's rows for tables of the warehouse into files of its folder, then mark the run as complete."""
    import pyarrow.parquet as pq

    for name, rows in tables.items():
        with atomic_path(folder / table_file(name)) as path:
            pq.write_table(rows, path)
    write_complete(folder, tables=sorted(tables), content=dict(hashes))


def _linked(source: Path, target: Path) -> None:
    """Give a file a second name in another folder, or copy it to a file system that has no links."""
    make_folder(target.parent)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def _kept_tables(folder: Path) -> dict[str, pa.Table]:
    import pyarrow.parquet as pq

    return {name: pq.read_table(folder / table_file(name)) for name in read_complete(folder)["tables"]}
