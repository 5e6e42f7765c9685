"""Unpacks a study that `pipeline archive` has packed: the job behind `pipeline restore`.

The file is a stranger's until it is checked: its names, sizes and sums, and that its rows are those
of a study. All that is unpacked into a folder of its own first. Weights stay safetensors, and
nothing is unpickled. The report is written anew, not taken from the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import stat
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.checkpoints import is_own_file
from pipeline.jobs.keeping import portable
from pipeline.jobs.keeping.archive import FORMAT, KIND, MANIFEST, RUNS, Manifest
from pipeline.jobs.keeping.rename import check_is_free, check_new_name
from pipeline.jobs.keeping.renew import renew_record
from pipeline.report.scores import plural
from pipeline.stores import access, mlflow_runs, pending, relocation
from pipeline.stores.locations import Stores, is_stored_name, sqlite_file, sqlite_url
from pipeline.stores.mlflow_runs import RunRows
from pipeline.system import failpoints
from pipeline.system.errors import Failure, IntegrityFailure, StorageFailure, UsageFailure
from pipeline.system.files import may_never_end, temporary_folder
from pipeline.system.text import clip
from pipeline.tracking.tracker import Tracker
from sweeps.analysis.finalists import FINALISTS_SUFFIX
from sweeps.search import rows, stored
from sweeps.search.rows import DamagedRowsError, StudyRows
from sweeps.trial import problem

_BLOCK = 1 << 20  # bytes
_LARGEST_TEXT = 1 << 30  # bytes of rows, which are read as a whole or line by line
_LARGEST_MANIFEST = 1 << 27
# Rows shrink to a tenth. What shrinks to less than this, and is large, is made to fill a disk.
_MOST_SHRUNK = 200
_SMALL = 1 << 20  # bytes; of less, it does not matter
# What reading a damaged zip raises. A full disk raises none of these.
_DAMAGED = (EOFError, NotImplementedError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """What was unpacked and checked."""

    folder: Path
    studies: tuple[StudyRows, ...]
    runs: tuple[str, ...]  # their ids


def restore(stores: Stores, file: Path, name: str | None, say: Callable[[str], None]) -> None:
    """Put an archived study into the stores: all of it or nothing.

    Args:
        stores: the stores; made if they are missing.
        file: the archive.
        name: what to call the study; None for its own name.
        say: called with messages to the user.

    Raises:
        UsageFailure: if the file is no archive, or of a newer version, or the name is taken.
        IntegrityFailure: if the file is damaged, or holds what an archive does not.
        StorageFailure: if there is no room, or a store cannot be used.
    """
    if name is not None:
        check_new_name(name)
    if sqlite_file(stores.tracking) is None:
        raise UsageFailure(
            "runs are restored into an SQLite file, and MLFLOW_TRACKING_URI is a server: unset it"
        )
    access.check_writable(stores)
    access.complete_changes(stores)  # what an earlier restore has left is no study's
    with temporary_folder(stores.home) as folder:
        with _opened(file) as packed:
            manifest = _read_manifest(packed, file)
            names = _names_as(manifest, name)
            check_is_free(stores, names)
            _unpack(packed, file, manifest, folder)
            contents = _check(folder, manifest, file)
        access.prepare(stores)
        contents = _with_free_ids(stores, contents)
        _put(stores, contents, names)
    new = next(iter(names.values()))
    renew_record(stores, reversed(names.values()), say)
    trials = plural(len(contents.studies[0].trials), "trial")
    say(f"restored study {new!r}: {trials}, {plural(len(contents.runs), 'run')}")


# -- the file --------------------------------------------------------------------------------------


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; what is damaged in it ends the block with one line."""
    if may_never_end(file) or not file.is_file():
        raise UsageFailure(f"no archive {file}: name a file that `pipeline archive` has written")
    try:
        with zipfile.ZipFile(file) as packed:
            yield packed
    except _DAMAGED as error:
        reason = clip(error, 200) or type(error).__name__
        raise IntegrityFailure(f"archive {file} is damaged ({reason}): fetch it anew") from None
    except RecursionError:
        raise IntegrityFailure(f"archive {file} is refused: it is nested too deeply") from None
    except OSError as error:
        raise StorageFailure(f"cannot read {file}: {error.strerror or error}") from None


def _read_manifest(packed: zipfile.ZipFile, file: Path) -> Manifest:
    """Read what an archive says that it holds.

    Raises:
        UsageFailure: if it is no archive of a study, or of a newer version.
        IntegrityFailure: if it says what no archive says.
    """
    infos = [info for info in packed.infolist() if info.filename == MANIFEST]
    if len(infos) != 1:
        raise UsageFailure(f"{file} is no archive of a study: `pipeline archive` writes one")
    if infos[0].file_size > _LARGEST_MANIFEST:
        raise IntegrityFailure(f"archive {file} is refused: its manifest is too large")
    text = packed.read(MANIFEST)
    try:
        head = TypeAdapter(dict[str, object]).validate_json(text)
        if head.get("kind") != KIND or not isinstance(head.get("format"), int):
            raise UsageFailure(f"{file} is no archive of a study: `pipeline archive` writes one")
        if head["format"] != FORMAT:
            raise UsageFailure(
                f"{file} is an archive of format {head['format']}, and this version reads format "
                f"{FORMAT}: upgrade sweep-pipeline to the version that wrote it, "
                f"{clip(head.get('version'), 40)}"
            )
        manifest = TypeAdapter(Manifest).validate_json(text)
    except ValidationError as error:
        raise IntegrityFailure(
            f"archive {file} is refused: its manifest {problem(error)}"
        ) from None
    own = manifest.studies[:1]
    expected = (*own, *(f"{study}{FINALISTS_SUFFIX}" for study in own))
    if not own or manifest.studies != expected[: len(manifest.studies)]:
        raise IntegrityFailure(f"archive {file} is refused: it names other studies than one has")
    if not all(map(is_stored_name, manifest.studies)):
        raise IntegrityFailure(
            f"archive {file} is refused: no command could have named {clip(own[0], 80)!r}"
        )
    return manifest


def _names_as(manifest: Manifest, name: str | None) -> dict[str, str]:
    own = manifest.studies[0]
    return {study: (name or own) + study.removeprefix(own) for study in manifest.studies}


def _unpack(packed: zipfile.ZipFile, file: Path, manifest: Manifest, folder: Path) -> None:
    """Unpack the files of an archive into an empty folder, and compare their sizes and sums."""
    infos = {info.filename: info for info in packed.infolist()}
    if len(infos) < len(packed.infolist()):
        raise IntegrityFailure(f"archive {file} is refused: it holds two files of one name")
    unknown = sorted({*infos, *manifest.files} - {MANIFEST} - ({*infos} & {*manifest.files}))
    if unknown:
        raise IntegrityFailure(
            f"archive {file} is damaged: {clip(unknown[0], 80)!r} is in its manifest or among its "
            "files, and not in both"
        )
    for name in manifest.files:
        _check_member(file, infos[name])
    size = sum(infos[name].file_size for name in manifest.files)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StorageFailure(
            f"archive {file} unpacks to {size:,} bytes: {folder.parent} has room for {free:,}"
        )
    for name, member in manifest.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        written = 0
        with packed.open(name) as source, target.open("xb") as unpacked:
            while block := source.read(_BLOCK):
                unpacked.write(block)
                digest.update(block)
                written += len(block)
        if (written, digest.hexdigest()) != (member.size, member.sha256):
            raise IntegrityFailure(
                f"archive {file} is damaged: {clip(name, 80)!r} has not its SHA-256; fetch it anew"
            )


def _check_member(file: Path, info: zipfile.ZipInfo) -> None:
    """Check that a file may be unpacked: below its folder, plain, and no larger than it looks."""
    name = info.filename
    parts = name.split("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or info.flag_bits & 1:  # 0: not said
        reason = "is no plain file"
    elif set("\\\0:") & set(name) or any(part in ("", ".", "..") for part in parts):
        reason = "leads out of it"
    elif not _is_known_place(parts):
        reason = "is none of a study"
    elif info.file_size > _SMALL and info.file_size > _MOST_SHRUNK * max(1, info.compress_size):
        reason = f"unpacks to {info.file_size:,} bytes from {info.compress_size:,}"
    else:
        return
    raise IntegrityFailure(f"archive {file} is refused: its member {clip(name, 80)!r} {reason}")


def _is_known_place(parts: list[str]) -> bool:
    """Whether an archive of a study has files there."""
    match parts:
        case ["runs.jsonl"] | ["studies", ("0.json" | "1.json")]:
            return True
        case ["artifacts", run, _, *_]:
            return mlflow_runs.is_run_id(run)
        case ["checkpoints", ("0" | "1"), _, *_, own]:
            return is_own_file(own)
        case ["reports", ("0" | "1"), _, *_]:
            return True
    return False


# -- its rows --------------------------------------------------------------------------------------


def _check(folder: Path, manifest: Manifest, file: Path) -> _Contents:
    """Check that unpacked rows are those of a study, as the store's readers would.

    Raises:
        IntegrityFailure: if they are not.
    """
    try:
        studies = tuple(
            _read_study(folder / f"studies/{index}.json", name)
            for index, name in enumerate(manifest.studies)
        )
        runs = tuple(run.run_id for run in _read_runs(folder))
        _check_unique(runs)
        # Without weights of its own for now.
        _check_as_store([portable.made_local(study, {}) for study in studies], folder)
    except (Failure, DamagedRowsError, OSError) as error:
        raise IntegrityFailure(f"archive {file} holds no whole study: {error}") from None
    return _Contents(folder=folder, studies=studies, runs=runs)


def _read_study(path: Path, name: str) -> StudyRows:
    study = StudyRows.from_json(_read_text(path))
    if study.name != name:
        raise DamagedRowsError(f"it is called {clip(study.name, 80)!r}, not {name!r}")
    if [trial.number for trial in study.trials] != list(range(len(study.trials))):
        raise DamagedRowsError("its trials are not numbered from 0 on")
    return study


def _check_unique(runs: tuple[str, ...]) -> None:
    if len(set(runs)) < len(runs):
        raise DamagedRowsError("it has two runs of one id")


def _read_text(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST_TEXT:
        raise DamagedRowsError(f"{path.name} is too large")
    return path.read_bytes()


def _read_runs(folder: Path) -> Iterator[RunRows]:
    with (folder / RUNS).open("rb") as lines:
        while line := lines.readline(_LARGEST_TEXT):
            yield RunRows.from_json(line)


def _check_as_store(studies: list[StudyRows], folder: Path) -> None:
    """Read studies from a store that holds nothing else, as every command will."""
    url = sqlite_url(folder / "check.db")
    with access.study_errors():
        storage = stored.open_storage(url, timeout=1)
        rows.insert_studies(storage, studies)
        for study in studies:
            found = stored.load(storage, study.name)
            found.check()
            found.specification()
        finalists = stored.load(storage, studies[-1].name).facts.finalists
        storage.remove_session()
    if len(studies) > 1 and (finalists is None or finalists.of != studies[0].name):
        raise DamagedRowsError("its finalists are those of another study")


def _with_free_ids(stores: Stores, contents: _Contents) -> _Contents:
    """Return contents whose runs have other ids, if the tracking store has one of them already."""
    tracking_file = _tracking_file(stores)
    if not mlflow_runs.known_runs(tracking_file, contents.runs):
        return contents
    former = [*contents.runs, *_keys(contents.studies)]
    ids = {key.encode(): uuid.uuid4().hex.encode() for key in former}
    folder = contents.folder
    lines = (folder / RUNS).read_bytes()
    (folder / RUNS).write_bytes(portable.with_other_ids(lines, ids))
    runs = []
    for run in contents.runs:
        new = ids[run.encode()].decode()
        runs.append(new)
        if (folder / "artifacts" / run).is_dir():
            (folder / "artifacts" / run).rename(folder / "artifacts" / new)
    studies = [
        StudyRows.from_json(portable.with_other_ids(study.to_json(), ids))
        for study in contents.studies
    ]
    return _Contents(folder=folder, studies=tuple(studies), runs=tuple(runs))


def _keys(studies: tuple[StudyRows, ...]) -> Iterator[str]:
    """The keys by which studies find their parent runs."""
    for study in studies:
        key = study.user_attrs.get("key", "").strip('"')
        if mlflow_runs.is_run_id(key):
            yield key


# -- the stores ------------------------------------------------------------------------------------


def _tracking_file(stores: Stores) -> Path:
    file = sqlite_file(stores.tracking)
    if file is None:
        raise UsageFailure("runs are restored into an SQLite file only")
    return file


def _put(stores: Stores, contents: _Contents, names: Mapping[str, str]) -> None:
    """Put checked contents into the stores: files and runs first, and Optuna's part at last."""
    with closing(Tracker(stores.tracking, takes_given_run=False)) as tracker:
        experiment = tracker.experiment_id
        root = tracker.call(tracker.artifacts_folder)
    below = relocation.local_path(root)
    if below is None:
        raise UsageFailure(
            f"artifacts of experiment {experiment} are not in a folder: {clip(root, 80)!r}; name "
            "another experiment by MLFLOW_EXPERIMENT_NAME"
        )
    locations = {run: f"{root}/{run}/artifacts" for run in contents.runs}
    change = pending.Change(
        what="restore",
        names={new: new for new in names.values()},
        runs=contents.runs,
        artifacts=tuple(str(Path(below, run, "artifacts")) for run in contents.runs),
    )
    weights = {
        run: str(Path(below, run, "artifacts"))
        for run in contents.runs
        if _has_weights(contents, run)
    }
    studies = [portable.made_local(study, weights).renamed(names) for study in contents.studies]
    with pending.hold(stores, change.names) as held, access.study_errors():
        check_is_free(stores, dict(names), held=True)
        begun = pending.begin(stores, change)
        try:
            for run in contents.runs:
                _move(contents.folder / "artifacts" / run, Path(below, run, "artifacts"))
            for index, new in enumerate(names.values()):
                target = stores.home / "checkpoints" / new
                _move(contents.folder / "checkpoints" / str(index), target)
            mlflow_runs.insert_runs(
                _tracking_file(stores),
                _local_runs(contents, names),
                int(experiment),
                locations,
            )
            failpoints.reach("in_restoring")
            storage = access.open_studies(stores, held[change.study])
            rows.insert_studies(storage, studies)
        except BaseException:
            with contextlib.suppress(Failure, OSError):
                pending.remove(stores, change)
                begun.forget()
            raise
        failpoints.reach("before_forgetting")
        begun.forget()


def _has_weights(contents: _Contents, run: str) -> bool:
    return (contents.folder / "artifacts" / run / "checkpoint").is_dir()


def _local_runs(contents: _Contents, names: Mapping[str, str]) -> Iterator[RunRows]:
    """Read the runs, with the names of their studies here, and no parent but among them."""
    own = set(contents.runs)
    for run in _read_runs(contents.folder):
        yield run.renamed(names).below(own)


def _move(source: Path, target: Path) -> None:
    """Move an unpacked folder, if there is one, to where nothing is."""
    if source.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            target.rmdir()
        source.rename(target)
