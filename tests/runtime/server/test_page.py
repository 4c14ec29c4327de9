"""The web page, in a real browser without a window."""

from __future__ import annotations

import shutil
from itertools import pairwise

import pytest

pytest.importorskip("selenium", reason="selenium is absent: pip install 'soundstorm-edge[dev]'")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from .test_processes import LONG, counts

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=900,900"
).split()

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium is absent: apt-get install chromium chromium-driver"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """What a person sees and does."""

    def __init__(self, driver, url):
        self.driver, self.url = driver, url
        driver.get(url)
        self.wait(lambda: self["model"].text == "tiny")

    def __getitem__(self, name):
        return self.driver.find_element(By.ID, name)

    def wait(self, condition):
        WebDriverWait(self.driver, 30, poll_frequency=0.05).until(lambda _: condition())

    def write(self, text):
        self.driver.execute_script("arguments[0].value = arguments[1]", self["text"], text)

    def press(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def length(self):
        shown = self["length"].text
        return 0.0 if shown == "–" else float(shown.split()[0])

    def drawn(self):
        """Whether anything is drawn on the canvas of the waveform."""
        return self.driver.execute_script(
            "const c = document.getElementById('wave');"
            "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((x) => x > 0)"
        )


def complaints(browser):
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def page(browser, served):
    opened = Page(browser, served.url)
    opened.wait(lambda: opened["voice"].get_attribute("value") == "default")
    yield opened
    assert complaints(browser) == []  # nothing failed, nothing broke the content security policy


def test_a_text_is_heard_from_the_keyboard_alone(page):
    assert not page.drawn()
    page.press(Keys.CONTROL, "a")
    page.press("Hello there.")
    assert page["text"].get_attribute("value") == "Hello there."
    assert page["count"].text == "12 of 4096"
    page.press(Keys.CONTROL, Keys.ENTER)
    page.wait(lambda: page["status"].text == "Done.")
    assert page["first"].text.endswith(" ms")
    assert page.length() > 0
    assert page.drawn()
    assert page["wave"].accessible_name == f"Waveform: {page['length'].text} of speech"
    assert not page["stop"].is_enabled()


def test_speech_begins_while_it_is_made_and_stops_when_told(browser, start, slow_bundle):
    with start(slow_bundle) as served:
        page = Page(browser, served.url)
        page.write(LONG)
        page["speak"].click()
        page.wait(lambda: page["status"].text == "Speaking.")
        assert counts(served.url)["soundstorm_speaking"] == 1
        begun = page.length()
        page.wait(lambda: page.length() > begun)
        page["stop"].click()
        assert page["status"].text == "Stopped."
        page.wait(lambda: counts(served.url)["soundstorm_texts"] == 0)
        page["speak"].click()
        page.wait(lambda: page["status"].text == "Speaking.")
        page.press(Keys.ESCAPE)
        assert page["status"].text == "Stopped."
        page.wait(lambda: counts(served.url)["soundstorm_abandoned_total"] == 2)
    assert complaints(browser) == []


def test_the_sound_is_what_the_server_sends(page):
    """The samples that are scheduled have no gap: their length is that of the answer."""
    page.driver.execute_script(
        "window.played = [];"
        "const start = AudioBufferSourceNode.prototype.start;"
        "AudioBufferSourceNode.prototype.start = function (at) {"
        "  window.played.push([at, this.buffer.duration]); start.call(this, at); };"
    )
    page.write("One two six ten. " * 3)
    page["speak"].click()
    page.wait(lambda: page["status"].text == "Done.")
    played = page.driver.execute_script("return window.played")
    assert sum(duration for _, duration in played) == pytest.approx(page.length(), abs=0.051)
    for (at, duration), (following, _) in pairwise(played):
        assert following >= at + duration - 1e-9


def test_every_control_has_a_name_and_is_reached_by_tab(page):
    reached = []
    for _ in range(5):
        reached.append(page.driver.switch_to.active_element.accessible_name)
        page.press(Keys.TAB)
    assert reached == ["Text", "Voice", "Speed", "Speak", "API"]  # Stop has nothing to stop


def test_errors_are_shown(page):
    page.write("?!")
    page["speak"].click()
    page.wait(lambda: page["error"].is_displayed())
    assert page["error"].text == "text '?!' has no speakable character; give letters or digits"
    assert page["error"].aria_role == "alert"
    page.write("Better.")
    page["speak"].click()
    page.wait(lambda: page["status"].text == "Done.")
    assert not page["error"].is_displayed()
    (refused,) = complaints(page.driver)  # the browser notes the 400 itself
    assert "400" in refused["message"]


def test_a_token_is_asked_for_where_one_is_needed(browser, start, bundle):
    with start(bundle, SOUNDSTORM_TOKEN="secret") as served:
        page = Page(browser, served.url)
        page.wait(lambda: page["token"].is_displayed())
        page["token"].send_keys("secret", Keys.TAB)
        page.wait(lambda: page["voice"].get_attribute("value") == "default")
        page.write("Better.")
        page["speak"].click()
        page.wait(lambda: page["status"].text == "Done.")
        assert not page["error"].is_displayed()
    assert all("401" in entry["message"] for entry in complaints(browser))


def test_colours_and_motion_follow_the_person(page):
    def background():
        return page.driver.execute_script("return getComputedStyle(document.body).backgroundColor")

    def emulate(**features):
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": listed})

    emulate(prefers_color_scheme="light")
    light = background()
    emulate(prefers_color_scheme="dark", prefers_reduced_motion="reduce")
    assert background() != light
    page.write("One two.")
    page["speak"].click()
    page.wait(lambda: page["status"].text == "Done.")
    emulate()


@pytest.mark.parametrize("width", [360, 900])
def test_nothing_hangs_over_the_side(page, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for path in ("/", "/docs"):
            page.driver.get(page.url + path)
            page.wait(lambda: "Loading." not in page.driver.find_element(By.TAG_NAME, "main").text)
            wide = page.driver.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_description_is_laid_out(page):
    page.driver.get(f"{page.url}/docs")
    page.wait(lambda: "/v1/audio/speech" in page.driver.find_element(By.ID, "operations").text)
    shown = page.driver.find_element(By.ID, "operations").text
    for word in (
        "POST",
        "response_format",
        "mp3, opus, flac, wav, pcm",
        "at most 4096 characters",
        "/metrics",
    ):
        assert word in shown


def test_nothing_comes_from_elsewhere(page):
    for path in ("/", "/docs"):
        page.driver.get(page.url + path)
        fetched = page.driver.execute_script(
            "return performance.getEntriesByType('resource').map((entry) => entry.name)"
        )
        assert len(fetched) >= 3
        assert [name for name in fetched if not name.startswith(page.url)] == []
