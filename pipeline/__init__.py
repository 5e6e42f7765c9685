"""Composes models and sweeps with disk, MLflow, terminal and processes."""
