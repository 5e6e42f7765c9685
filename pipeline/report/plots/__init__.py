"""The plots of a study. Each has a file with its numbers, its words and its drawing."""
