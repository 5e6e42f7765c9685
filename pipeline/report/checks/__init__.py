"""Health checks of a study's result: doubts, each with its figures and a remedy."""
