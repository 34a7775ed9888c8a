"""Headless Chromium for the tests of pages: start it, open a page, wait, look at pixels."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

ATTACK = "</script><script>window.attacked=1</script><img src=x onerror=window.attacked=1>"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def started(folder: Path) -> Iterator:
    """A browser context; skips where there is no Chromium."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: the browser test of the report page, and only it, did not run")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            str(folder), executable_path=found, args=FLAGS, viewport={"width": 1440, "height": 900}
        )
        yield context
        context.close()


def wait_until(tab, expression: str, *, seconds: float = 30.0) -> None:
    """Poll until the expression holds (wait_for_function would need 'unsafe-eval', which the page forbids)."""
    end = time.monotonic() + seconds
    while not tab.evaluate(expression):
        assert time.monotonic() < end, f"not true within {seconds:g} s: {expression}"
        time.sleep(0.02)


@contextlib.contextmanager
def watched(chromium) -> Iterator[Callable]:
    """Open files; every error, request and dialog of any of them fails the test at its end."""
    troubles: list[str] = []
    opened = []

    def show(path: Path):
        tab = chromium.new_page()
        opened.append(tab)
        tab.on("console", lambda m: troubles.append(f"console: {m.text}") if m.type == "error" else None)
        tab.on("pageerror", lambda e: troubles.append(f"error: {e}"))
        tab.on("dialog", lambda d: troubles.append(f"dialog: {d.message}"))
        tab.on(
            "request", lambda r: None if r.url == path.as_uri() or r.url.startswith("data:") else troubles.append(r.url)
        )
        tab.goto(path.as_uri())
        wait_until(tab, "window.einthovenReady === true")
        return tab

    yield show
    for tab in opened:
        with contextlib.suppress(Exception):
            tab.close()
    assert not troubles, troubles


def pixels(tab, selector: str) -> np.ndarray:
    """Screenshot of an element, RGB in 0..1, shape (height, width, 3)."""
    return matplotlib.image.imread(BytesIO(tab.locator(selector).screenshot()))[..., :3]


def text(tab, selector: str) -> str:
    """What is written in an element."""
    return tab.locator(selector).inner_text()
