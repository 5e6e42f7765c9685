"""Analyses a study's results: ranking, lead, finalists, published figures, importance, health."""
