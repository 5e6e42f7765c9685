"""What the operating system, the terminal and the process offer to the rest of the pipeline."""
