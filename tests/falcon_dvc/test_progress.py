"""Progress: a bar where somebody watches, one line elsewhere."""

import io
import sys
import time

import pytest

from falcon_dvc.progress import SEVERAL, rate, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, pause=0.0, **environment):
    for name in ("CI", "NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", stream)
    items = (time.sleep(pause) or place for place in range(40))
    assert list(track(items, "[bold]counting", total=40)) == list(range(40))
    return stream.getvalue()


def test_without_a_terminal_one_line(monkeypatch):
    assert shown(monkeypatch, io.StringIO()) == "[bold]counting ...\n"


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_on_a_build_machine_one_line_even_with_a_terminal(monkeypatch, value):
    assert shown(monkeypatch, Terminal(), CI=value) == "[bold]counting ...\n"


def test_beside_other_stages_one_line_that_names_the_stage(monkeypatch):
    several = {SEVERAL: "1", "DVC_STAGE": "mine_crops@simclr"}
    assert shown(monkeypatch, Terminal(), **several) == "mine_crops@simclr: [bold]counting ...\n"


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_in_a_terminal_a_bar_with_count_rate_and_time(monkeypatch, value):
    text = shown(monkeypatch, Terminal(), pause=0.01, CI=value, TERM="xterm", COLUMNS="120")
    assert "[bold]counting" in text and "40/40" in text and "━" in text
    assert "/s" in text and "0:00:00" in text


@pytest.mark.parametrize(
    ("speed", "text"), [(None, ""), (0.0, ""), (1234.5, "1234/s"), (2.34, "2.3/s"), (0.25, "4.0 s each")]
)
def test_rate(speed, text):
    assert rate(speed) == text
