"""The one door to Milvus: collections of the shared index, as rows in and rows out.

In: where the server is; rows, codes, ids.  Out: rows as the server gives them, which nobody believes yet (`layout`).
Never here: what a row means, threads, retries.

Every call ends within the time that it is given, and raises `SharedError` for whatever the server or pymilvus refuses.
pymilvus is imported by the first call that connects.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cbir_daemon.config.settings import SharedConfig
from cbir_daemon.errors import SharedError, SiteTakenError
from cbir_daemon.records import VECTOR_BYTES
from cbir_daemon.shared.layout import CODES, LAYOUT, site_number

EXTRA = "cbir-daemon[shared]"

OPEN_TIMEOUT_S = 120.0
"""To make and load the collections: a server that has just started takes half a minute for the first."""

WRITE_TIMEOUT_S = 60.0
MAX_TOKEN_CHARACTERS = 4096

WHOLES, WINDOWS = "wholes", "windows"
"""The partitions of the codes: of whole images, which many views of a query are compared with, and of their windows."""

LISTS, PROBES = 1024, 16
"""Lists of the index of the codes in each of Milvus's segments, and how many of them a view looks into."""

FETCHED_ROWS = 1000

T = TypeVar("T")
Row = Mapping[str, Any]
Field = tuple[str, object, Mapping[str, object]]
"""Name, type and options of a column."""


def is_installed() -> bool:
    """Whether the extra is there; imports nothing."""
    return importlib.util.find_spec("pymilvus") is not None


class Engine:
    """The collections of the shared index on one Milvus.

    Parameters
    ----------
    settings : SharedConfig
    terms : int
        Numbers of a code.
    medium : str
        Name and version of what makes the vectors; an index of another one is refused.

    Notes
    -----
    Any thread may call it.
    """

    def __init__(self, settings: SharedConfig, terms: int, medium: str) -> None:
        self._settings = settings
        self._terms = terms
        self._about = f"cbir {LAYOUT} {medium}"
        self._lock = threading.Lock()
        self._client: Any = None
        self.contents = f"{settings.collection}_contents"
        self.codes = f"{settings.collection}_codes"
        self.sites = f"{settings.collection}_sites"
        self.pairs = f"{settings.collection}_pairs"

    # -- connection --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let the connection go."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self, timeout_s: float) -> Any:  # noqa: ANN401 -- untyped
        with self._lock:
            if self._client is None:
                pymilvus = _pymilvus()
                options: dict[str, object] = {"uri": self._settings.uri, "timeout": timeout_s}
                if self._settings.token_file is not None:
                    options["token"] = _token(self._settings)
                if self._settings.ca_file is not None:
                    options["server_pem_path"] = str(self._settings.ca_file)
                self._client = pymilvus.MilvusClient(**options)
            return self._client

    def _call(self, question: Callable[[Any], T], timeout_s: float) -> T:
        """Return what a question to the client gives; whatever goes wrong in there is one error of ours."""
        try:
            return question(self._connected(timeout_s))
        except SharedError:
            raise
        # pymilvus raises a dozen kinds for a server that is away, grpc's own, and ValueError for answers of a server
        # of another kind: none of them may end a thread of ours.
        except Exception as error:
            raise SharedError(
                f"{self._settings.uri}: {_reason(error)}", hint="is that Milvus running, and reachable from here?"
            ) from error

    # -- collections -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the collections that are not there, and have the server load them.

        Raises
        ------
        SharedError
            When the server is away, or has collections of another layout.
        """
        self._call(self._make_all, OPEN_TIMEOUT_S)

    def _make_all(self, client: Any) -> None:  # noqa: ANN401 -- untyped
        kinds = _pymilvus().DataType
        number: Field = ("site_number", kinds.INT64, {})
        key: Field = ("id", kinds.INT64, {"is_primary": True})
        vector = ("vector", kinds.BINARY_VECTOR, {"dim": 8 * VECTOR_BYTES})
        site, digest, facts = (
            (name, kinds.VARCHAR, {"max_length": length})
            for name, length in (("site", 64), ("digest", 64), ("facts", 16_384))
        )
        code = ("code", kinds.FLOAT_VECTOR, {"dim": self._terms})
        flat = {"index_type": "BIN_FLAT", "metric_type": "HAMMING", "params": {}}
        lists = {"index_type": "IVF_SQ8", "metric_type": "COSINE", "params": {"nlist": LISTS}}
        # Milvus wants a vector in each collection.
        none = ("none", kinds.FLOAT_VECTOR, {"dim": 2})
        plain = {"index_type": "FLAT", "metric_type": "L2", "params": {}}
        self._make(client, self.contents, [key, number, site, digest, facts, vector], ("vector", flat))
        self._make(client, self.codes, [key, number, code], ("code", lists), (WHOLES, WINDOWS))
        name = ("name", kinds.VARCHAR, {"max_length": 64, "is_primary": True})
        owner = ("owner", kinds.VARCHAR, {"max_length": 32})
        self._make(client, self.sites, [name, owner, none], ("none", plain))
        ends: list[Field] = [(name, kinds.INT64, {}) for name in ("first_site", "first", "second_site", "second")]
        self._make(client, self.pairs, [key, *ends, none], ("none", plain))

    def _make(
        self,
        client: Any,  # noqa: ANN401 -- untyped
        name: str,
        fields: Sequence[Field],
        index: tuple[str, Mapping[str, object]],
        partitions: Sequence[str] = (),
    ) -> None:
        timeout = {"timeout": OPEN_TIMEOUT_S}
        if not client.has_collection(name, **timeout):
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description=self._about)
            for field, kind, options in fields:
                schema.add_field(field, kind, **options)
            client.create_collection(name, schema=schema, consistency_level="Bounded", **timeout)
        found = client.describe_collection(name, **timeout)["description"]
        if found != self._about:
            raise SharedError(
                f"{self._settings.uri}: the collection {name} is of {found or 'another program'!r},"
                f" this release writes {self._about!r}",
                hint="name another one: [shared] collection",
            )
        for partition in partitions:
            if not client.has_partition(name, partition, **timeout):
                client.create_partition(name, partition, **timeout)
        if not client.list_indexes(name):
            asked = client.prepare_index_params()
            asked.add_index(index[0], **index[1])
            client.create_index(name, asked, **timeout)
        client.load_collection(name, **timeout)

    # -- sites -------------------------------------------------------------------------------------------------------

    def claim(self, site: str, owner: str) -> bool:
        """Write that a site is ours, and return whether it was known before.

        Parameters
        ----------
        site : str
        owner : str
            By which two sites of one name are told apart.

        Raises
        ------
        SiteTakenError
            When it is somebody else's.
        """
        before = self._owner(site)
        if before is None:
            row = {"name": site, "owner": owner, "none": [0.0, 0.0]}
            self._call(lambda client: client.upsert(self.sites, [row], timeout=WRITE_TIMEOUT_S), WRITE_TIMEOUT_S)
        # Two that claim one name at once both read what was written last.
        now = self._owner(site)
        if now not in (None, owner):
            raise SiteTakenError(
                f"the site {site} of {self._settings.uri} is another daemon's",
                hint="give this one another [shared] site; that of a daemon that is no more goes by"
                f" `cbir-daemon publish --withdraw --site {site}`",
            )
        return before is not None

    def _owner(self, site: str) -> str | None:
        rows = self._get(self.sites, [site], ["owner"], WRITE_TIMEOUT_S, "Strong")
        return next((str(row["owner"]) for row in rows), None)

    def site_names(self, timeout_s: float) -> list[str]:
        """Return the names of all sites, in order."""
        rows = self._call(
            lambda client: client.query(
                self.sites, filter='name != ""', output_fields=["name"], limit=FETCHED_ROWS, timeout=timeout_s
            ),
            timeout_s,
        )
        return sorted(str(row["name"]) for row in rows)

    # -- writing -----------------------------------------------------------------------------------------------------

    def put(self, contents: Sequence[Row], wholes: Sequence[Row], windows: Sequence[Row]) -> None:
        """Write rows; those with the same id are replaced.

        Parameters
        ----------
        contents, wholes, windows : sequence of mapping
            From `layout`.  A content comes before its codes: a code without one is passed over.
        """
        for name, rows, partition in (
            (self.contents, contents, ""),
            (self.codes, wholes, WHOLES),
            (self.codes, windows, WINDOWS),
        ):
            if rows:
                self._call(partial(_upsert, name, rows, partition), WRITE_TIMEOUT_S)

    def remove(self, ids: Sequence[int]) -> None:
        """Delete contents with their codes and pairs; unknown ids are passed over."""
        if not ids:
            return
        codes = [content_id + number for content_id in ids for number in range(CODES)]

        def delete(client: Any) -> None:  # noqa: ANN401 -- untyped
            client.delete(self.codes, ids=codes, timeout=WRITE_TIMEOUT_S)
            client.delete(self.contents, ids=list(ids), timeout=WRITE_TIMEOUT_S)
            for end in ("first", "second"):
                client.delete(self.pairs, filter=f"{end} in {list(ids)}", timeout=WRITE_TIMEOUT_S)

        self._call(delete, WRITE_TIMEOUT_S)

    def withdraw(self, site: str) -> None:
        """Delete all rows of a site, its name last."""
        number = site_number(site)

        def delete(client: Any) -> None:  # noqa: ANN401 -- untyped
            for end in ("first_site", "second_site"):
                client.delete(self.pairs, filter=f"{end} == {number}", timeout=WRITE_TIMEOUT_S)
            client.delete(self.codes, filter=f"site_number == {number}", timeout=WRITE_TIMEOUT_S)
            client.delete(self.contents, filter=f"site_number == {number}", timeout=WRITE_TIMEOUT_S)
            client.delete(self.sites, ids=[site], timeout=WRITE_TIMEOUT_S)

        self._call(delete, WRITE_TIMEOUT_S)

    def put_pairs(self, rows: Sequence[Row]) -> None:
        """Write pairs of contents of two sites."""
        if rows:
            self._call(partial(_upsert, self.pairs, rows, ""), WRITE_TIMEOUT_S)

    # -- reading -----------------------------------------------------------------------------------------------------

    def nearest(
        self, views: NDArray[np.float32], partition: str, where: str, limit: int, timeout_s: float, *, strong: bool
    ) -> list[tuple[int, float]]:
        """Return the codes nearest to views of a query.

        Parameters
        ----------
        views : (v, terms) ndarray of float32
        partition : str
            `WHOLES` or `WINDOWS`.
        where : str
            Filter of Milvus; empty for none.
        limit : int
            Codes for each view.
        timeout_s : float
        strong : bool
            Whether all that was written before must be seen; else what was written some seconds ago.

        Returns
        -------
        list of (code id, cosine)
            In no order, one id maybe several times.
        """
        found = self._call(
            lambda client: client.search(
                self.codes,
                data=list(views),
                anns_field="code",
                filter=where,
                limit=limit,
                partition_names=[partition],
                search_params={"metric_type": "COSINE", "params": {"nprobe": PROBES}},
                consistency_level="Strong" if strong else "Bounded",
                timeout=timeout_s,
            ),
            timeout_s,
        )
        return [(int(hit["id"]), float(hit["distance"])) for hits in found for hit in hits]

    def rows(self, ids: Sequence[int], timeout_s: float, *, strong: bool = False) -> list[Row]:
        """Return the rows of contents that are there, in no order.

        Parameters
        ----------
        ids : sequence of int
        timeout_s : float
        strong : bool
            Whether all that was written before must be seen.
        """
        fields = ["id", "site_number", "site", "digest", "facts", "vector"]
        return self._get(self.contents, list(ids), fields, timeout_s, "Strong" if strong else "Bounded")

    def _get(
        self, name: str, ids: Sequence[int | str], fields: Sequence[str], timeout_s: float, consistency: str
    ) -> list[Row]:
        found: list[Row] = []
        for start in range(0, len(ids), FETCHED_ROWS):
            piece = list(ids[start : start + FETCHED_ROWS])
            options = {"output_fields": list(fields), "consistency_level": consistency, "timeout": timeout_s}
            found += self._call(partial(_got, name, piece, options), timeout_s)
        return found

    def pairs_of(self, site: str, timeout_s: float) -> list[tuple[int, int]]:
        """Return (own content, content of another site) of every pair of a site.

        Parameters
        ----------
        site : str
        timeout_s : float
            Of each thousand.
        """
        number = site_number(site)
        fields = ["first_site", "first", "second_site", "second"]
        rows = self._iterated(self.pairs, f"first_site == {number} or second_site == {number}", fields, timeout_s)
        pairs = [
            (row["first"], row["second"]) if row["first_site"] == number else (row["second"], row["first"])
            for row in rows
        ]
        return sorted(set(pairs))

    def content_ids(self, site: str, timeout_s: float = WRITE_TIMEOUT_S) -> list[int]:
        """Return the ids of all contents of a site, ascending.

        Parameters
        ----------
        site : str
        timeout_s : float
            Of each thousand.
        """
        rows = self._iterated(self.contents, f"site_number == {site_number(site)}", ["id"], timeout_s)
        return sorted(int(row["id"]) for row in rows)

    def code_ids(self, site: str, timeout_s: float = WRITE_TIMEOUT_S) -> list[int]:
        """Return the ids of all codes of a site, ascending.

        Parameters
        ----------
        site : str
        timeout_s : float
            Of each thousand.
        """
        rows = self._iterated(self.codes, f"site_number == {site_number(site)}", ["id"], timeout_s)
        return sorted(int(row["id"]) for row in rows)

    def _iterated(self, name: str, where: str, fields: Sequence[str], timeout_s: float) -> Iterator[Row]:
        """Yield rows in order of id, all that was written before."""
        fields = [*dict.fromkeys([*fields, "id"])]
        last, count = -1, FETCHED_ROWS
        while count == FETCHED_ROWS:
            options = {
                "filter": f"id > {last} and ({where})",
                "output_fields": fields,
                "limit": FETCHED_ROWS,
                "consistency_level": "Strong",
                "timeout": timeout_s,
            }
            rows = self._call(partial(_queried, name, options), timeout_s)
            yield from rows
            last, count = max((int(row["id"]) for row in rows), default=0), len(rows)


def _got(name: str, ids: Sequence[int | str], options: Row, client: Any) -> list[Row]:  # noqa: ANN401 -- untyped
    return list(client.get(name, ids=ids, **options))


def _queried(name: str, options: Row, client: Any) -> list[Row]:  # noqa: ANN401 -- untyped
    return list(client.query(name, **options))


def _upsert(name: str, rows: Sequence[Row], partition: str, client: Any) -> None:  # noqa: ANN401 -- untyped
    client.upsert(name, list(rows), partition_name=partition, timeout=WRITE_TIMEOUT_S)


def _pymilvus() -> Any:  # noqa: ANN401 -- untyped
    try:
        import pymilvus  # noqa: PLC0415 -- 100 MB and half a second, for who shares an index
    except ImportError as error:
        raise SharedError("pymilvus is not installed", hint=f"pip install '{EXTRA}', then restart") from error
    # It logs each failed try of its own, in colours; what comes of it is logged by whoever asked.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return pymilvus


def _token(settings: SharedConfig) -> str:
    """Return the token, never part of a message."""
    assert settings.token_file is not None
    try:
        with settings.token_file.open(encoding="utf-8") as stream:
            token = stream.read(MAX_TOKEN_CHARACTERS).strip()
    except OSError as error:
        raise SharedError(
            f"{settings.token_file}: cannot be read: {error.strerror}", hint="the daemon's user must be able to read it"
        ) from error
    except UnicodeDecodeError:
        # The error holds the bytes: it must not be the cause of one that is shown.
        raise SharedError(f"{settings.token_file}: is not text", hint="save it as UTF-8") from None
    if not token:
        raise SharedError(f"{settings.token_file}: is empty", hint="write `user:password` or an API key into it")
    return token


def _reason(error: Exception) -> str:
    """Return one short line of what pymilvus says."""
    text = str(getattr(error, "message", "") or error)
    line = text.splitlines()[0] if text else type(error).__name__
    return line if len(line) <= 200 else f"{line[:197]}..."
