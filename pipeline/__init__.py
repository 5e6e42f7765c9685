"""Searches, trains and evaluates image classifiers, with records in MLflow and on disk."""

import os

# Taken before anything else is imported: the process that started this process may end meanwhile.
PARENT = os.getppid()

# Defaults for MLflow, set here rather than by the command line. MLflow reads the first variable
# when it is imported, and this file runs before every module of ours that imports MLflow: in
# commands, in workers on any machine, and in programs that use this package. SECURITY.md
# promises the second variable for all our processes. The user's own values stay.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
