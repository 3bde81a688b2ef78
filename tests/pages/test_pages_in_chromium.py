"The pages in a browser: live to the end of an update, in both themes, at the width of a phone"

import pytest
from chromium import in_chromium, start_chromium
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from shown_storages import CLEAN, NEW, OLD, RAW, definition, progress, record_begin, record_flow, record_state

from cdc_local.pages.server import serve_pages
from cdc_local.update.event_log import EventLog

pytestmark = in_chromium

PAGES = (
    "/",
    f"/updates/{NEW}",
    f"/updates/{OLD}",
    f"/dataset?update={NEW}&name={CLEAN}",
    "/events",
    "/nothing",
)


@pytest.fixture
def browser(tmp_path):
    browser = start_chromium(tmp_path / "profile")
    yield browser
    browser.quit()


def show_as(browser, theme, width):
    "Let the browser be of a width and a theme"
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def text(browser):
    return browser.find_element(By.TAG_NAME, "main").text


def test_pages_fit_a_phone_and_a_screen_in_both_themes_without_complaints(logged, browser):
    with serve_pages(logged) as running:
        browser.get(running.address)
        assert "token" not in browser.current_url
        grounds = set()
        for theme, width in (("light", 1280), ("dark", 390)):
            show_as(browser, theme, width)
            for page in PAGES:
                browser.get(running.host + page)
                assert browser.execute_script("return document.documentElement.scrollWidth") <= width, page
                style = "return getComputedStyle(document.body).backgroundColor"
                grounds.add((theme, browser.execute_script(style)))
        assert len(grounds) == 2
        log = browser.get_log("browser")
        assert [entry for entry in log if "404 (Not Found)" not in entry["message"]] == []


def test_an_update_is_followed_to_its_end(storage, browser):
    with serve_pages(storage) as running, EventLog(storage.event_log_path, "shop", "77777777") as log:
        record_begin(log)
        browser.get(running.address)
        browser.get(f"{running.host}/updates/77777777")
        wait = WebDriverWait(browser, 20)
        wait.until(lambda browser: "running" in text(browser))
        record_flow(log, "ingest", definition(RAW, []), progress("RUNNING", 1_234))
        wait.until(lambda browser: "1,234" in text(browser))
        record_state(log, "COMPLETED")
        log.flush()
        wait.until(lambda browser: "completed" in text(browser))
        assert browser.get_log("browser") == []
