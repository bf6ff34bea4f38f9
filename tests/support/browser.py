"""Chromium for tests of pages. Needs Chromium and its driver (Debian: chromium-driver)."""

import json
import os
import shutil
from contextlib import contextmanager

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

FLAGS = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
    ),
    *("--disable-background-networking", "--disable-component-update"),
)
PATIENCE = 120  # seconds, for machines with other work


def missing(what):
    (pytest.fail if os.environ.get("SER_HF_NEEDS_BROWSER") else pytest.skip)(
        f"{what} is not installed"
    )


@contextmanager
def chromium(folder, *flags):
    """A browser with a profile in `folder`, which logs its messages and requests."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        missing("chromium or its driver")
    options = Options()
    options.binary_location, driver = programs
    for flag in (*FLAGS, *flags, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


def show(browser, address, width=1280, scheme="light"):
    """Opens a page in a window of a width, in light or dark colors."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(address)


def forget(browser):
    """Empties the logs."""
    browser.get_log("browser"), browser.get_log("performance")


def requests(browser, address):
    """Every address that a page requested; the browser's start page requests its own pictures."""
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    sent = [one["params"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    return {one["request"]["url"] for one in sent if one["documentURL"] == address}
