"""`pipeline completion`: the script with which a shell completes commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from pipeline.cli.options import Command

_SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command(
    name="completion", cls=Command, short_help="Print the completion script of your shell."
)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the script with which a shell completes commands, options, study and run names.

    In ~/.bashrc or ~/.zshrc: eval "$(pipeline completion bash)", with the name of the shell. In
    ~/.config/fish/config.fish: pipeline completion fish | source.

    \b
    Example: pipeline completion bash
    """
    complete = _SHELLS[shell](ctx.find_root().command, {}, "pipeline", "_PIPELINE_COMPLETE")
    click.echo(complete.source())
