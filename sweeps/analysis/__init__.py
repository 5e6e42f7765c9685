"""Pure functions of a study's results: ranking, comparison, finalists, importance, intervals."""
