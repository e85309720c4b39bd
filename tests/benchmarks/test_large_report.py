"""The benchmark of a large report: its page has so many features, and tells the times that the browser measured."""

import json
import os
import sys

import pytest

from benchmarks import large_report
from falcon_dvc.report.search_index import script
from tests.support.large_index import FEATURES, large_index

PAGE = """<html><head><meta http-equiv="Content-Security-Policy" content="default-src 'none'"></head>
<body><output id="count"></output></body></html>"""


@pytest.fixture
def page(tmp_path):
    site = tmp_path / "site"
    (site / large_report.ENCODER).mkdir(parents=True)
    (site / large_report.ENCODER / "index.html").write_text(PAGE)
    (site / large_report.ENCODER / "f1.html").write_text("a feature")
    return large_report.large(site, tmp_path / "copy")


def test_the_copy_has_so_many_features_and_may_send_what_it_measured(page):
    assert (page.parents[1] / "search.js").read_text() == script("falcon", large_index([large_report.ENCODER]))
    assert not (page.parent / "f1.html").exists()
    text = page.read_text()
    assert "Content-Security-Policy" not in text and text.count('src="../watch.js"') == 1
    assert FEATURES == 20_000


BROWSER = """#!{python}
import re, sys, urllib.request
page = sys.argv[-1].removeprefix("file://")
watch = open(page.replace("{encoder}/index.html", "watch.js")).read()
where = re.search(r'fetch[(]"([^"]+)"', watch)[1]
urllib.request.urlopen(where, data=b'{{"opened": 7.5, "searches": [1, 2], "count": "20000"}}')
"""


def test_what_the_browser_sends_is_returned(page, tmp_path, monkeypatch):
    browser = tmp_path / "bin" / "chromium"
    browser.parent.mkdir()
    browser.write_text(BROWSER.format(python=sys.executable, encoder=large_report.ENCODER))
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", f"{browser.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert large_report.opened(page, tmp_path / "profile") == {"opened": 7.5, "searches": [1, 2], "count": "20000"}
    assert json.dumps(large_report.QUERIES) in (page.parents[1] / "watch.js").read_text()
