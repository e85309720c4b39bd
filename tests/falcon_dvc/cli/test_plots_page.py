"""The page around ``dvc plots``."""

import pytest
from dvc_render.html import HTML
from dvc_render.vega import VegaRenderer

from falcon_dvc.cli import plots_page
from falcon_dvc.html.markup import policy
from falcon_dvc.report.pages import TEMPLATES
from tests.support.browser import chromium, nothing_ran, watched
from tests.support.pages import Page

ATTACK = (
    "</script></plaintext></main><img src=x onerror=pwned=1><svg onload=pwned=1><script>pwned=1</script> {{7*7}} ${7*7} "
    "datum.x {plot_divs} '+alert(1)+' <meta http-equiv=refresh content='0;url=https://example.com'>"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page as `dvc plots` fills it in: classes with names that are attacks, drawn by each of the templates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("plots"))
        document = HTML(plots_page.run().read_text(encoding="utf-8"))
        for number, template in enumerate(sorted((TEMPLATES / "plots").glob("*.json"))):
            document.with_element(plot(number, str(template)).generate_html())
        target = plots_page.PAGE.absolute().with_name("filled.html")
    target.write_text(document.with_scripts('<script src="https://cdn"></script>').embed(), encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


def plot(number, template):
    rows = [
        {"name": ATTACK, "share": 0.5, "interval_low": 0.4, "interval_high": 0.6, "of": ATTACK, "size": 1, "rev": ATTACK},
        {"name": "boat", "share": 0.7, "interval_low": 0.6, "interval_high": 0.8, "of": "boat", "size": 2, "rev": "b"},
    ]  # fmt: skip
    return VegaRenderer(rows, f"plot{number}", x="share", y="name", template=template, title=ATTACK)


def test_nothing_comes_from_the_network_and_the_policy_allows_one_script(page):
    text = page.read_text(encoding="utf-8")
    before, after = text.split("<plaintext hidden>")
    assert "https://cdn" not in text and "{refresh_tag}" not in text and "boat" in after
    assert before.count("</script>") == before.count("<script>") == 1 and " src=" not in before.split("<script>")[0]
    found = Page(before)
    (allowed,) = [some["content"] for some in found.of("meta") if some.get("http-equiv") == "Content-Security-Policy"]
    assert allowed == policy(found.texts["style"], found.texts["script"]) and "unsafe" not in allowed


def test_plots_are_drawn_and_no_name_in_them_runs(page, browser):
    with watched(browser, page.as_uri()) as opened:
        opened.goto(page.as_uri())
        opened.locator("figure svg.marks").nth(4).wait_for()
        assert "could not be drawn" not in opened.inner_text("main")
        assert "</script></plaintext>" in opened.inner_text("main")
        opened.mouse.move(300, 60)  # what Vega says of what is under the mouse
        assert nothing_ran(opened) and opened.locator("img, main script, iframe, meta[http-equiv=refresh]").count() == 0


def test_a_plot_that_cannot_be_drawn_says_so_and_leaves_the_others(page, browser):
    spoilt = page.with_name("spoilt.html")
    spoilt.write_text(page.read_text(encoding="utf-8").replace('var spec = {"', "var spec = {nonsense", 1))
    with watched(browser, spoilt.as_uri()) as opened:
        opened.goto(spoilt.as_uri())
        opened.locator("figure svg.marks").nth(3).wait_for()
        assert opened.inner_text("main").count("could not be drawn") == 1
