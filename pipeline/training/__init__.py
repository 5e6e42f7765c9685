"""Trains a configuration: the training loop, and everything around a step."""
