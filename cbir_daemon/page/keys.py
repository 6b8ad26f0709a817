"""The two secrets of a page: one that may do everything, one that may look at pictures.

In: nothing, then texts that are said to be them.  Out: whether they are.  Never here: where they travel.

Both are new at each start.  The second stands in the paths of pictures, for an `<img>` sends no header of ours: what
reads paths, a log or a history, learns nothing that decides.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field

SECRET_BYTES = 32


def _secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets of one run.

    Parameters
    ----------
    page : str
        Opens every method.
    pictures : str
        Opens pictures only.
    """

    page: str = field(default_factory=_secret, repr=False)
    pictures: str = field(default_factory=_secret, repr=False)

    def opens_page(self, said: str) -> bool:
        """Return whether a text is the secret of the page, in a time that does not tell how much of it is right."""
        return _is_same(said, self.page)

    def opens_pictures(self, said: str) -> bool:
        """Return whether a text is the secret of pictures, in a time that does not tell how much of it is right."""
        return _is_same(said, self.pictures)


def _is_same(said: str, secret: str) -> bool:
    return hmac.compare_digest(said.encode(errors="surrogateescape"), secret.encode())
