"""`pipeline clean`: make room."""

from __future__ import annotations

import click

from pipeline.cli.options import Command, Number, agree, storage_option, yes_option
from pipeline.cli.stored_names import complete_study
from pipeline.system.console import format_size, print_message


@click.command(name="clean", cls=Command, short_help="Free disk space: caches, states, weights.")
@click.argument("names", nargs=-1, shell_complete=complete_study)
@click.option(
    "--older-than",
    "days",
    type=Number(0),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="Decoded images that were not used for so many days go from the cache.",
)
@click.option(
    "--keep-checkpoints",
    "keep",
    metavar="best|top:K",
    help="Drop the weights of the named studies' other trials, too.",
)
@click.option("--dry-run", is_flag=True, help="Only say what can go.")
@yes_option
@storage_option
def clean_command(
    names: tuple[str, ...],
    days: float,
    keep: str | None,
    dry_run: bool,
    yes: bool,
    storage: str | None,
) -> None:
    """Remove what no command needs any more: checkpoints of ended trials, what killed processes
    have left, and old images of the cache. With studies' names, only checkpoints of these.

    It is said first what goes, and how much room that makes. Nothing that counts goes unless
    --keep-checkpoints says so.

    \b
    Example: pipeline clean networks-few_digits --keep-checkpoints top:3
    """
    from pipeline.jobs.keeping import clean
    from pipeline.stores import locations

    found = clean.plan(locations.locate(storage), names, days=days, keep=keep)
    for removable in found:
        print_message(removable.describe())
    if not found:
        print_message("nothing to remove")
        return
    size = format_size(sum(removable.size for removable in found))
    if dry_run:
        print_message(f"{size} can be freed")
        return
    agree("remove", yes=yes)
    for removable in found:
        removable.remove()
    print_message(f"{size} freed")
