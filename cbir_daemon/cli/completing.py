"""`completion`: what a shell runs so that Tab completes a command.

In: a shell.  Out: click's script for it, which asks the command itself for what may follow.  Never here: what may
follow.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = {
    "bash": "bash-completion/completions/{}",
    "fish": "fish/vendor_completions.d/{}.fish",
    "zsh": "zsh/site-functions/_{}",
}
"""Where a shell looks for the script of a command, below `share`."""


def completion_script(program: str, shell: str) -> str:
    """Return the script that completes a command.

    Parameters
    ----------
    program : str
        "cbir" or "cbir-daemon".
    shell : str
        Of `SHELLS`.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise ValueError(shell)
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    script = kind(click.Command(program), {}, program, variable)
    # Not `source()`, which runs a bash to see how old it is.
    return script.source_template % script.source_vars() + "\n"


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes Tab complete this command in SHELL: bash, fish or zsh.

    `eval` it, or put it where the shell looks.
    """
    click.echo(completion_script(context.find_root().info_name or "cbir", shell), nl=False)
