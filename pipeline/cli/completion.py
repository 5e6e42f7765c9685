"""`pipeline completion`: the script with which a shell completes commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pipeline.cli.options import Command

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    name="completion", cls=Command, short_help="Print the completion script of your shell."
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the script with which a shell completes commands, options, study and run names.

    In ~/.bashrc or ~/.zshrc: eval "$(pipeline completion bash)", with the name of the shell. In
    ~/.config/fish/config.fish: pipeline completion fish | source.

    \b
    Example: pipeline completion bash
    """
    complete = get_completion_class(shell)
    assert complete is not None  # click knows all of the shells above
    program = ctx.find_root()
    click.echo(complete(program.command, {}, "pipeline", "_PIPELINE_COMPLETE").source())
