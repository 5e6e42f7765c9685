"""The report of a study, for the terminal and as files."""
