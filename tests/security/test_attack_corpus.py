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
from tests.support.paths import ROOT

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
COUNTED = [
    "base",
    "embed",
    "iframe",
    "link",
    "math",
    "meta",
    "object",
    "script",
    "style",
    "svg",
    "template",
    "textarea",
    "title",
]
COUNTS = f"{COUNTED}.map((tag) => document.querySelectorAll(tag).length)"
# A tag of lower-case letters with quoted attributes, none of which runs anything; a script or style with all that is in it.
ATTRIBUTES = r'(?:\s+(?!on)[a-z][a-zA-Z-]*(?:="[^"<>]*")?)*'
PLAIN = re.compile(
    rf"^<!DOCTYPE html>|<(script|style){ATTRIBUTES}>[^<]*(?:<(?!/|!--)[^<]*)*</\1>"
    rf"|</(?!script|style)[a-z][a-z0-9]*>|<(?!script|style)[a-z][a-z0-9]*{ATTRIBUTES}\s*/?>"
)
OF_SHEET = {
    kind: (ROOT / f"falcon_dvc/rating/templates/sheet.{suffix}").read_text(encoding="utf-8").strip()
    for kind, suffix in (("script", "js"), ("style", "css"))
}


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


def arriving(path):
    """The attacks that a page shows, by their places in `ATTACKS`."""
    text = "".join(Texts(path.read_text(encoding="utf-8")).found)
    return {place for place, attack in enumerate(ATTACKS) if readable(clean_caption(attack))[:40].strip() in text}


@pytest.fixture(scope="module")
def arrived(attacked):
    """What each page shows: pairs of its template and an attack, and of its template and nothing."""
    return {path: {(template(path), some) for some in arriving(path) | {None}} for path in pages(attacked[0])}


def template(path):
    """What the name of a page says of its template."""
    if path.parent.name == "by-concept" and path.stem != "index":
        return "concept"
    return re.sub(r"\d+", "", f"{path.parent.parent.name}/{path.stem}")


def covering(arrived):
    """Few pages with every pair that some page has."""
    left, chosen = set().union(*arrived.values()), []
    while left:
        chosen.append(max(arrived, key=lambda path: len(arrived[path] & left)))
        left -= arrived[chosen[-1]]
    return chosen


def test_every_attack_arrives_in_the_report_as_text(here, arrived):
    """Otherwise nothing that follows would say anything."""
    assert {some for shown in arrived.values() for _, some in shown} == {None, *range(len(ATTACKS))}
    text = shown(here)
    assert MARK in text and "constructor" in text


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


def test_every_reader_of_a_page_finds_the_same_tags(here):
    """No page has a letter of markup outside a plain tag, so that a browser can't read it in another way than the test above."""
    for path in pages(here):
        text = path.read_text(encoding="utf-8")
        assert not strange(text), (path, strange(text))
        own = {kind: Page(text).texts[kind].strip() for kind in ("script", "style")}
        assert own in ({"script": "", "style": ""}, OF_SHEET), path


def strange(text):
    """The first letters of markup of a page that belong to no plain tag, script or style."""
    found = re.search(r"[<>].{0,40}", PLAIN.sub("", text))
    return found and found[0]


@pytest.mark.parametrize(
    "hole",
    [
        "<b title='a'>", '<b title="<i>">', "<b title=a>", "<!-- a -->", "<b onx=1>", "a < b", "a > b", "<", "<![CDATA[a]]>", "<?a?>",
        "</b a>", '<b "a">', "<b/a>", "<script></b></script>", "<script><!--</script>", "<script></script a></script>", "<b title='>",
    ],
)  # fmt: skip
def test_a_hole_in_a_page_is_found(hole):
    whole = '<!DOCTYPE html>\n<p class="a" hidden>a<br>b</p><script>1 < 2</script>'
    assert not strange(whole) and strange(whole + hole)


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


def test_a_browser_runs_nothing_of_it(here, arrived, browser):
    """On pages that show together every attack in every template in which it arrives; the test above is about all pages."""
    chosen = covering(arrived)
    assert {template(path) for path in chosen} == {template(path) for path in pages(here)} and len(chosen) >= 10
    with watched_tabs(browser, (here / "reports").as_uri(), TABS) as tabs:
        for start in range(0, len(chosen), TABS):
            opened = list(zip(tabs, chosen[start : start + TABS], strict=False))
            for page, path in opened:
                page.goto(path.as_uri(), wait_until="commit")
            for page, path in opened:
                page.wait_for_load_state()
                assert page.url == path.as_uri()
                assert nothing_ran(page) and pictures_arrive(page), path
                written = Page(path.read_text(encoding="utf-8"))
                assert page.evaluate(COUNTS) == [len(written.of(tag)) for tag in COUNTED]


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
