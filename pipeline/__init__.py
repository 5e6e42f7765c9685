"""Composes models and sweeps with disk, MLflow, terminal and processes."""

import os

# Taken first: who started this process may be gone once the rest is imported.
PARENT = os.getppid()

# Settled before anything imports mlflow; what the user has set stays.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
