"""The record of studies in MLflow: runs, metrics, artifacts, saved views, and the UI."""
