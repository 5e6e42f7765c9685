"""Opens pages in headless Chromium, and skips tests where there is none."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

# Chromium asks for nothing by itself, so that a test sees the page's requests alone. Containers
# have no sandbox.
_QUIET = (
    *(
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-dev-shm-usage",
    ),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
    ),
)


@contextlib.contextmanager
def browse(
    *, width: int = 1280, height: int = 900, dark: bool = False, script: bool = True
) -> Iterator[Page]:
    """Open an empty page in a new window with a new profile, or skip the test without Chromium.

    Args:
        width: of the window, in CSS pixels; 390 is a phone's.
        height: of the window.
        dark: whether the user prefers dark pages.
        script: whether pages may run scripts.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        try:
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                java_script_enabled=script,
            )
            page.set_default_timeout(60_000)  # shared machines are slow at times
            yield page
        finally:
            browser.close()


def watch(page: Page) -> tuple[list[str], list[str]]:
    """Return two lists that fill up while a page is used: its network requests and its errors."""
    asked: list[str] = []
    wrong: list[str] = []
    own = ("file:", "data:", "blob:", "about:")
    page.on(
        "request",
        lambda request: None if request.url.startswith(own) else asked.append(request.url),
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda message: wrong.append(message.text) if message.type == "error" else None
    )
    return asked, wrong
