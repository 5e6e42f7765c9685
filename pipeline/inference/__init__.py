"""Finished networks: found, evaluated, used for predictions, exported and registered."""
