"""The record in MLflow: runs, metrics, artifacts, the saved comparison, and its user interface."""
