"""The jobs behind the commands: each joins data, training, tracking, stores and report."""
