"""A run whose images, labels, classes and captions are attacks: they arrive everywhere as text, and nowhere do they do anything."""

import csv
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import FIGURE, FORMULA, read_table, write_json, write_table
from falcon_dvc.captions.corpus_file import clean_caption
from falcon_dvc.cli import compare, explain, find
from falcon_dvc.html.markup import readable
from falcon_dvc.params.keys import read_keys
from tests.support.attacked import CLASSES, run_all
from tests.support.attacks import ATTACKS, MARK, TERMINAL
from tests.support.browser import chromium, nothing_ran, pictures_arrive, watched, watched_tabs
from tests.support.pages import Page

# Elements that the project's templates have, and no others.
TAGS = {
    "a", "abbr", "article", "b", "bdi", "body", "br", "button", "dd", "del", "details", "dialog", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "form", "h1", "h2", "h3", "h4", "head", "header", "html", "i", "img", "input",
    "kbd", "label", "legend", "li", "link", "main", "meta", "nav", "noscript", "ol", "option", "output", "p", "path",
    "progress", "script", "section", "select", "small", "span", "style", "summary", "svg", "table", "tbody", "td",
    "th", "thead", "title", "tr", "ul",
}  # fmt: skip
TAG = "\"'><img/src=x/onerror=pwned=1>"
TABS = 6  # pages that load at the same time
COUNTS = "['iframe', 'object', 'base', 'style', 'script'].map((tag) => document.querySelectorAll(tag).length)"


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """Folder and params of the run."""
    folder = tmp_path_factory.mktemp("attacked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        return folder, run_all()


@pytest.fixture
def here(attacked, monkeypatch):
    monkeypatch.chdir(attacked[0])
    return attacked[0]


def pages(folder):
    return sorted(folder.rglob("reports/**/*.html"))


class Texts(HTMLParser):
    """What of a page is text."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_data(self, data):
        self.found.append(data)


def shown(folder):
    return "\n".join("".join(Texts(page.read_text(encoding="utf-8")).found) for page in pages(folder))


def test_every_attack_arrives_in_the_report_as_text(here):
    """Otherwise nothing that follows would say anything."""
    text = shown(here)
    missing = [attack for attack in ATTACKS if readable(clean_caption(attack))[:40].strip() not in text]
    assert not missing and MARK in text and "constructor" in text


def test_pages_hold_the_elements_of_their_templates_only(here):
    assert len(pages(here)) > 40
    for path in pages(here):
        for tag, attributes in Page(path.read_text(encoding="utf-8")).elements:
            assert tag in TAGS and not any(name.startswith("on") or name == "srcdoc" for name in attributes), (
                path,
                tag,
            )
            for name in ("src", "href"):
                address = attributes.get(name) or ""
                assert re.fullmatch(r"(\.\./|\./)?[\w./#-]*|data:(image/webp;base64,[\w+/=]*|,)", address), (
                    path,
                    address,
                )


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


def test_a_browser_runs_nothing_of_it(here, browser):
    every = pages(here)
    with watched_tabs(browser, (here / "reports").as_uri(), TABS) as tabs:
        for start in range(0, len(every), TABS):
            opened = list(zip(tabs, every[start : start + TABS], strict=False))
            for page, path in opened:
                page.goto(path.as_uri(), wait_until="commit")
            for page, path in opened:
                page.wait_for_load_state()
                assert page.url == path.as_uri()
                assert nothing_ran(page) and pictures_arrive(page), path
                written = Page(path.read_text(encoding="utf-8"))
                assert page.evaluate(COUNTS) == [
                    len(written.of(tag)) for tag in ("iframe", "object", "base", "style", "script")
                ]


def test_attacks_typed_into_the_search_are_text(here, browser):
    with watched(browser, (here / "reports").as_uri()) as page:
        for place in ("reports/index.html", "reports/site/one/index.html"):
            page.goto((here / place).as_uri())
            for attack in (*ATTACKS, "script", "constructor", "__proto__"):
                for box in page.locator("#search, #find").all():
                    box.fill(attack)
            assert (
                nothing_ran(page) and page.locator("#results img[onerror], #results script, #rows script").count() == 0
            )
        page.fill("#search", "script")
        assert page.locator("#results a").count() > 0


def test_no_cell_of_a_table_is_a_formula(here):
    tables = sorted(here.rglob("reports/**/*.csv"))
    assert len(tables) >= 10
    cells = [cell for table in tables for row in csv.reader(table.open(newline="", encoding="utf-8")) for cell in row]
    assert not [cell for cell in cells if cell.startswith((*FORMULA, "\t", "\r", "\n")) and not is_number(cell)]
    assert "'=cmd" in "".join(cells), "formulas arrive, and cannot run"


def is_number(cell):
    return bool(FIGURE.fullmatch(cell)) or cell in ("-inf", "-nan")


def test_nothing_was_started_and_no_name_of_a_file_is_an_attack(here):
    made = [path for path in here.rglob("*") if (here / "images") not in path.parents]
    assert not [path for path in made if not re.fullmatch(r"[\w.-]+", path.name) or path.name.startswith("pwned")]
    assert not (here / "images" / "pwned").exists() and not Path("/tmp/pwned").exists()
    assert not (read_table("data/images.parquet")["image"].str.contains("secret")).any()


def test_claims_are_markdown_without_a_word_of_a_stranger(here):
    text = (here / "reports/claims.md").read_text(encoding="utf-8")
    assert "<" not in text and "pwned" not in text and "javascript:" not in text


def test_a_terminal_shows_letters_and_nothing_that_steers_it(here, capsys):
    params = read_keys()
    explain.run(params, "one:0")
    for query in ("script", "pwnedmark", *TERMINAL):
        find.run(params, query, None, 10)
    printed = capsys.readouterr().out
    assert MARK in printed and not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", printed)


def test_the_classes_of_a_classifier_are_told_in_sentences(here):
    text = " ".join("".join(Texts((here / "reports/site/one/failures.html").read_text(encoding="utf-8")).found).split())
    assert sum(readable(name, 40)[:20] in text for name in CLASSES) >= 2


# ---- Two such runs compared


@pytest.fixture(scope="module")
def compared(attacked, tmp_path_factory):
    """Page and Markdown of a comparison: the tag, the subject of the commit, classes among the metrics, params and words are attacks."""
    from dvc.repo import Repo

    folder = tmp_path_factory.mktemp("compared") / "run"
    shutil.copytree(attacked[0], folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        git("init", "-q")
        Repo.init().close()
        Path("dvc.yaml").write_text("stages: {}\n")
        git("add", "-A")
        git("commit", "-q", "-m", ATTACKS[1])
        git("tag", TAG)
        _change(paths.metrics("failures_one"), paths.table("one_concepts"))
        compare.run(TAG, "workspace", Path("compared/index.html"))
    return folder / "compared"


def git(*arguments):
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments], check=True)


def _change(metrics, table):
    """Other numbers, other words, another class in params."""
    numbers = json.loads(metrics.read_text())
    write_json(metrics, json.loads(json.dumps(numbers), parse_float=lambda some: float(some) / 2))
    words = read_table(table)
    write_table(table, words.assign(words=[f"{attack}:0.90; {MARK}:0.5" for attack in ATTACKS[: len(words)]]))
    content = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(content.replace("constructor", "<svg onload=pwned=1>"), encoding="utf-8")


def test_a_comparison_shows_them_and_runs_nothing(compared, browser):
    text = "".join(Texts((compared / "index.html").read_text(encoding="utf-8")).found)
    assert TAG in text and readable(ATTACKS[1]) in text and "<svg onload=pwned=1>" in text and "]]><svg onload" in text
    with watched(browser, compared.as_uri()) as page:
        page.goto((compared / "index.html").as_uri())
        page.evaluate("for (const some of document.querySelectorAll('details')) some.open = true")
        assert nothing_ran(page) and page.locator("script, iframe, svg, base, a[href^=http]").count() == 0


def test_its_markdown_is_letters(compared):
    text = (compared / "index.md").read_text(encoding="utf-8")
    outside = re.sub(r"`[^`\n]*`", "", text)
    assert MARK in text and "onerror" in text
    assert not re.search(r"(?<!\\)[<\[@]|(?<!\\)\]\(", outside) and not re.search(
        r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text
    )
