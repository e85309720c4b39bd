"""Every kind of page that the project writes, with the policy by which a browser would refuse what slipped through."""

import re
from html import unescape

import pytest

from falcon_dvc.compare.page import render_page
from falcon_dvc.html.markup import PACKAGE, _digest
from falcon_dvc.rating.sheet import Question
from falcon_dvc.rating.sheet import render as render_sheet
from falcon_dvc.report.pages import TEMPLATES, render
from tests.support.comparisons import comparison
from tests.support.pages import Page
from tests.support.paths import ROOT

SITE = {
    "site": "./",
    "home": "../index.html",
    "here": "",
    "menu": {"encoders": ["one"], "failures": [], "transfers": [], "explained": "features", "truths": False},
}


def site() -> str:
    return render("concepts", concepts=[("<b>", "0" * 12, 1)], total=1, shown=1, **SITE)


def plots(tmp_path, monkeypatch) -> str:
    """Its page is 900 kB of drawing library; here it holds another script."""
    import vl_convert

    from falcon_dvc.cli import plots_page

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda draw: f"library();</script>{draw}")
    return plots_page.run().read_text(encoding="utf-8").partition("<plaintext")[0]


# Kind of page: how one is made, where its scripts and its style may come from.
PAGES = {
    "site": (lambda *_: site(), "'self'", "'self'"),
    "rating sheet": (lambda *_: render_sheet([Question("q1", ["data:,"], [["<b>"], ["red"]])], 16), "hash", "hash"),
    "comparison": (lambda *_: render_page(comparison("<b>")), "hash", "hash"),
    "dvc plots": (plots, "hash", "hash"),
}


@pytest.fixture(params=PAGES)
def made(request, tmp_path, monkeypatch):
    make, *allowed = PAGES[request.param]
    return (make(tmp_path, monkeypatch), *allowed)


def directives(text: str) -> dict[str, list[str]]:
    """The policy of a page, which has exactly one."""
    found = [some for some in Page(text).of("meta") if some.get("http-equiv") == "Content-Security-Policy"]
    assert len(found) == 1
    return {name: sources for name, *sources in (part.split() for part in found[0]["content"].split(";"))}


def test_nothing_is_allowed_but_what_is_named(made):
    policy = directives(made[0])
    nothing = ["'none'"]
    assert policy.pop("default-src") == policy.pop("base-uri") == policy.pop("form-action") == nothing
    assert set(policy) <= {"script-src", "style-src", "img-src"}, (
        "objects, frames, fonts, media, connections: default-src"
    )
    assert set(policy["img-src"]) <= {"'self'", "data:"}
    assert not [source for some in policy.values() for source in some if "unsafe" in source or "*" in source]


def test_scripts_and_styles_are_the_projects_own(made):
    text, script, style = made
    page, policy = Page(text), directives(text)
    for kind, allowed in (("script", script), ("style", style)):
        (source,) = policy[f"{kind}-src"]
        written = page.texts[kind]
        assert source == (allowed if allowed == "'self'" else f"'{_digest(written)}'")
        assert allowed == "hash" or not written.strip(), "with 'self', nothing stands in the page"
    assert not [name for _, some in page.elements for name in some if name == "style" or name.startswith("on")]


def test_the_policy_comes_before_anything_that_it_is_about(made):
    first = re.search(r"<(script|style|link|img|body)\b", made[0]).start()
    assert made[0].index("Content-Security-Policy") < first


def test_no_page_is_left_out():
    whole = [path.name for path in PACKAGE.rglob("*.j2") if "<html" in path.read_text(encoding="utf-8")]
    assert sorted(whole) == ["base.html.j2", "page.html.j2", "sheet.html.j2"]
    parts = [f"{name}.html.j2" for name in ("base", "macros", "facets", "quantiles")]
    others = [path for path in TEMPLATES.glob("*.j2") if path.name not in parts]
    assert all('{% extends "report/templates/base.html.j2" %}' in path.read_text(encoding="utf-8") for path in others)
    written = [path.name for path in (ROOT / "falcon_dvc").rglob("*.py") if "<html" in path.read_text(encoding="utf-8")]
    assert written == ["plots_page.py"]


@pytest.mark.parametrize(
    ("closed", "open"),
    [
        ("script-src 'self'", "script-src 'self' 'unsafe-inline'"),
        ("script-src 'self'", "script-src https:"),
        ("style-src 'self'", "style-src 'unsafe-inline'"),
        ("img-src 'self'", "img-src *"),
        ("default-src 'none'", "default-src 'self'"),
        ("; base-uri 'none'", ""),
        ("base-uri 'none'", "base-uri 'none'; connect-src https:"),
    ],
)
def test_a_policy_with_a_hole_is_found(closed, open):
    page = unescape(site())
    assert closed in page
    with pytest.raises((AssertionError, KeyError, ValueError)):
        for check in (test_nothing_is_allowed_but_what_is_named, test_scripts_and_styles_are_the_projects_own):
            check((page.replace(closed, open), "'self'", "'self'"))
