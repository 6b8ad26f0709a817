"""Fuzz one target or all, for so long: `python -m tests.fuzz [TARGET] [--seconds N] [--seed N]`, see `scripts/fuzz`.

An input that does what no input may is written into `found/TARGET/`, and the exit status is 1.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.fuzz import FOUND, MAX_INPUT_BYTES, TARGETS, Target, mutated

LARGEST_PAUSE_S = 20
"""An input that takes longer is a find."""


@click.command()
@click.argument("names", metavar="[TARGET]...", nargs=-1, type=click.Choice(list(TARGETS)))
@click.option("--seconds", type=click.IntRange(1), default=3600, show_default=True, help="For each target.")
@click.option("--seed", type=int, help="Of the inputs.  [default: another one each time]")
def main(names: tuple[str, ...], seconds: int, seed: int | None) -> None:
    """Fuzz TARGETs, or all."""
    seed = time.time_ns() % 2**31 if seed is None else seed
    failed = [name for name in names or tuple(TARGETS) if not _is_sound(name, seconds, seed)]
    sys.exit(1 if failed else 0)


def _is_sound(name: str, seconds: int, seed: int) -> bool:
    """Fuzz a target by atheris, which sees which lines an input reaches; without it by chance."""
    if importlib.util.find_spec("atheris"):
        return _by_atheris(name, seconds, seed)
    return _by_chance(name, TARGETS[name], seconds, seed)


def _by_chance(name: str, target: Target, seconds: int, seed: int) -> bool:
    choice, seeds, end, count = random.Random(seed), target.seeds(), time.monotonic() + seconds, 0  # noqa: S311 -- no secret
    while time.monotonic() < end:
        data = mutated(target, seeds, choice)
        count += 1
        began = time.monotonic()
        try:
            target.run(data)
        except Exception as error:  # noqa: BLE001 -- a find is whatever comes
            return _found(name, data, repr(error))
        if time.monotonic() - began > LARGEST_PAUSE_S:
            return _found(name, data, f"took longer than {LARGEST_PAUSE_S} s")
    click.echo(f"{name}: {count} inputs, seed {seed}, nothing found")
    return True


def _found(name: str, data: bytes, why: str) -> bool:
    path = FOUND / name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    click.echo(f"{name}: {path}: {why}", err=True)
    return False


def _by_atheris(name: str, seconds: int, seed: int) -> bool:
    """Run libFuzzer in a process of its own, which it ends as it likes."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, crashes = Path(folder, "corpus"), Path(folder, "crashes")
        for place in (corpus, crashes):
            place.mkdir()
        for number, data in enumerate(TARGETS[name].seeds()):
            (corpus / str(number)).write_bytes(data)
        words = Path(folder, "words")
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in TARGETS[name].words))
        done = subprocess.run(  # noqa: S603 -- our own interpreter and code
            [
                *(sys.executable, "-m", "tests.fuzz.by_atheris", name, corpus),
                *(f"-max_total_time={seconds}", f"-seed={seed}", f"-dict={words}", f"-artifact_prefix={crashes}/"),
                *(f"-max_len={MAX_INPUT_BYTES}", f"-timeout={LARGEST_PAUSE_S}", "-print_final_stats=1"),
            ],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        finds = [path.read_bytes() for path in sorted(crashes.iterdir())]
    lines = done.stderr.splitlines()
    if finds or done.returncode:
        click.echo("\n".join(lines[-40:]), err=True)
        for data in finds:
            _found(name, data, "see above")
        return False
    ran = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "?")
    click.echo(f"{name}: {ran} inputs by atheris, seed {seed}, nothing found")
    return True


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
