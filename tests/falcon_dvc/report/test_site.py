"""The site in a real browser: what people do with it works, nothing leaves the page, and nobody is shut out."""

import os
from pathlib import Path

import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.report.cards import concept_key
from stages import report
from tests.support.browser import chromium, pictures_arrive, watched
from tests.support.pages import ATTACK
from tests.support.report_artifacts import make_params, write_artefacts

# axe-core is no part of the project: `npm install axe-core` somewhere, and name its folder.
AXE = Path(os.environ.get("AXE_CORE", "node_modules/axe-core")) / "axe.min.js"
PAGES = (
    "index.html", "site/first/index.html", "site/first/f0.html", "site/by-concept/index.html", "site/first/failures.html",
    "site/transfer-first_to_second.html", "site/measured.html",
)  # fmt: skip


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Folder of a site whose texts are as bad as they get."""
    folder = tmp_path_factory.mktemp("browser")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = make_params(high=3, low=2, thumbnail=16, failing=("first",))
        write_artefacts(params, text=ATTACK)
        report.run(params)
        groups = read_table(paths.groups("first") / "groups.parquet")["group"]
    return folder / "reports", list(groups)


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module", params=[(1280, "light"), (390, "dark")], ids=["desk", "phone"])
def page(browser, request, reports):
    """A tab on a wide and on a narrow screen; each test begins by going somewhere."""
    width, scheme = request.param
    screen = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with watched(browser, reports[0].as_uri(), **screen) as opened:
        yield opened


def visit(page, reports, place):
    page.goto((reports[0] / place).as_uri())


@pytest.mark.parametrize("place", PAGES)
def test_pages_open_without_a_word_of_complaint_and_fit_the_screen(page, reports, place):
    visit(page, reports, place)
    assert pictures_arrive(page)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.locator("h1").count() == 1


def test_search_finds_concepts_and_features(page, reports):
    visit(page, reports, "index.html")
    page.keyboard.press("/")
    page.keyboard.type("boat")
    page.wait_for_selector("#results a")
    assert "boat" in page.locator("#results a").first.inner_text()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/by-concept/*.html")
    visit(page, reports, "site/second/f0.html")
    page.fill("#search", "f3")
    page.wait_for_selector("#results a")
    page.locator("#results a").first.click()
    page.wait_for_url("**/first/f3.html")


def test_search_says_when_nothing_matches_and_closes(page, reports):
    visit(page, reports, "site/first/f0.html")
    page.fill("#search", "xyzzy")
    page.wait_for_selector("#results p")
    page.keyboard.press("Escape")
    assert page.locator("#results").is_hidden()


def test_keys_step_through_features_and_help(page, reports):
    visit(page, reports, "site/first/f0.html")
    page.keyboard.press("j")
    page.wait_for_url("**/first/f1.html")
    page.keyboard.press("k")
    page.wait_for_url("**/first/f0.html")
    page.keyboard.press("?")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("dialog").is_hidden()


def test_keys_step_through_a_list(page, reports):
    visit(page, reports, "site/first/index.html")
    page.wait_for_selector("#rows .tile")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/first/f1.html")


def test_a_concept_marks_its_captions_and_crops_and_no_other(page, reports):
    visit(page, reports, "site/first/f1.html")
    pick = page.locator(".pick").first
    pick.click()
    assert pick.get_attribute("aria-pressed") == "true"
    marked, all_of_it = page.locator(".captions li.on"), page.locator('.captions li[data-concepts~="0"]')
    assert 0 < marked.count() == all_of_it.count() < page.locator(".captions li").count()
    described = {crop for some in marked.all() for crop in (some.get_attribute("data-crops") or "").split()}
    assert {some.get_attribute("data-crop") for some in page.locator(".crop.on").all()} == described
    pick.click()
    assert marked.count() == 0 and page.locator(".crop.on").count() == 0


def test_a_crop_marks_its_captions_and_their_concepts(page, reports):
    group = next(some for some in reports[1] if 'data-crops="' in (reports[0] / f"site/first/{some}.html").read_text())
    visit(page, reports, f"site/first/{group}.html")
    crop = page.locator(".captions li[data-crops]").first.get_attribute("data-crops").split()[0]
    page.click(f'[data-crop="{crop}"]')
    assert page.locator(f'.captions li.on[data-crops~="{crop}"]').count() == page.locator(".captions li.on").count() > 0
    assert page.locator(".concepts tr.on").count() > 0
    page.keyboard.press("Escape")
    assert page.locator(".on").count() == 0


def test_the_list_is_filtered_and_sorted(page, reports):
    visit(page, reports, "site/first/index.html")
    page.wait_for_selector("#rows .tile")
    ids = lambda: page.locator("#rows .id").all_inner_texts()  # noqa: E731
    assert ids() == reports[1] and page.inner_text("#count") == f"{len(ids())} of {len(ids())}"
    page.select_option("#show", "group")
    assert ids() == [group for group in reports[1] if group.startswith("g")]
    page.select_option("#show", "")
    page.select_option("#sort", "score")
    scores = [float(some) for some in page.locator("#rows .number").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    page.fill("#find", "f0")
    assert "f0" in ids() and set(ids()) < set(reports[1])
    page.fill("#find", "")
    page.select_option("#explained", "1")
    assert 0 < len(ids()) < len(reports[1]) and page.locator("#rows .says > .doubted").count() == 0
    page.select_option("#explained", "0")
    assert page.locator("#rows .says > .doubted, #rows .says > .none").count() == len(ids()) > 0


def test_texts_of_strangers_are_shown_and_do_nothing(page, reports):
    visit(page, reports, f"site/by-concept/{concept_key(ATTACK)}.html")
    assert "<script>alert(1)</script>" in page.inner_text("h1")
    visit(page, reports, "site/first/f0.html")
    assert "{{ 7*7 }}" in page.inner_text("main")
    page.fill("#search", "alert(1)")
    page.wait_for_selector("#results a")
    assert any("<script>" in found for found in page.locator("#results a").all_inner_texts())


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: npm install axe-core; AXE_CORE=FOLDER")
@pytest.mark.parametrize("place", PAGES)
def test_nobody_is_shut_out(browser, reports, place):
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme, bypass_csp=True)
        page = context.new_page()
        visit(page, reports, place)
        page.wait_for_load_state("networkidle")
        page.evaluate(
            "for (const some of document.querySelectorAll('#more, details')) { some.hidden = false; some.open = true; }"
        )
        page.add_script_tag(path=str(AXE))
        found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})")
        context.close()
        serious = [some for some in found["violations"] if some["impact"] in ("serious", "critical")]
        assert not [(some["id"], some["nodes"][0]["html"], some["nodes"][0]["failureSummary"]) for some in serious]
