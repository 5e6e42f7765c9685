"""Health checks: what is doubtful about a study's result, and what to do about it."""
