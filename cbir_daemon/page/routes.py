"""The addresses of the page: its files, methods, pictures.

In: requests that were let in, links to the daemon.  Out: answers.  Never here: who may ask (`guard`).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cbir_daemon import __version__
from cbir_daemon.errors import BadRequestError, CbirError, NotFoundError, UnavailableError
from cbir_daemon.page import methods
from cbir_daemon.page.applying import Applying
from cbir_daemon.page.bodies import Body
from cbir_daemon.page.files import FRONT, File
from cbir_daemon.page.keys import Keys
from cbir_daemon.page.link import Link
from cbir_daemon.page.replies import answered, error_message, failed, refusal, streamed
from cbir_daemon.protocol.framing import Frame, encode
from cbir_daemon.protocol.messages import Json, path_to_json

SIDES_PX = (256, 512, 1024, 2048)
FORM = "jpeg"
MEDIA_TYPES = {"jpeg": "image/jpeg", "webp": "image/webp"}
MOST_IMAGE_BYTES = 128 * 1024 * 1024
"""Of an image that is asked about; the daemon may take less (`decode.max_file_bytes`)."""

ANSWER_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Routes:
    """The application behind the guard.

    Parameters
    ----------
    keys : Keys
        The page is told that of pictures.
    link : Link
    files : mapping
        Name -> file of the page.
    applying : Applying
        Its child is started.
    stopping : asyncio.Event
        Set when the page stops: streams without end are ended.
    """

    keys: Keys
    link: Link
    files: Mapping[str, File]
    applying: Applying
    stopping: asyncio.Event

    def application(self) -> Starlette:
        """Return the application."""
        return Starlette(
            routes=[
                Route("/", self._front),
                Route("/static/{name:path}", self._file),
                Route("/api/session", self._session, methods=["POST"]),
                *(Route(f"/api/{name}", self._act, methods=["POST"]) for name in methods.ACTS),
                Route("/api/{method}", self._method, methods=["POST"]),
                Route("/picture/{key}/grey/{digest}", self._grey),
                Route("/picture/{key}/error/{path}/{side:int}", self._error),
                Route("/picture/{key}/tile/{run}/{level:int}/{column:int}/{row:int}", self._tile),
                Route("/picture/{key}/{digest}/{side:int}", self._picture),
            ],
            exception_handlers={CbirError: _cbir_error, HTTPException: _http_error, Exception: _fault},
        )

    # -- files -------------------------------------------------------------------------------------------------------

    async def _front(self, _: Request) -> Response:
        return self._sent(FRONT)

    async def _file(self, request: Request) -> Response:
        return self._sent(request.path_params["name"])

    def _sent(self, name: str) -> Response:
        file = self.files.get(name)
        if file is None:
            raise NotFoundError("the page has no such file")
        return Response(file.data, media_type=file.type)

    # -- methods -----------------------------------------------------------------------------------------------------

    async def _session(self, request: Request) -> Response:
        methods.checked(await Body(request).json(), frozenset())
        try:
            hello: Json | None = (await self.link.ask("hello", {}, timeout_s=ANSWER_TIMEOUT_S)).message["ok"]
        except CbirError:
            hello = None
        most = MOST_IMAGE_BYTES if hello is None else min(MOST_IMAGE_BYTES, hello["max_file_bytes"])
        return answered(
            {
                "ok": {
                    "read_key": self.keys.pictures,
                    "version": __version__,
                    "max_image_bytes": most,
                    "daemon": hello is not None,
                }
            }
        )

    async def _method(self, request: Request) -> Response:
        name = request.path_params["method"]
        method = methods.method_of(name)
        body = Body(request)
        if name == methods.QUERY and request.headers["content-type"].startswith("application/octet-stream"):
            return await self._image_query(request, body)
        params = methods.checked(await body.json(), method.params)
        if name == methods.QUERY:
            params |= _OF_HERE
        if not method.is_stream:
            return answered(_passed((await self.link.ask(name, params)).message))
        return streamed(self._lines(name, params))

    async def _image_query(self, request: Request, body: Body) -> Response:
        params = methods.checked(_in_address(request), methods.IMAGE_PARAMS) | _OF_HERE
        length = body.announced(MOST_IMAGE_BYTES)
        if not length:
            raise BadRequestError("the image sent is empty")
        async with aclosing(self.link.frames(methods.QUERY, params, body.pieces(), length)) as frames:
            async for frame in frames:
                return answered(_passed(frame.message))
        raise AssertionError("the link yields a frame or raises")

    async def _lines(self, name: str, params: Json) -> AsyncIterator[bytes]:
        try:
            ask = self.link.long_frames if params.get("follow") or name in methods.LONG else self.link.frames
            async with aclosing(ask(name, params)) as frames:
                async for frame in _until(self.stopping, frames):
                    yield encode(_passed(frame.message))
        except CbirError as error:
            yield encode(error_message(error))

    async def _act(self, request: Request) -> Response:
        """Have the child do something; its answers are sent line by line."""
        name = request.url.path.rpartition("/")[2]
        params = methods.checked(await Body(request).json(), methods.ACTS[name])
        decisions = json.dumps(params.pop("decisions", None)).encode()
        return streamed(_acted(self.applying.ask({**params, "do": name}, decisions)))

    # -- pictures ----------------------------------------------------------------------------------------------------

    async def _picture(self, request: Request) -> Response:
        return await self._drawn(request, "preview", {"digest": request.path_params["digest"]})

    async def _error(self, request: Request) -> Response:
        """Send what is there of a file that could not be read, which the daemon lists; it has a path alone."""
        return await self._drawn(request, "error_preview", {"path": _path_from(request.path_params["path"])})

    async def _drawn(self, request: Request, method: str, params: Json) -> Response:
        side_px = request.path_params["side"]
        if side_px not in SIDES_PX:
            raise NotFoundError(f"a preview has {', '.join(map(str, SIDES_PX))} pixels, not {side_px}")
        asked = {**params, "side_px": side_px, "form": FORM}
        frame = await self.link.ask(method, asked, timeout_s=ANSWER_TIMEOUT_S)
        return Response(frame.blob, media_type=MEDIA_TYPES[FORM])

    async def _tile(self, request: Request) -> Response:
        place = {name: request.path_params[name] for name in ("run", "level", "column", "row")}
        params = {**place, "dark": request.query_params.get("dark") == "true"}
        frame = await self.link.ask("map_tile", params, timeout_s=ANSWER_TIMEOUT_S)
        return Response(frame.blob, media_type=MEDIA_TYPES["webp"])

    async def _grey(self, request: Request) -> Response:
        params = {"digest": request.path_params["digest"]}
        frame = await self.link.ask("thumbnail", params, timeout_s=ANSWER_TIMEOUT_S)
        return Response(frame.blob, media_type=MEDIA_TYPES["webp"])


async def _until(stopping: asyncio.Event, frames: AsyncIterator[Frame]) -> AsyncIterator[Frame]:
    """Yield frames until an event is set.

    Raises
    ------
    UnavailableError
        When it was.
    """
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        while True:
            step = asyncio.ensure_future(anext(frames, None))
            await asyncio.wait({step, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                step.cancel()
                await asyncio.wait({step})
                raise UnavailableError("the page is stopping")
            frame = step.result()
            if frame is None:
                return
            yield frame
    finally:
        stopped.cancel()


async def _acted(answers: AsyncIterator[Json]) -> AsyncIterator[bytes]:
    try:
        async for answer in answers:
            yield encode(answer)
    except CbirError as error:
        yield encode(error_message(error))


def _passed(message: Json) -> Json:
    """Return the part of the daemon's message that a browser gets."""
    return {name: message[name] for name in ("ok", "clock", "more") if name in message}


def _path_from(text: str) -> object:
    """Return a path as the daemon takes it, from its bytes in base64 for addresses (RFC 4648, section 5)."""
    try:
        return path_to_json(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except ValueError as error:
        raise BadRequestError("the address has no path in base64") from error


_OF_HERE: Json = {"sites": []}
"""With a query: what lies on another machine has no picture here."""


def _in_address(request: Request) -> Json:
    """Return the parameters that stand in the address, by the types that the daemon takes."""
    read: Mapping[str, Callable[[str], object]] = {"limit": int, "min_score": float, "explain": "true".__eq__}
    try:
        return {name: read.get(name, str)(text) for name, text in request.query_params.items()}
    except ValueError as error:
        raise BadRequestError("a parameter in the address must be a number") from error


def _cbir_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, CbirError)
    return failed(error)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allow = (error.headers or {}).get("Allow", "")
    if allow:
        return refusal(405, "method", f"only {allow} is answered there", allow=allow.split(", "))
    return refusal(error.status_code, "not-found", "nothing is there")


def _fault(_: Request, __: Exception) -> Response:
    return refusal(500, "internal", "the page failed to answer", "its log has the details")
