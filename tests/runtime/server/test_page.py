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

from .routes.test_voice_routes import sound
from .test_processes import LONG, begin, counts

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
        driver.get("about:blank")
        complaints(driver)  # of a page before, whose server has ended
        driver.get(url)
        self.wait(lambda: self["model"].text == "tiny")

    def __getitem__(self, name):
        return self.driver.find_element(By.ID, name)

    def wait(self, condition):
        WebDriverWait(self.driver, 120, poll_frequency=0.05).until(lambda _: condition())

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


def test_words_are_marked_as_they_are_spoken(page):
    page.driver.execute_script(
        "window.marked = [];"
        "const spoken = document.getElementById('spoken');"
        "new MutationObserver(() => {"
        "  const mark = spoken.querySelector('mark');"
        "  window.marked.push(mark ? [mark.textContent, spoken.textContent] : null);"
        "}).observe(spoken, { childList: true });"
    )
    text = "Tea \N{HOT BEVERAGE} \N{GRINNING FACE} costs $100, twice <b>."
    page.write(text)
    page["speak"].click()
    page.wait(lambda: page["status"].text == "Done.")
    *marked, last = page.driver.execute_script("return window.marked")
    assert last is None  # at the end, nothing is marked
    assert {whole for _, whole in marked} == {text}
    words = [word for word, _ in marked]
    expected = ["Tea", "\N{HOT BEVERAGE}", "\N{GRINNING FACE}", "costs", "$100,", "twice"]
    places = [expected.index(next(e for e in expected if e.startswith(word))) for word in words]
    assert places == sorted(set(places))
    assert len(places) >= 2  # words may pass between two looks, most of all on a machine that is busy


def test_the_text_follows_the_words_and_the_page_stays(page):
    run = page.driver.execute_script
    run("Object.assign(document.getElementById('spoken').style, { maxHeight: '2em', width: '6em' })")
    page.driver.set_window_size(900, 400)  # which the spoken text is below
    try:
        page.write("One two six ten, one two six ten, one two six ten.")
        page.press(Keys.CONTROL, Keys.ENTER)
        page.wait(lambda: run("return document.getElementById('spoken').scrollTop") > 0)
        page.wait(lambda: page["status"].text == "Done.")
        assert run("return scrollY") == 0
    finally:
        page.driver.set_window_size(900, 900)


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
    for _ in range(7):
        reached.append(page.driver.switch_to.active_element.accessible_name)
        page.press(Keys.TAB)
    # Stop, Replay and Download have nothing to act on.
    assert reached == ["Text", "Voice", "Speed", "Format of downloads", "Seed", "Speak", "Dialogue"]


def test_errors_are_shown_beside_their_fields(page):
    page.write("?!")
    page["speak"].click()
    page.wait(lambda: page["text-problem"].is_displayed())
    assert page["text-problem"].text == "text '?!' has no speakable character; give letters or digits"
    assert page["text-problem"].aria_role == "alert"
    assert page["text"].get_attribute("aria-invalid") == "true"
    assert page.driver.switch_to.active_element == page["text"]
    page.write("Better.")
    page.driver.execute_script("arguments[0].value = -1", page["seed"])
    page["speak"].click()
    page.wait(lambda: page["seed-problem"].is_displayed())
    assert not page["text-problem"].is_displayed()
    page.driver.execute_script("arguments[0].value = 1", page["seed"])
    page["speak"].click()
    page.wait(lambda: page["status"].text == "Done.")
    assert not page["seed-problem"].is_displayed()
    assert page["text"].get_attribute("aria-invalid") is None
    assert all("400" in refused["message"] for refused in complaints(page.driver))  # the browser's own notes


def test_what_was_spoken_is_played_again_kept_and_downloaded(page):
    page.driver.execute_script(
        "window.saved = [];"
        "URL.createObjectURL = (blob) => { window.saved.push([blob.type, blob.size]); return 'blob:none'; };"
        "HTMLAnchorElement.prototype.click = function () { window.saved.push([this.download]); };"
    )
    page.driver.execute_script("arguments[0].value = ''", page["seed"])  # the same as 0
    for text in ("One two.", "Six ten."):
        page.write(text)
        page["speak"].click()
        page.wait(lambda: page["status"].text == "Done.")
    entries = page["history"].find_elements(By.TAG_NAME, "li")
    assert [entry.find_element(By.CLASS_NAME, "spoken").text for entry in entries] == ["Six ten.", "One two."]
    assert ", seed 0, " in entries[0].text
    length = page.length()
    page.driver.execute_script(
        "window.said = [];"
        "const status = document.getElementById('status');"
        "const observer = new MutationObserver(() => window.said.push(status.textContent));"
        "observer.observe(status, { childList: true });"
    )
    page["replay"].click()
    page.wait(lambda: page.driver.execute_script("return window.said") == ["Speaking.", "Done."])
    assert page.length() == length
    page["download"].click()
    page.driver.execute_script("arguments[0].value = 'mp3'", page["format"])
    page["download"].click()
    page.wait(lambda: page["status"].text == "Downloaded as mp3.")
    (kind, size), (wav,), (encoded, more), (mp3,) = page.driver.execute_script("return window.saved")
    assert (kind, wav, encoded, mp3) == ("audio/wav", "speech.wav", "audio/mpeg", "speech.mp3")
    assert (size - 44) / 2 / 24_000 == pytest.approx(length, abs=0.051)
    assert more > 500
    replay, download, again = entries[1].find_elements(By.TAG_NAME, "button")
    assert (replay.accessible_name, download.accessible_name) == ("Replay: One two.", "Download: One two.")
    again.click()
    assert page["text"].get_attribute("value") == "One two."


def test_speakers_take_turns(browser, start, make_bundle):
    with start(make_bundle(voices={"slt": 40, "rms": 60})) as served:
        page = Page(browser, served.url)
        page.wait(lambda: page["voice"].get_attribute("value") == "default")
        page["dialogue-section"].find_element(By.TAG_NAME, "summary").click()
        find = page["turns"].find_elements
        page.wait(lambda: len(find(By.TAG_NAME, "li")) == 2)
        page["turn-add"].click()
        page.press("[overlap 0.1s] So.")
        page["turn-add"].click()
        assert browser.switch_to.active_element.accessible_name == "Text of turn 4"
        find(By.TAG_NAME, "button")[1].click()
        names = [turn.accessible_name for turn in find(By.TAG_NAME, "select")]
        assert names == ["Voice of turn 1", "Voice of turn 2", "Voice of turn 3"]
        assert [turn.get_attribute("value") for turn in find(By.TAG_NAME, "select")] == ["slt", "slt", "rms"]
        page.press(Keys.TAB, Keys.TAB, Keys.TAB)
        page.press("*", Keys.CONTROL, Keys.ENTER)
        page.wait(lambda: page["turns-problem"].is_displayed())
        assert page["turns-problem"].text.startswith("turn 3: text '*' has no speakable character")
        find(By.TAG_NAME, "textarea")[2].send_keys(Keys.BACKSPACE, "All right.", Keys.CONTROL, Keys.ENTER)
        page.wait(lambda: page["status"].text == "Done.")
        assert not page["turns-problem"].is_displayed()
        assert page.length() > 0
        (entry,) = page["history"].find_elements(By.TAG_NAME, "li")
        told = entry.find_element(By.CLASS_NAME, "spoken").text
        assert told == ("slt: Did you see the lights last night?\nslt: [overlap 0.1s] So.\nrms: All right.")
        entry.find_elements(By.TAG_NAME, "button")[2].click()
        assert len(find(By.TAG_NAME, "li")) == 3
        assert all("400" in refused["message"] for refused in complaints(browser))


def test_voices_have_descriptions_and_are_made_of_recordings(browser, start, make_bundle, tmp_path):
    bundle, uploads = make_bundle(hears=True, voices={"slt": 6}), tmp_path / "uploads"
    (tmp_path / "anna.wav").write_bytes(sound())
    (tmp_path / "no.wav").write_bytes(b"no sound")
    with start(bundle, "--voice-uploads", uploads, SOUNDSTORM_TOKEN="secret") as served:
        page = Page(browser, served.url)
        page.wait(lambda: page["token"].is_displayed())
        assert not page["upload-section"].is_displayed()
        page["token"].send_keys("secret", Keys.TAB)
        page.wait(lambda: page["upload-section"].is_displayed())
        assert page["voice-about"].text == "The default voice: slt."
        page["upload-section"].click()
        page["upload-send"].click()
        assert page["upload-file-problem"].text == "choose a recording"
        for name, file, problem in (("anna", "no.wav", "upload-file"), ("an na", "anna.wav", "upload-name")):
            page.driver.execute_script("arguments[0].value = arguments[1]", page["upload-name"], name)
            page["upload-file"].send_keys(str(tmp_path / file))
            page["upload-send"].click()
            page.wait(lambda problem=problem: page[f"{problem}-problem"].is_displayed())
        page.driver.execute_script("arguments[0].value = 'anna'", page["upload-name"])
        page["upload-send"].click()
        page.wait(lambda: "The voice anna can be used." in page["upload-status"].text)
        assert page["voice"].get_attribute("value") == "anna"
        assert page["voice-about"].text.startswith("Made of ")
        page.write("Hello there.")
        page["speak"].click()
        page.wait(lambda: page["status"].text == "Done.")
        page["upload-delete"].click()
        page.wait(lambda: page["upload-status"].text == "The voice anna is deleted.")
        assert page["voice"].get_attribute("value") == "default"
        assert not page["upload-delete"].is_displayed()
        assert all("40" in refused["message"] for refused in complaints(browser))


def test_the_state_of_the_queue_is_shown(page, slow_bundle, start):
    page.wait(lambda: page["queue"].text == "idle")
    with start(slow_bundle) as served:
        stream = begin(served.url)
        other = Page(page.driver, served.url)
        other.wait(lambda: other["queue"].text == "1 spoken, 0 waiting")
        stream.close()


def contrast(driver, text, *over):
    """The contrast between a colour of the page, by the name of its variable, and others (WCAG 2)."""

    def luminance(name):
        colour = driver.execute_script(
            "return getComputedStyle(document.documentElement).getPropertyValue(arguments[0]).trim()", name
        ).lstrip("#")
        parts = [
            int(colour[i : i + 2] if len(colour) == 6 else 2 * colour[i // 2], 16) / 255 for i in (0, 2, 4)
        ]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    first, others = luminance(text), [luminance(name) for name in over]
    return min((max(first, each) + 0.05) / (min(first, each) + 0.05) for each in others)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_borders_waveform_and_text_have_contrast(page, scheme):
    listed = [{"name": "prefers-color-scheme", "value": scheme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": listed})
    for name in ("--line", "--wave", "--accent"):
        assert contrast(page.driver, name, "--back", "--card") >= 3
    for name in ("--text", "--quiet"):
        assert contrast(page.driver, name, "--back", "--card") >= 4.5
    assert contrast(page.driver, "--on-accent", "--accent") >= 4.5
    assert contrast(page.driver, "--error", "--error-back") >= 4.5
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


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


@pytest.mark.parametrize("width", [360, 375, 900])
def test_nothing_hangs_over_the_side(page, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for path in ("/", "/docs"):
            page.driver.get(page.url + path)
            page.wait(lambda: "Loading." not in page.driver.find_element(By.TAG_NAME, "main").text)
            wide = page.driver.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width
            if path == "/docs" and width == 375:  # each column is wide enough to be read
                narrow = page.driver.execute_script(
                    "return Math.min(...[...document.querySelectorAll('dd')].map((e) => e.clientWidth))"
                )
                assert narrow > 250
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_description_is_laid_out(page):
    page.driver.get(f"{page.url}/docs")
    page.wait(lambda: "/v1/audio/speech" in page.driver.find_element(By.ID, "operations").text)
    shown = page.driver.find_element(By.ID, "operations").text
    for word in (
        "POST",
        "response_format",
        "mp3, opus, aac, flac, wav, pcm",
        "at most 4096 characters",
        "/metrics",
    ):
        assert word in shown
    assert "`" not in shown


def test_nothing_comes_from_elsewhere(page):
    for path in ("/", "/docs"):
        page.driver.get(page.url + path)
        fetched = page.driver.execute_script(
            "return performance.getEntriesByType('resource').map((entry) => entry.name)"
        )
        assert len(fetched) >= 3
        assert [name for name in fetched if not name.startswith(page.url)] == []
