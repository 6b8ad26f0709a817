"""The page as a person sees it, in a real Chromium."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests import pictures
from tests.browser import chromium, complaints, needs_chromium, running_page, visit, wait
from tests.process.daemon import Daemon, living

pytestmark = [pytest.mark.process, needs_chromium]


@pytest.fixture(scope="module")
def album() -> Iterator[Daemon]:
    """Give a daemon that has indexed a few pictures and copies of them."""
    with living() as daemon:
        originals = pictures.write_album(daemon.album, 8)
        for original in originals[:4]:
            pictures.resaved(original, daemon.album / f"small-{original.name}")
        daemon.start()
        daemon.settle()
        yield daemon


@pytest.fixture(scope="module")
def address(album: Daemon) -> Iterator[str]:
    """Give the address of a running page."""
    with running_page(album) as address:
        yield address


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """Give a browser."""
    with chromium(tmp_path) as browser:
        yield browser


def test_the_page_opens(browser: Chrome, address: str) -> None:
    """Chromium shows the page, and has nothing to complain of."""
    visit(browser, address)
    assert browser.title
    assert [line for line in complaints(browser) if "favicon" not in line] == []


# -- other sites -------------------------------------------------------------------------------------------------------


class Elsewhere(BaseHTTPRequestHandler):
    """A site of another origin: whatever is asked of it, the document of its server."""

    def do_GET(self) -> None:  # as http.server calls it
        """Send the document."""
        data: bytes = self.server.document  # type: ignore[attr-defined]  # set below
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def site(document: str) -> Iterator[str]:
    """Run a site on another port of this machine, and give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        server.document = f"<!doctype html><title>elsewhere</title>{document}".encode()  # type: ignore[attr-defined]  # ours
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def base_of(address: str) -> str:
    """Return an address without its secret."""
    return address.partition("#")[0]


def test_a_form_of_another_site_does_nothing(browser: Chrome, address: str) -> None:
    """Chromium sends it, with the other site's Origin; the page answers 403 and says why."""
    target = f"{base_of(address)}api/scan"
    with site(
        f'<form method="post" action="{target}" enctype="text/plain"><input name="x" value="y"></form>'
    ) as elsewhere:
        visit(browser, elsewhere)
        browser.execute_script("document.forms[0].submit()")
        wait(browser).until(lambda page: page.current_url == target)
        shown = wait(browser).until(lambda page: page.find_element("tag name", "body").text)
    assert json.loads(shown)["error"]["code"] == "site"


@pytest.mark.parametrize(
    "options",
    [
        "{}",
        "{mode: 'no-cors'}",
        "{method: 'POST', body: '{}', headers: {'Content-Type': 'text/plain'}}",
        "{method: 'POST', body: '{}', headers: {'Content-Type': 'application/json', Authorization: 'Bearer KEY'}}",
        "{credentials: 'include'}",
    ],
)
def test_a_fetch_of_another_site_learns_nothing(browser: Chrome, address: str, options: str) -> None:
    """With the key, too: no answer of any kind is given to its script."""
    asked = options.replace("KEY", address.partition("#")[2])
    path = "api/status" if "POST" in options else ""
    program = (
        f"const done = arguments[0]; fetch('{base_of(address)}{path}', {asked})"
        ".then(async (answer) => done([answer.type, await answer.text()]), (error) => done(['refused', String(error)]))"
    )
    with site("") as elsewhere:
        visit(browser, elsewhere)
        kind, said = browser.execute_async_script(program)
    assert (kind, said) == ("refused", "TypeError: Failed to fetch")


def test_pictures_are_not_shown_elsewhere(browser: Chrome, album: Daemon, address: str) -> None:
    """Another site's <img> and <script> of the page's files fail, the key of pictures known or not."""
    with site("") as elsewhere:
        visit(browser, elsewhere)
        for tag in ("img", "script"):
            program = (
                f"const done = arguments[0], tag = document.createElement('{tag}');"
                f"tag.onload = () => done('loaded'); tag.onerror = () => done('failed');"
                f"tag.src = '{base_of(address)}static/icon.svg'; document.body.append(tag)"
            )
            assert browser.execute_async_script(program) == "failed"


def test_no_site_frames_the_page(browser: Chrome, address: str) -> None:
    """Chromium shows an error in its place; what is in the frame is not the page."""
    with site(f'<iframe src="{address}"></iframe>') as elsewhere:
        visit(browser, elsewhere)
        browser.switch_to.frame(0)
        assert browser.execute_script("return document.URL") == "chrome-error://chromewebdata/"


def test_a_link_opens_the_page_without_an_opener(browser: Chrome, address: str) -> None:
    """A person may follow a link to it; the site that has the link gets no hold of the window."""
    with site(f'<a id="link" target="_blank" rel="opener" href="{address}">page</a>') as elsewhere:
        visit(browser, elsewhere)
        browser.find_element("id", "link").click()
        wait(browser).until(lambda page: len(page.window_handles) == 2)
        browser.switch_to.window(browser.window_handles[1])
        wait(browser).until(lambda page: page.current_url.startswith(base_of(address)))
        assert browser.execute_script("return window.opener") is None


def test_the_secret_leaves_the_address(browser: Chrome, address: str) -> None:
    """It moves to the tab's own storage: neither the address nor the history has it, and no cookie is set."""
    visit(browser, address)
    key = address.partition("#")[2]
    wait(browser).until(lambda page: key not in page.current_url)
    assert key in browser.execute_script("return Object.values(sessionStorage)")
    assert browser.execute_script("return [document.cookie, Object.keys(localStorage).length]") == ["", 0]


def test_no_inline_script_runs(browser: Chrome, address: str) -> None:
    """The policy stops a script that got into the document, an `eval`, and HTML made of text."""
    visit(browser, address)
    inline = (
        "const script = document.createElement('script'); script.append('window.hit = 1');"
        "try { document.body.append(script) } catch (error) {} return window.hit ?? null"
    )
    assert browser.execute_script(inline) is None
    html = (
        "try { document.createElement('p').innerHTML = '<b>x</b>'; return 'made' } catch (error) { return error.name }"
    )
    assert browser.execute_script(html) == "TypeError"
