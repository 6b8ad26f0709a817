"""The manual pages and what completes commands, judged by the programs that read them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cbir_daemon import config
from cbir_daemon.cli import client as client_commands
from cbir_daemon.cli import daemon as daemon_commands
from cbir_daemon.cli.completing import SHELLS, completion_script
from cbir_daemon.cli.manuals import PAGES, page_text, shared_files
from cbir_daemon.cli.running import status_of
from tests.test_cli import TREES

PROGRAM = Path(sys.executable).parent


def needs(program: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test where a program is missing."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def said(*argv: str | Path, text: str = "", **environ: str) -> tuple[int, str]:
    """Return the status of a program and all that it says."""
    done = subprocess.run(  # noqa: S603 -- what reads a page
        argv,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=os.environ | {"PATH": f"{PROGRAM}:{os.environ['PATH']}", **environ},
    )
    return done.returncode, done.stdout


def page(name: str) -> str:
    """Return a page of the manual."""
    return page_text(name, daemon_commands.daemon)


def every_option(command: click.Command) -> Iterator[str]:
    """Yield the options of a command and of all below it."""
    yield from (flag for parameter in command.params for flag in parameter.opts if flag.startswith("-"))
    if isinstance(command, click.Group):
        for name in command.commands:
            yield from every_option(command.commands[name])


# -- pages -------------------------------------------------------------------------------------------------------------


@needs("mandoc")
@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_no_fault(name: str) -> None:
    """Nothing but the missing date, which would make each day's page another one."""
    _, words = said("mandoc", "-T", "lint", text=page(name))
    assert [line for line in words.splitlines() if 'missing date, using ""' not in line] == []


@needs("man")
@pytest.mark.parametrize("name", PAGES)
def test_man_warns_of_nothing(name: str, tmp_path: Path) -> None:
    """`man --warnings` formats each page in silence, as lintian asks."""
    path = tmp_path / name
    path.write_text(page(name))
    done = subprocess.run(  # noqa: S603 -- man
        ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path],  # noqa: S607 -- wherever it is
        env=os.environ | {"MANROFFSEQ": "", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("name", "command"), [("cbir.1", "cbir"), ("cbir-daemon.8", "cbir-daemon")])
def test_every_option_has_its_line(name: str, command: str) -> None:
    """What a command takes stands in its page, and so does the command."""
    text = page(name).replace("\\-", "-")
    listed = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text))
    assert set(every_option(TREES[command])) <= listed
    assert set(re.findall(rf"^\.SS {command} (\w[\w-]*)", text, re.MULTILINE)) == set(TREES[command].commands)


def test_every_key_has_its_line() -> None:
    """Each key of each section of the configuration is in its page."""
    text = page("cbir.toml.5").replace("\\-", "-")
    names = re.findall(r"^\.B (.*)$", text, re.MULTILINE)
    assert names == [key.name for _, _, keys in config.reference() for key in keys]


def test_what_roff_would_read_is_text() -> None:
    """A line that begins with a full stop, and a backslash, are printed."""

    @click.group(name="cbir-daemon")
    def daemon() -> None:
        r"""Do.

        .SH is no title here, and \e no escape.
        """

    assert "\n\\&.SH is no title here, and \\ee no escape.\n" in page_text("cbir-daemon.8", daemon)


def test_a_page_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`cbir-daemon man` prints what is installed, `completion` of both commands as well."""
    files = shared_files(daemon_commands.daemon)
    for tree, argv, path in (
        (daemon_commands.daemon, ["man", "cbir.1"], "man/man1/cbir.1"),
        (daemon_commands.daemon, ["completion", "fish"], "fish/vendor_completions.d/cbir-daemon.fish"),
        (client_commands.cbir, ["completion", "bash"], "bash-completion/completions/cbir"),
    ):
        program = "cbir" if tree is client_commands.cbir else "cbir-daemon"
        monkeypatch.setattr(sys, "argv", [program, *argv])
        assert status_of(tree, program) == 0
        assert capsys.readouterr().out == files[path]


# -- completion --------------------------------------------------------------------------------------------------------

IN_BASH = """
source /dev/stdin
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
"_${1//-/_}_completion" "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(program: str, *words: str) -> list[str]:
    """Return what bash offers after `words`."""
    status, lines = said("bash", "-c", IN_BASH, "bash", program, *words, text=completion_script(program, "bash"))
    assert status == 0, lines
    return lines.split()


@needs("bash")
def test_bash_completes() -> None:
    """In a real bash Tab offers commands, options and what an option accepts."""
    assert completed("cbir", "dis") == ["dismiss"]
    assert "--explain" in completed("cbir", "query", "--")
    assert {"exact", "copy"} <= set(completed("cbir", "query", "--kind", ""))
    assert completed("cbir-daemon", "install") == ["install-service"]


@needs("fish")
def test_fish_completes() -> None:
    """In a real fish as well."""
    script = completion_script("cbir", "fish") + "complete -C 'cbir dis'\n"
    status, words = said("fish", "--no-config", text=script)
    assert status == 0
    assert "dismiss" in words.split()


@needs("zsh")
@pytest.mark.parametrize("program", ["cbir", "cbir-daemon"])
def test_zsh_takes_the_script(program: str) -> None:
    """Zsh parses it, its completion system finds what it is for, and it calls the command."""
    script = completion_script(program, "zsh")
    assert script.startswith(f"#compdef {program}\n")
    rest = "autoload -Uz compinit; compinit -D -u\n" + script + f"\nprint $_comps[{program}]\n"
    status, words = said("zsh", "-f", text=rest)
    assert (status, words.split()) == (0, [f"_{program.replace('-', '_')}_completion"])


def test_every_shell_has_its_place() -> None:
    """What is installed has the name that each shell looks for."""
    names = {path for path in shared_files(daemon_commands.daemon) if not path.startswith("man/")}
    assert names == {place.format(name) for place in SHELLS.values() for name in ("cbir", "cbir-daemon")}
