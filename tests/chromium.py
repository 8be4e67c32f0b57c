"""The system's Chromium, and what it has to complain of in a page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, without anything of its own that goes to the network."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, chromium_sandbox=False
        )
        with chromium:
            yield chromium


def complaints(context: Any, url: str) -> list[str]:
    """What the pages of a context say, fail in, and ask of anything but this address, from now."""
    found: list[str] = []

    def requested(request: Any) -> None:
        if not request.url.startswith((url, "data:", "blob:")):
            found.append(request.url)

    context.on("console", lambda message: found.append(f"{message.type}: {message.text}"))
    context.on("weberror", lambda error: found.append(str(error.error)))
    context.on("request", requested)
    return found
