"""Searches, trains and evaluates image classifiers, with records in MLflow and on disk.

For scripts and notebooks (docs/api.md):

    import pipeline

    study = pipeline.sweep("networks", trials=12)
    study.best.value
    model = pipeline.load_model(study)
    model.predict("photos/")

Names are imported on first use, so that this import is quick.
"""

import os
import sys

# `python -m pipeline` has put the working folder first, and what is imported below may have a
# namesake there. The folder of a clone that is not installed becomes the last instead.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:  # Python sets it while it looks for us
    _first = sys.path.pop(0)
    if os.path.realpath(f"{_first}/pipeline/__init__.py") == os.path.realpath(__file__):
        sys.path.append(_first)

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.api.networks import Model, load_model
    from pipeline.api.networks import predict_images as predict
    from pipeline.api.results import StudyResults, Trial, Trials
    from pipeline.api.search import load_study, sweep
    from pipeline.inference.predict import Prediction
    from pipeline.system.errors import (
        EngineFailure,
        Failure,
        IntegrityFailure,
        NothingComplete,
        StorageFailure,
        StudyBusy,
        UsageFailure,
    )
    from sweeps.spec.study_spec import StudySpec

__version__ = "0.2.0"

__all__ = [
    "EngineFailure",
    "Failure",
    "IntegrityFailure",
    "Model",
    "NothingComplete",
    "Prediction",
    "StorageFailure",
    "StudyBusy",
    "StudyResults",
    "StudySpec",
    "Trial",
    "Trials",
    "UsageFailure",
    "__version__",
    "load_model",
    "load_study",
    "predict",
    "sweep",
]

# Where each name comes from: a module, and the name there if it is another.
_ORIGINS = {
    "Model": "pipeline.api.networks",
    "load_model": "pipeline.api.networks",
    "predict": "pipeline.api.networks:predict_images",
    "StudyResults": "pipeline.api.results",
    "Trial": "pipeline.api.results",
    "Trials": "pipeline.api.results",
    "load_study": "pipeline.api.search",
    "sweep": "pipeline.api.search",
    "Prediction": "pipeline.inference.predict",
    "StudySpec": "sweeps.spec.study_spec",
}

# Taken before anything else is imported: the process that started this process may end meanwhile.
PARENT = os.getppid()

# Defaults for MLflow, set here rather than by the command line. MLflow reads the first variable
# when it is imported, and this file runs before every module of ours that imports MLflow: in
# commands, in workers on any machine, and in programs that use this package. SECURITY.md
# promises the second variable for all our processes. The user's own values stay.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# The same for OpenMP, which reads it when torch is imported. The threads of a training wait for one
# another at every step. By default, a waiting thread keeps its core busy: where other programs need
# the cores, too, a training with several threads is then many times slower than with one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def __getattr__(name: str) -> Any:
    """Import a public name on its first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, original = _ORIGINS.get(name, "pipeline.system.errors").partition(":")
    value = getattr(import_module(module), original or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names beside what is loaded, for completion in notebooks."""
    return sorted({*globals(), *__all__})
