"Chromium for tests: without a window, without a network beyond this machine, with a profile of its own."

import os
import shutil

import pytest
from selenium import webdriver

PROGRAMS = ("chromium", "chromedriver")
MISSING = [name for name in PROGRAMS if not shutil.which(name)]
in_chromium = pytest.mark.skipif(
    bool(MISSING),
    reason=f"not on the PATH: {', '.join(MISSING)} (Debian: apt-get install chromium chromium-driver)",
)
OPTIONS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


def start_chromium(profile):
    "Start Chromium with a folder for its profile; its driver, which `quit` ends"
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    no_sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has no sandbox
    for option in (*OPTIONS, f"--user-data-dir={profile}", *no_sandbox):
        options.add_argument(option)
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
