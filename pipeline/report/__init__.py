"""What is said of a study, in the terminal and in files. Reads no store."""
