"""Writes anew what a study's record says of its name: view, report and description."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from contextlib import closing

from pipeline.jobs.recorder import Recorder
from pipeline.jobs.sync import close_record
from pipeline.report import render
from pipeline.stores import access, locks
from pipeline.stores.locations import Stores
from pipeline.system.errors import Failure
from pipeline.tracking.tracker import Tracker
from sweeps.search import stored


def renew_record(stores: Stores, names: Iterable[str], say: Callable[[str], None]) -> None:
    """Write the saved view, the report and the description of studies anew.

    Nothing else of their runs changes, and no image is needed.

    Args:
        stores: the stores, ready for writing.
        names: the studies; those of finalists first, which the reports of their studies show.
        say: called with messages to the user.

    Raises:
        Failure: with a message of one line, which names the command that does the same.
    """
    for name in names:
        try:
            _renew(stores, name, say)
        except Failure as error:
            raise type(error)(
                f"{error}; study {name} is whole, and what its record in MLflow lacks is sent by: "
                f"pipeline sync {shlex.quote(name)}"
            ) from None


def _renew(stores: Stores, name: str, say: Callable[[str], None]) -> None:
    with locks.lock(stores, name) as held, access.study_errors():
        study = stored.load(access.open_studies(stores, held), name)
        tracker = Tracker(stores.tracking, server_default=name, takes_given_run=False)
        with closing(tracker):
            recorder = Recorder(study, tracker, stores.home, say, stores.studies_label)
            recorder.describe()
            record, folder = recorder.write_report()
            render.renew_latex(record, folder)
            close_record(recorder, record, folder)
