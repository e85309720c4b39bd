"""What a stranger's text can do to a terminal: nothing."""

import io
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from falcon_dvc.cli import terminal
from falcon_dvc.errors import UserError


@given(st.text())
def test_any_text_is_one_line_without_controls(text):
    shown = terminal.plain(text).plain
    assert len(shown) <= 200
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in shown)


@pytest.mark.parametrize("text", ["[bold red]x[/]", "[link=file:///etc/passwd]x[/link]", "[/]", ":smile:", "a\\[b]"])
def test_markup_is_text(text):
    table = terminal.table("concept")
    table.add_row(terminal.plain(text))
    out = io.StringIO()
    Console(file=out, force_terminal=True, highlight=False, width=80).print(table)
    assert text in out.getvalue()


def test_escape_sequences_and_turned_text():
    assert terminal.plain("a\x1b[2J\x9b31m\u202eb\nc").plain == "a [2J 31mb c"


def test_open_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    with pytest.raises(UserError, match="dvc repro"):
        terminal.open_page(terminal.report())
    assert opened == []
    terminal.REPORT.parent.mkdir()
    terminal.REPORT.touch()
    assert terminal.open_page(terminal.report()) == opened[0] == (tmp_path / "reports/index.html").as_uri()


def test_address_of_a_feature(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert terminal.of_feature("e", "f1") == (terminal.REPORT, "e-f1")
    page = tmp_path / "reports/site/e/f1.html"
    page.parent.mkdir(parents=True)
    page.touch()
    assert terminal.of_feature("e", "f1") == (page.relative_to(tmp_path), "")
    assert terminal.of_feature("e", "f2") == (terminal.REPORT, "e-f2")


def test_address_for_a_browser(tmp_path):
    assert terminal.uri(tmp_path / "a b.html", "e-f 1").endswith("/a%20b.html#e-f%201")


NAMES = st.text("ab é#?%&;'<~犬+", min_size=1, max_size=8)


@given(NAMES, st.just("") | NAMES)
def test_a_browser_reads_the_page_and_the_anchor_back(name, anchor):
    page = Path("reports") / f"{name}.html"
    parts = urlsplit(terminal.uri(page, anchor))
    assert parts.scheme == "file" and not parts.query
    assert url2pathname(parts.path) == str(page.resolve())
    assert unquote(parts.fragment) == anchor
