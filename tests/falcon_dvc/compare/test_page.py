"""The page and the Markdown of a comparison: nothing comes in from outside, nothing that is written in it acts."""

import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.compare.page import Comparison, code, plain, render_markdown, render_page, signed
from tests.support.comparisons import HOSTILE, comparison, revision
from tests.support.paths import ROOT


def test_nothing_comes_from_outside_and_nothing_runs():
    page = render_page(comparison())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', unescape(page))[1]
    assert policy.startswith("default-src 'none'; img-src data:; style-src ") and "unsafe" not in policy
    assert "http:" not in page and "https:" not in page and "<script" not in page
    assert not re.search(r"<[^>]* (style|on\w+)=", page)


def test_strangers_text_does_not_act_on_the_page():
    page = render_page(comparison(HOSTILE))
    assert "<script" not in page and "{{" in page and page.count("</style>") == 1
    assert "\x1b" not in page and not re.search(r"<[^>]* onerror=", page)


def test_strangers_text_does_not_act_in_markdown():
    text = render_markdown(comparison(HOSTILE))
    assert "\x1b" not in text and "\u202e" not in text
    outside = re.sub(r"`[^`\n]*`", "", text)
    assert not re.search(r"(?<!\\)<", outside) and not re.search(r"(?<!\\)\]\(", outside)
    assert len(re.findall(r"^#", text, re.MULTILINE)) == len(re.findall(r"^##? [A-Z`]", text, re.MULTILINE))


def test_every_row_of_a_table_has_all_its_cells():
    for block in re.findall(r"(?:^\|.*\n?)+", render_markdown(comparison(HOSTILE)), re.MULTILINE):
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in block.strip().splitlines()}
        assert len(bars) == 1, block


@given(st.text())
def test_any_text_stays_one_line_of_markdown(text):
    for shown in (plain(text), code(text)):
        assert len(shown.splitlines()) <= 1 and not re.search(r"(?<!\\)(\\\\)*\|", re.sub(r"\\\|", "", shown))
        assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in shown)


def test_all_verdicts_are_told():
    for text in (render_page(comparison()), render_markdown(comparison())):
        for heading in ("Beyond the intervals", "Noise", "Changed, without an interval", "At one revision only"):
            assert heading in text
    page = render_page(comparison())
    assert "Each value lies within the other" in page and "close call" in page


def test_pictures_are_bounded_and_the_rest_is_a_table():
    page = render_page(comparison(features=9, shown=4))
    assert page.count("<article>") == 4 and page.count("<img") == 4 * 12
    assert "5 more, which changed less" in page and ">f8<" in page


def test_same_bytes():
    assert render_page(comparison(HOSTILE)) == render_page(comparison(HOSTILE))


def test_no_change_at_all():
    same = Comparison(revision("a"), revision("b"), [], [], 9, [], 50, [])
    assert "All the same." in render_page(same)
    assert "params changed: 0" in render_markdown(same)


def test_signs():
    assert [signed(value) for value in (2, -2, 0, None)] == ["+2", "−2", "0", "–"]


def colours(block):
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "soft", "accent", "wrong", "partly"])
def test_contrast_of_text(scheme, name):
    style = (ROOT / "falcon_dvc/compare/templates/page.css").read_text(encoding="utf-8")
    light, dark = style.split("prefers-color-scheme: dark", 1)
    palette = colours(light) if scheme == "light" else colours(dark)
    high, low = sorted((luminance(palette[name]), luminance(palette["paper"])), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_no_sideways_scrolling_on_a_phone(tmp_path):
    (tmp_path / "page.html").write_text(
        render_page(comparison("a_long_name_of_a_param.that_goes_on")), encoding="utf-8"
    )
    (tmp_path / "frame.html").write_text(
        '<iframe src=page.html width=390 height=900 onload="document.body.dataset.width='
        'this.contentDocument.documentElement.scrollWidth"></iframe>'
    )
    options = [
        "--headless",
        "--no-sandbox",
        "--allow-file-access-from-files",
        "--virtual-time-budget=5000",
        "--dump-dom",
    ]
    address = (tmp_path / "frame.html").as_uri()
    found = subprocess.run(["chromium", *options, address], capture_output=True, text=True, timeout=120).stdout
    assert int(re.search(r'data-width="(\d+)"', found)[1]) <= 390


def test_warning_of_other_inputs():
    some = comparison()
    encoder = replace(some.encoders[0], inputs=["models/e.safetensors"])
    for text in (render_page, render_markdown):
        assert "need not mean the same feature" in text(replace(some, encoders=[encoder]))
