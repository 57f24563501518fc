"""A headless browser, and the folder of its screenshots."""

import os
import shutil

import pytest
from playwright.sync_api import expect, sync_playwright
from stack.conftest import pytest_generate_tests  # noqa: F401  on each engine, as there

from airflow_docker import PROJECT

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 150_000  # milliseconds: a hanging web worker is replaced after 120 s


@pytest.fixture(scope="session", autouse=True)
def chromium():
    """The browser's program; without it tests fail in CI and are skipped elsewhere."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if not path and os.environ.get("CI") == "true":
        pytest.fail(f"the tests of the web UI must run in CI, but none of {', '.join(NAMES)} is there; see .ci/browser")
    if not path:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on PATH")
    return path


@pytest.fixture(scope="module")
def browser(chromium):
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=OPTIONS) as opened:
        yield opened


@pytest.fixture
def page(browser, stack):
    """A new browser page without a session."""
    address = f"http://127.0.0.1:{stack.settings.airflow_port}"
    with browser.new_context(base_url=address, viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(PATIENCE)
        yield context.new_page()


@pytest.fixture
def pictures(stack, tmp_path):
    """The folder for screenshots: with PICTURES=1 and compose the README's, else a temporary one."""
    wanted = os.environ.get("PICTURES") == "1" and stack.flavour == "compose"
    return PROJECT / "docs" / "pictures" if wanted else tmp_path
