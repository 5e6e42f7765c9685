"""Runs commands in processes that are forked from a server with everything imported."""

import contextlib
import hashlib
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import optuna
import pytest

from pipeline.checkpoints import BEST, load
from support.endtoend import children, draw_one_plot, studies

# Imports take seconds, forks hundredths of one. The server starts no thread, and opens no store.
WARM = (
    *(
        "pipeline.jobs.sweep",
        "pipeline.cli.program",
        "pipeline.report.plots.files",
        "sklearn.datasets",
    ),
    # What a first training imports: quickly, unless so much else is there.
    *("torch.utils.flop_counter", "torch.nested._internal.nested_tensor"),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.artifact.local_artifact_repo"),
    *("matplotlib.backends.backend_agg", "optuna.samplers"),
)
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(list(WARM))


def serve():
    """Start the server now: commands that start workers would start it without these imports."""
    _server.set_forkserver_preload(list(WARM))
    forkserver.ensure_running()


@contextlib.contextmanager
def importable(folder, name, text):
    """A module of networks that this process finds, and those that it starts."""
    serve()
    (folder / f"{name}.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


class Fork:
    """`pipeline ARGUMENTS` in a folder, with a checkpoint after every epoch and output to a file.

    Of the plots it draws one.
    """

    def __init__(self, folder, *arguments, **environment):
        self.log = folder / f"log-{time.monotonic_ns()}.txt"
        self.process = _server.Process(
            target=_main, args=(str(folder), arguments, environment, str(self.log))
        )
        self.process.start()

    def send(self, signum):
        """Send a signal; one that has ended gets none."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signum)

    def wait(self, code):
        """Wait for its end, and expect a code; a negative one is a signal's number."""
        self.process.join(timeout=120)
        if self.process.exitcode is None:
            self.send(signal.SIGKILL)
            self.process.join()
        output = self.log.read_text()
        assert self.process.exitcode == code, output
        return output


def _main(folder, arguments, environment, log):
    import pipeline.training.epochs
    from pipeline import cli

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup, around the tests, has ignored
    os.chdir(folder)
    os.environ.update(environment)
    out = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    pipeline.training.epochs.SAVE_EVERY = 0
    draw_one_plot(pytest.MonkeyPatch())
    sys.argv = ["pipeline", *arguments]
    cli.main()


def trials(folder: Path, study: str) -> list:
    """The trials of a folder's study as Optuna has them; none before there is a study."""
    storage = studies(folder)
    if study not in optuna.study.get_all_study_names(storage):
        return []
    return optuna.load_study(storage=storage, study_name=study).get_trials(deepcopy=False)


def weights(folder: Path, study: str) -> dict[int, str]:
    """Digest the weights among each trial's artifacts, without the times on their cards."""
    digests = {}
    for number, run in children(folder, study).items():
        place = Path(run.info.artifact_uri.removeprefix("file://")) / "checkpoint" / BEST
        tensors, _ = load(place)
        data = b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))
        digests[number] = hashlib.sha256(data).hexdigest()
    return digests
