"""Secrets: addresses and keys, read from a file or the environment when they are needed.

In: a place.  Out: the text that is there.  Never here: a message with that text in it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cbir_daemon.errors import SinkError

MAX_CHARACTERS = 16_384


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is; read anew for each use, so that it can be changed while the daemon runs.

    Parameters
    ----------
    file : Path or None
        Its contents are the secret, without white space around it.
    variable : str
        Of the daemon's environment; used when there is no file.
    """

    file: Path | None
    variable: str

    @property
    def is_set(self) -> bool:
        """Whether there is a place at all."""
        return self.file is not None or bool(self.variable)

    def read(self) -> str:
        """Return the secret.

        Raises
        ------
        SinkError
            When there is none; names the place only.
        """
        text = self._text().strip()
        if not text:
            raise SinkError(f"{self._place}: is empty", hint="write the secret into it")
        return text

    @property
    def _place(self) -> str:
        return f"variable {self.variable}" if self.file is None else str(self.file)

    def _text(self) -> str:
        if self.file is None:
            return os.environ.get(self.variable, "")
        try:
            with self.file.open(encoding="utf-8") as stream:
                return stream.read(MAX_CHARACTERS)
        except OSError as error:
            raise SinkError(
                f"{self.file}: cannot be read: {error.strerror}", hint="the daemon's user must be able to read it"
            ) from error
        except UnicodeDecodeError:
            # The error holds the bytes: it must not be the cause of one that is shown.
            raise SinkError(f"{self.file}: is not text", hint="save it as UTF-8") from None
