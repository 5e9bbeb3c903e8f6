"""A browser, and in it a page for each test; a picture of the page when the test fails."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

CHROMIUM_FLAGS = [
    "--no-sandbox",  # tests may run as root, which the sandbox refuses
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let fixtures know on their way down whether their test has failed."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def find_chromium() -> str:
    """The system's browser; fails the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.fail("no Chromium on PATH: make browser")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run a headless Chromium."""
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(
            executable_path=find_chromium(), headless=True, args=CHROMIUM_FLAGS
        ) as browser,
    ):
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A browser for all tests of a module."""
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def lone_page() -> AsyncIterator[Page]:
    """An empty page of a browser of its own, in the event loop that the test's servers are in."""
    async with chromium() as browser, await browser.new_page() as page:
        page.set_default_timeout(60_000)
        yield page


@pytest_asyncio.fixture(loop_scope="module")
async def page(
    browser: Browser, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Page]:
    """An empty page of a browser window that nobody has used before."""
    async with (
        await browser.new_context(viewport={"width": 1280, "height": 900}) as context,
        await context.new_page() as page,
    ):
        page.set_default_timeout(60_000)
        yield page
        if request.node.stash.get(FAILED, False):
            picture = tmp_path / "page.png"
            await page.screenshot(path=picture)
            request.node.add_report_section("teardown", "screenshot", str(picture))
