"""The command line: one file a command."""


def main() -> None:
    """Run the command line: the entry point `pipeline`, and `python -m pipeline`."""
    from pipeline.cli.program import main as run

    run()
