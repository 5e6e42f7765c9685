"""The plots of a study, one file a plot: its numbers, its words and its drawing."""
