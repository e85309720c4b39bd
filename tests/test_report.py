"""The report as a whole, on synthetic artefacts."""

import subprocess
import sys
from html.parser import HTMLParser

import pytest

from stages import report
from stages.common import files
from stages.common.artifacts import read_table
from stages.common.errors import UserError
from stages.reporting.markup import policy
from tests.reporting.artefacts import make_params, write_artefacts

ATTACK = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"'--><!-- {{ 7*7 }} &lt; \u202e \U0001f600 =1+1"
)
LOADING = {"src", "srcset", "href", "action", "poster", "data", "formaction", "background", "xlink:href"}


class Page(HTMLParser):
    """Elements, their attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.inside = [], {"script": "", "style": ""}, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside in self.texts:
            self.texts[self.inside] += data

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The report on artefacts without anything unusual."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("report"))
        return made(small())


def small(**changes):
    """Parameters of a report with few small pictures."""
    return make_params(**{"high": 2, "low": 1, "thumbnail": 16} | changes)


def made(params, **changes):
    """Text of the report on fresh artefacts."""
    write_artefacts(params, **changes)
    report.run(params)
    return report.REPORT.read_text(encoding="utf-8")


def test_nothing_is_loaded_from_outside(text):
    page = Page(text)
    addresses = [
        (name, value) for _, attributes in page.elements for name, value in attributes.items() if name in LOADING
    ]
    assert addresses and all(value.startswith(("data:", "#")) for _, value in addresses)
    assert not page.of("link")[1:] and not page.of("iframe") and not page.of("base")
    assert "url(" not in page.texts["style"] and "@import" not in page.texts["style"]


def test_policy_allows_this_style_and_script_and_nothing_else(text):
    page = Page(text)
    (content,) = [some["content"] for some in page.of("meta") if some.get("http-equiv") == "Content-Security-Policy"]
    assert content == policy(page.texts["style"], page.texts["script"])
    assert content.startswith("default-src 'none'; img-src data:;") and "unsafe" not in content
    assert not [1 for _, attributes in page.elements for name in attributes if name == "style" or name.startswith("on")]


def test_texts_of_strangers_stay_texts(here, text):
    harmless, attacked = Page(text), made(small(), text=ATTACK)
    page = Page(attacked)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert "alert(1)&lt;/script&gt;" in attacked and "<img src=x" not in attacked and "{{ 7*7 }}" in attacked
    assert page.texts == harmless.texts


def test_same_bytes_every_time(here, text):
    assert made(small()) == text


def test_every_group_of_every_encoder_has_a_card_and_every_anchor_a_target(here):
    params = small()
    page = Page(made(params))
    cards = [some["id"] for some in page.of("article")]
    assert cards == [
        f"{name}-{group}"
        for name in params.encoders
        for group in read_table(files.groups(name) / "groups.parquet")["group"]
    ]
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    assert {some["href"][1:] for some in page.of("a")} <= set(identifiers)


def test_encoders_are_those_of_the_params_not_of_the_folders(here):
    write_artefacts(small())
    report.run(small(encoders=("second",)))
    assert {some["id"].split("-")[0] for some in Page(report.REPORT.read_text(encoding="utf-8")).of("article")} == {
        "second"
    }


def test_pictures_are_as_many_as_the_params_say_and_have_alternatives(here):
    page = Page(made(make_params(encoders=("only",), high=3, low=2, thumbnail=32), singles=2, groups=0))
    pictures = page.of("img")
    assert len(pictures) == 3 + 2 + 3  # the last group has no lowly activating images
    assert all(
        some["alt"] and some["src"].startswith("data:image/webp") and some["loading"] == "lazy" for some in pictures
    )


def test_without_truth_nothing_is_called_right_or_wrong(here):
    text = made(small(source="images"), evaluation=False)
    assert "first concept is right" not in text and 'class="verdict right"' not in text
    assert "Not measured in this run" in text


def test_with_truth_each_verdict_is_told_in_words(text):
    for words in (">right<", ">wrong<", ">only in the first five<", ">no clear truth<"):
        assert words in text


def test_a_removed_concept_is_struck_through_with_its_reason(text):
    assert "<del><bdi>" in text and "not above its prior" in text


def test_a_missing_table_is_one_clear_line(here):
    write_artefacts(small())
    (files.concepts("first") / "concepts.parquet").unlink()
    with pytest.raises(UserError, match=r"concepts\.parquet.*dvc repro"):
        report.run(small())
    assert not report.REPORT.exists()


def test_no_model_library_is_imported():
    code = "import sys, stages.report; print({'torch', 'torchvision', 'open_clip', 'transformers'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "set()"
    )
