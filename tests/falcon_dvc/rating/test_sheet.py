"""The page that raters see: closed to the outside, blind, usable by keyboard, and its answers come back as a file."""

import base64
import json
import os
import shutil
import subprocess
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from falcon_dvc.html.markup import policy
from falcon_dvc.html.pictures import data_uri
from falcon_dvc.rating.sheet import Question, fingerprint, letters, render
from tests.support.pages import ATTACK, LOADING, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LISTS = [["boat", "ship", "water"], ["red", "sky", "tree"], ["cat", "dog", "owl"]]


def question(name="q1", lists=LISTS):
    pictures = [data_uri(np.full((16, 16, 3), grey, dtype=np.uint8)) for grey in (20, 200)]
    return Question(name, pictures, [list(words) for words in lists])


@pytest.fixture(scope="module")
def text():
    return render([question("q1"), question("q2"), question("q3")], 16)


def test_nothing_is_loaded_from_outside(text):
    page = Page(text)
    addresses = [value for _, attributes in page.elements for name, value in attributes.items() if name in LOADING]
    assert addresses and all(value.startswith("data:") for value in addresses)
    assert "url(" not in page.texts["style"] and "@import" not in page.texts["style"]
    assert not {"iframe", "base", "object", "embed"} & {tag for tag, _ in page.elements}


def test_policy_allows_this_style_and_script_and_nothing_else(text):
    page = Page(text)
    (content,) = [some["content"] for some in page.of("meta") if some.get("http-equiv") == "Content-Security-Policy"]
    assert content == policy(page.texts["style"], page.texts["script"]) and "unsafe" not in content
    assert not [1 for _, attributes in page.elements for name in attributes if name == "style" or name.startswith("on")]


def test_words_of_strangers_stay_words(text):
    harmless = Page(text)
    attacked = render([question(name, [[ATTACK, *LISTS[0][1:]], *LISTS[1:]]) for name in ("q1", "q2", "q3")], 16)
    page = Page(attacked)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert page.texts == harmless.texts
    assert "alert(1)&lt;/script&gt;" in attacked and "<img src=x" not in attacked
    assert "{{ 7*7 }}" in render([question(lists=[["{{ 7*7 }}"], ["a"]])], 16)


def test_every_choice_is_a_labelled_button_of_a_group_with_a_legend(text):
    page = Page(text)
    tags = [tag for tag, _ in page.elements]
    radios = [some for some in page.of("input") if some["type"] == "radio"]
    assert len(radios) == 3 * (4 + 5)
    assert [some["value"] for some in radios[:4]] == ["A", "B", "C", "none"]
    assert all(tags[place - 1] == "label" for place, tag in enumerate(tags) if tag == "input")
    assert all(tags[place + 1] == "legend" for place, tag in enumerate(tags) if tag == "fieldset")
    assert text.count("Which words describe best what these pictures share?") == 3
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)


def test_pictures_have_alternatives_that_tell_nothing(text):
    assert {some["alt"] for some in Page(text).of("img")} == {"Picture 1 of 2", "Picture 2 of 2"}


def test_the_fingerprint_is_that_of_all_that_is_asked(text):
    asked = [question("q1"), question("q2")]
    other_words = replace(asked[1], lists=[LISTS[1], LISTS[0], LISTS[2]])
    other_pictures = replace(asked[1], pictures=asked[1].pictures[::-1])
    sheets = [asked, asked[::-1], asked[:1], [asked[0], other_words], [asked[0], other_pictures]]
    assert len({fingerprint(sheet) for sheet in sheets}) == len(sheets)
    assert fingerprint([question("q1"), question("q2")]) == fingerprint(asked)
    assert f'data-sheet="{fingerprint(asked)}"' in render(asked, 16)


def test_letters():
    assert letters(4) == ["A", "B", "C", "D"]


class Browser:
    """Chromium without a window, driven through its DevTools pipe."""

    def __init__(self, profile, downloads):
        (down, self._to), (self._from, up) = os.pipe(), os.pipe()
        # The browser reads from descriptor 3 and writes to 4; bash puts the pipes there.
        options = f"--headless --no-sandbox --disable-gpu --remote-debugging-pipe --user-data-dir={profile} about:blank"
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" {options} 3<&{down} 4>&{up} >/dev/null 2>&1', CHROMIUM], pass_fds=(down, up)
        )
        os.close(down), os.close(up)
        self._watch = threading.Timer(
            60, self._process.kill
        )  # a browser that says nothing ends the test, not the suite
        self._watch.start()
        self._count, self._rest, self._session, self.problems = 0, b"", None, []
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        (page,) = [some for some in self.call("Target.getTargets")["targetInfos"] if some["type"] == "page"]
        self._session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self._count += 1
        session = {"sessionId": self._session} if self._session else {}
        os.write(
            self._to, json.dumps({"id": self._count, "method": method, "params": params, **session}).encode() + b"\0"
        )
        while True:
            message = self._message()
            if message.get("id") == self._count:
                return message["result"]
            if message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.problems.append(message)

    def _message(self):
        while b"\0" not in self._rest:
            self._rest += os.read(self._from, 1 << 16) or pytest.fail("the browser has gone")
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def open(self, path):
        self.call("Page.navigate", url=path.as_uri())
        while self.value("location.protocol + document.readyState") != "file:complete":
            time.sleep(0.02)

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, *keys):
        codes = {"Tab": 9, " ": 32, "ArrowDown": 40}
        for key in keys:
            some = {"key": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
            text = {"text": key} if len(key) == 1 else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **some, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **some)

    def wide(self, width, dark=False):
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)

    def screenshot(self):
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self):
        self._watch.cancel()
        self._process.kill()
        self._process.wait()
        os.close(self._to), os.close(self._from)


@pytest.fixture
def browser(tmp_path):
    if not CHROMIUM:
        pytest.skip("no Chromium here")
    opened = Browser(tmp_path / "profile", tmp_path)
    yield opened
    opened.close()


def downloaded(browser, folder, rater):
    browser.value(f"document.getElementById('rater').value = {json.dumps(rater)}")
    browser.value("document.getElementById('download').click()")
    for _ in range(200):
        written = [path.read_text(encoding="utf-8") for path in folder.glob("answers-*.json")]
        if any(written):  # the browser makes an empty file first
            return json.loads(written[0])
        time.sleep(0.02)
    pytest.fail(browser.value("document.getElementById('said').textContent"))


def test_in_a_browser_answers_are_given_by_keyboard_kept_and_downloaded(browser, tmp_path, text):
    sheet = tmp_path / "sheet.html"
    sheet.write_text(text, encoding="utf-8")
    browser.open(sheet)
    assert browser.value("[...document.querySelectorAll('.question')].map((some) => some.hidden)") == [
        False,
        True,
        True,
    ]
    browser.press("b", "4", "j", "n")
    assert browser.value("document.getElementById('count').textContent") == "2 of 3 answered"
    assert browser.value("document.activeElement.closest('.question').dataset.question") == "q2"
    browser.open(sheet)
    assert browser.value("document.querySelector('.question:not([hidden])').dataset.question") == "q3"
    browser.value("document.querySelector('[data-question=q3] input').focus()")
    browser.press(" ", "ArrowDown")
    assert downloaded(browser, tmp_path, " Zoë ") == {
        "sheet": fingerprint([question("q1"), question("q2"), question("q3")]),
        "rater": "Zoë",
        "answers": [
            {"question": "q1", "choice": "B", "confidence": 4},
            {"question": "q2", "choice": "none", "confidence": None},
            {"question": "q3", "choice": "B", "confidence": None},
        ],
    }
    assert not browser.problems


def test_in_a_browser_it_fits_wide_and_narrow_light_and_dark(browser, tmp_path, text):
    sheet = tmp_path / "sheet.html"
    sheet.write_text(text, encoding="utf-8")
    browser.open(sheet)
    seen = set()
    for width in (320, 400, 1200):
        for dark in (False, True):
            browser.wide(width, dark)
            assert browser.value("document.documentElement.scrollWidth") <= width
            seen.add(browser.screenshot())
    assert len(seen) == 6 and not browser.problems
