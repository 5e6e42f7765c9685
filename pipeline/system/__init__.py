"""What every part needs of the operating system: errors, safe text, whole files, signals, processes, the console."""
