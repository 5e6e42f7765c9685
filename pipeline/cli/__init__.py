"""The command line: one file for each command."""


def main() -> None:
    """Run the command line, and end this process: the entry point of `pipeline`."""
    from pipeline.cli import program  # inside, so that importing this package stays quick

    program.run_process()
