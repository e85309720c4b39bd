"""Addresses of pages: whatever stands in a name, a browser finds the page and the anchor."""

from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.cli import terminal

NAMES = st.text("ab é#?%&;'<~犬+", min_size=1, max_size=8)


@given(NAMES, st.just("") | NAMES)
def test_a_browser_reads_the_page_and_the_anchor_back(name, anchor):
    page = Path("reports") / f"{name}.html"
    parts = urlsplit(terminal.uri(page, anchor))
    assert parts.scheme == "file" and not parts.query
    assert url2pathname(parts.path) == str(page.resolve())
    assert unquote(parts.fragment) == anchor
