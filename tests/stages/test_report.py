"""The site as a whole, on synthetic artefacts."""

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_array, write_json, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.report.cards import concept_key
from falcon_dvc.report.pages import POLICY
from stages import report
from tests.support.pages import ATTACK, Page
from tests.support.report_artifacts import make_params, write_artefacts

LARGEST = 60_000  # bytes of a page
FEW = {"singles": 3, "groups": 1}  # pages of features and groups, where a test asks for no more


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small(**changes):
    """Parameters of a report with few small pictures."""
    pictures = {"high": 3, "low": 2, "thumbnail": 16}
    return make_params(**pictures | {"failing": ("first",), "controls": ("random_weights",)} | changes)


def made(params, **changes):
    """Text of every page, by its place below reports/, on fresh artefacts."""
    write_artefacts(params, **changes)
    report.run(params)
    return pages()


def pages():
    found = [report.REPORT, *sorted(report.SITE.rglob("*.html"))]
    return {str(path.relative_to(paths.REPORTS)): path.read_text(encoding="utf-8") for path in found}


def fingerprints():
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path("reports").rglob("*"))
        if path.is_file() and (path == report.REPORT or report.SITE in path.parents)
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site on artefacts without anything unusual: its folder, and the text of its pages."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("report")
        patch.chdir(folder)
        return folder / "reports", made(small())


@pytest.fixture(scope="module")
def parsed(site):
    """Every page of this site, parsed."""
    return {place: Page(text) for place, text in site[1].items()}


@pytest.fixture
def copied(here, site):
    """A copy of this site and of the artefacts it was made of, to be changed: the working folder."""
    shutil.copytree(site[0].parent, here, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """A site whose texts are attacks: its folder, and the text of its pages."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("attacked")
        patch.chdir(folder)
        return folder / report.SITE, made(small(), text=ATTACK)


def test_everything_that_a_page_points_to_is_there(site, parsed):
    folder = site[0]
    for place, page in parsed.items():
        for address in page.addresses:
            if address not in ("data:,", "#main"):
                assert ((folder / place).parent / address).resolve().is_file(), (place, address)


def test_nothing_comes_from_outside(site, parsed):
    folder = site[0]
    for place, page in parsed.items():
        assert not [
            address for address in page.addresses if re.match(r"[a-z]+:|//", address) and address != "data:,"
        ], place
        assert not page.of("iframe") and not page.of("base")
    for asset in [*folder.rglob("*.js"), *folder.rglob("*.css")]:
        content = asset.read_text(encoding="utf-8")
        assert "http" not in content and "@import" not in content and "url(" not in content, asset
    for plot in folder.rglob("*.svg"):
        assert "http" not in plot.read_text().replace("http://www.w3.org/", ""), plot


def test_policy_allows_files_of_the_site_and_no_text_of_a_page(parsed):
    for place, page in parsed.items():
        (policy,) = [some["content"] for some in page.of("meta") if some.get("http-equiv") == "Content-Security-Policy"]
        assert policy == POLICY and "unsafe" not in policy and policy.startswith("default-src 'none';"), place
        assert not page.texts["script"].strip() and not page.texts["style"].strip(), place
        assert not [1 for _, some in page.elements for name in some if name == "style" or name.startswith("on")], place


def test_a_ranking_over_all_images_is_told_on_the_pages(site, tmp_path, monkeypatch):
    _, by_score = site
    monkeypatch.chdir(tmp_path)
    params = small()
    params.concepts.ranking = "correlation"
    by_correlation = made(params)
    for said in (">follows</abbr>", "follow the feature best over all explained images"):
        assert any(said in page for page in by_correlation.values()), said
        assert not any(said in page for page in by_score.values()), said


def test_pages_are_small(site):
    assert not {place: len(text) for place, text in site[1].items() if len(text.encode()) > LARGEST}


def test_both_sides_of_a_direction_are_named_and_linked(here):
    params = small(encoders=("first",))
    write_artefacts(params, singles=3, groups=0)
    path = paths.groups("first") / "groups.parquet"
    write_table(path, read_table(path).assign(side=["positive", "negative", "positive"], opposite=["f1", "f0", "f3"]))
    report.run(params)
    positive, negative, alone = (pages()[f"site/first/f{feature}.html"] for feature in range(3))
    assert "<small>f0 (positive side)</small>" in positive and "<title>f1 (negative side)" in negative
    assert '; the other side is <a href="f1.html">f1' in positive and '<a href="f0.html">f0' in negative
    assert "the other side is f3, which is not explained" in alone


def test_pages_say_what_a_feature_does_and_what_random_directions_do(site):
    pages = [re.sub(r"<[^>]+>", "", site[1][f"site/first/f{feature}.html"]) for feature in range(4)]
    assert (
        "without it, the logit of boat falls by 0.40 (0.30–0.50), and its word names it; random directions change it by 0.25"
        in pages[0]
    )
    assert "falls most, by 0.40 (0.30–0.50); random directions lower one by 0.20; the logit of a red boat" in pages[1]
    assert "which its word names, falls by 0.25" in pages[1]
    assert "without it, no logit falls" in pages[2] and "which its word" not in pages[3]
    assert "without it" not in site[1]["site/second/f0.html"] and "by random directions" in site[1]["index.html"]


def test_every_group_of_every_encoder_has_a_page_and_a_picture(site):
    folder, texts = site
    for name in ("first", "second"):
        groups = [f"f{feature}" for feature in range(6)]
        expected = {*groups, "index"} | ({"failures"} if name == "first" else set())
        found = {Path(place).stem for place in texts if place.startswith(f"site/{name}/")}
        assert expected <= found and len(found - expected) == 3  # groups of two
        for group in found - {"index", "failures"}:
            assert (folder / "site" / name / f"{group}.webp").is_file()


def test_pages_step_from_one_group_to_the_next(parsed):
    follow = {some["rel"]: some["href"] for some in parsed["site/first/f1.html"].of("link") if "rel" in some}
    assert follow["prev"] == "f0.html" and follow["next"] == "f2.html"
    assert "prev" not in {some.get("rel") for some in parsed["site/first/f0.html"].of("link")}


def test_names_of_files_come_from_no_text(attacked):
    for path in attacked[0].rglob("*"):
        assert re.fullmatch(r"[a-z0-9_-]+(\.[a-z]+)?", path.name), path


def test_texts_of_strangers_stay_texts(attacked, parsed):
    folder, texts = attacked
    harmless = {place: page for place, page in parsed.items() if "by-concept" not in place}
    for place, page in harmless.items():
        assert [tag for tag, _ in Page(texts[place]).elements] == [tag for tag, _ in page.elements], place
        assert "<img src=x" not in texts[place] and "<script>alert" not in texts[place]
    page = texts[f"site/by-concept/{concept_key(ATTACK)}.html"]
    assert "alert(1)&lt;/script&gt;" in page and "{{ 7*7 }}" in texts["site/first/f0.html"]
    index = (folder / "search.js").read_text(encoding="utf-8")
    assert "<" not in index and "\u2028" not in index


def test_same_bytes_every_time(copied):
    first = fingerprints()
    made(small())
    assert fingerprints() == first and len(first) > 40


def test_pages_of_groups_that_are_gone_go(copied):
    texts = made(small(), **FEW)
    assert "site/first/f2.html" in texts and "site/first/f5.html" not in texts
    assert not [path for path in paths.REPORTS.iterdir() if path.name.startswith(".")]


def test_encoders_are_those_of_the_params_not_of_the_folders(here):
    write_artefacts(small(), **FEW)
    report.run(small(encoders=("second",), failing=()))
    assert not [place for place in pages() if "first" in place]


def test_lists_of_captions_point_to_crops_and_concepts_of_the_page(parsed):
    page = parsed["site/first/f0.html"]
    crops = {some["data-crop"] for some in page.of("button") if "data-crop" in some}
    assert crops == {"0", "1", "2"}
    captions = [some for some in page.of("li") if "data-concepts" in some]
    picks = [some for some in page.of("button") if some.get("class") == "pick"]
    assert captions and all(set(some.get("data-crops", "").split()) <= crops for some in captions)
    assert {int(place) for some in captions for place in some["data-concepts"].split()} <= set(range(len(picks)))


def test_pictures_have_alternatives_and_wait_until_they_are_seen(parsed):
    for place, page in parsed.items():
        assert all("alt" in some and some["loading"] == "lazy" for some in page.of("img")), place
    pictures = [some["alt"] for some in parsed["site/first/f0.html"].of("img") if some["src"] == "f0.webp"]
    assert len(pictures) == 2 * (3 + 2) and all(pictures)


def test_a_group_without_lowly_activating_images_says_so(site):
    groups = [text for place, text in site[1].items() if place.startswith("site/second/g")]
    assert sum(">None.<" in text for text in groups) == 1


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory):
    """Text of the pages of a site without sheets, where hardly anything is explained.

    In the first encoder, no concept of f0 is clear, and only the first of f1 is; f2 has a single crop. In the second
    encoder, nothing is interpretable. No verdict is calibrated.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("doubtful"))
        params = small(sheet=0, weak=2, failing=("first",))
        write_artefacts(params, **FEW, verdict=False)
        concepts, measured = paths.concepts("first") / "concepts.parquet", paths.EXPLAINABILITY / "first.parquet"
        table = read_table(concepts)
        weak = table["group"].eq("f0") | (table["group"].eq("f1") & (table["rank"] > 1))
        known = table["group"] != "f2"
        changed = {name: table[name].where(known) for name in ("interval_low", "interval_high")}
        table = table.assign(prior=np.where(weak, 0.99, 0.0), **changed)
        write_table(concepts, table.assign(weak=~(table["interval_low"] > table["prior"])))
        table = read_table(measured)
        write_table(measured, table.assign(crops=np.where(table["group"] == "f2", 1, 10), interpretable=True))
        other = paths.EXPLAINABILITY / "second.parquet"
        write_table(other, read_table(other).assign(interpretable=False))
        report.run(params)
        return pages()


def test_what_is_not_explained_is_nowhere_shown_as_sure(doubtful):
    text = doubtful["site/first/f0.html"]
    assert re.search(r'</small> <span class="doubted">unclear: <bdi>[^<]+</bdi>\?</span></h1>', text)
    assert re.search(r"<title>\s*f0 unclear: [^<]+\?", text)
    assert "Not explained." in text and "may be chance: it scores" in text and "on random crops." in text
    assert "Its crops look no more alike than random crops." in doubtful["site/second/f1.html"]
    assert "No feature is explained." in doubtful["index.html"] and "second/f" not in doubtful["index.html"]
    failures = doubtful["site/first/failures.html"]
    assert failures.count('<span class="doubted">unclear: <bdi>') == failures.count("of the blame") + failures.count(
        "blamed on:"
    )
    covers = re.findall(r'<span class="(tile[^"]*)"><img[^>]*second/covers', "".join(doubtful.values()))
    assert covers and set(covers) == {"tile doubted"}


def test_a_feature_says_how_well_its_first_word_follows_it(site):
    words = "first word and feature correlate on held-out images: r <b>{}</b>"
    sure, unsure = (" ".join(site[1][f"site/first/{group}.html"].split()) for group in ("f0", "f2"))
    assert words.format("0.30") + " (0.20–0.40); copies with random weights reach 0.20 with this word; p 0.004" in sure
    assert '<span class="verdict yes">explained</span>' in sure and "Not explained." not in sure
    assert '<span class="verdict no">not explained</span>' in unsure and words.format("0.34") in unsure
    assert "does not follow it clearly better" in unsure and "(correlation 0.34, p 0.3)." in unsure
    assert sure.index("correlate on held-out") < sure.index("coherence of the crops")


def test_without_a_verdict_the_page_says_why(doubtful):
    text = doubtful["site/first/f0.html"]
    assert "no verdict: no other encoder is a control of it" in text and "p 0" not in text


def test_a_control_has_columns_and_nothing_else(site):
    folder, texts = site
    assert "untrained 1" in texts["index.html"] and "untrained 1" in texts["site/measured.html"]
    assert not [place for place, text in texts.items() if "random_weights" in place + text]
    assert "random_weights" not in (folder / "site/search.js").read_text()
    assert not [path for path in folder.rglob("*") if "random_weights" in path.name and "site" in path.parts]


def test_all_methods_are_compared_on_the_overview(site):
    text = site[1]["index.html"]
    for label in ("CLIP-Dissect, as released", "nearest text", "correlation with captions", "contrastive projection"):
        assert text.count(f">{label}</th>") == 2, label
    assert text.count("FALCON less this, same features") == 8 and "0.30 <span" in text
    assert "explained sets of one class (control)" in text and "site/plots/explained.svg" in text


def test_weak_concepts_are_grey_and_cut(doubtful):
    text = doubtful["site/first/f1.html"]
    assert text.count('<tr class="word weak">') == 2 and text.count('<tr class="word">') == 1
    assert "Not explained." not in text and "3 weaker concepts are left out" in text


def test_one_crop_has_no_interval(doubtful):
    text = doubtful["site/first/f2.html"]
    said = text.partition('class="said"')[2].partition('class="quantiles"')[0]
    assert 'class="interval"' not in said and "fewer than two crops" in text and "nan" not in text


def test_without_sheets_no_page_shows_one(doubtful):
    assert "-crops.jpg" not in "".join(doubtful.values())


def test_all_crops_are_on_a_sheet_that_loads_when_it_is_opened(site, parsed):
    folder, texts = site
    text = texts["site/first/f0.html"]
    assert "Show 8 of 10 crops, evenly spread" in text and 'class="sheet" src="f0-crops.jpg"' in text
    with Image.open(folder / "site/first/f0-crops.jpg") as sheet:
        assert sheet.size == (16 * 8, 8)
    spread = [
        some
        for some in parsed["site/first/f0.html"].of("img")
        if some["src"] == "f0-crops.jpg" and some["class"] != "sheet"
    ]
    assert [some["class"] for some in spread[:8]] == [f"w16 x{place} y0" for place in range(8)]
    assert len(spread[8:]) == 2 * 3, "three crops of each facet"


def test_synonyms_stand_beside_the_concept_that_names_them(site):
    assert "also: <bdi>vessel</bdi>" in site[1][f"site/by-concept/{concept_key('boat')}.html"]
    assert "vessel a red boat on water" in (site[0] / "site/search.js").read_text()


def test_a_group_says_what_it_adds_to_its_members(site):
    groups = [text for place, text in site[1].items() if re.match(r"site/first/g", place)]
    assert all("What the group adds" in text and "New words" in text for text in groups)
    assert sum("with a selectivity of" in text for text in groups) == len(groups) - 1
    text = "".join(groups)
    assert "the group is worse" in text and "the group adds to it" in text and "none: a member has each" in text
    assert not [
        place for place, text in site[1].items() if re.match(r"site/\w+/f", place) and "What the group adds" in text
    ]


def test_no_page_has_a_name_with_underscores(site):
    for place, text in site[1].items():
        # What to change in params.yaml is named as it is written there.
        shown = re.sub(r"reports/\S+|(find_groups|data)\.\w+|open_clip|<[^>]+>", " ", text)
        assert not re.findall(r"[a-z]_[a-z]\w*", shown), place


def test_a_removed_concept_is_struck_through_with_its_reason(site):
    assert "<del><bdi>" in site[1]["site/first/f1.html"] and "not above its prior" in site[1]["site/first/f1.html"]


def test_with_truth_each_verdict_is_told_in_words(site):
    text = "".join(text for place, text in site[1].items() if place.startswith("site/first/f"))
    for words in (">right<", ">wrong<", ">in the first five<", ">no clear truth<"):
        assert words in text


def test_without_truth_nothing_is_called_right_or_wrong(here):
    texts = made(small(source="images"), evaluation=False, **FEW)
    text = "".join(texts.values())
    assert "first concept is right" not in text and 'class="verdict right"' not in text
    assert "Right or wrong" not in text


def test_with_labelled_images_words_are_compared_with_the_classes(here):
    texts = made(small(source="images", classes=("first",)), evaluation=False, **FEW)
    assert "first word names the class that the feature follows" in texts["index.html"]
    assert "features that follow a class" in texts["index.html"].lower()
    assert "sees class" in texts["site/first/f0.html"] and "sees class" not in texts["site/second/f0.html"]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Text of the pages of a site whose data lack something, and on which claims are summed up."""
    row = {
        "statement": "it <holds>",
        "data": "d",
        "measured": "0.1",
        "against": "0.2",
        "file": "f",
        "key": "k",
        "against_key": "",
    }
    verdicts = ["holds", "holds", "undecided"]
    counts = {"features": 9, "images": 20, "least_images": 11, "constant": 1, "on_fewer_images": 2}
    proposed = {"quantile": {"value": 0.8, "explained": 8}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("told"))
        write_artefacts(small(), **FEW)
        images = {"images": 40, "probe": 20, "test": 20, "skipped": 2, "identical": 5}
        write_json(paths.metrics("images"), images)
        write_json(paths.metrics("search_first"), {"not_explained": counts, "proposed": proposed})
        write_table(paths.table("claims"), pd.DataFrame([{"claim": "C1", **row, "verdict": some} for some in verdicts]))
        report.run(small())
        return pages()


def test_what_the_data_lack_is_on_the_report(told):
    assert "2 of 42 images cannot be read and are left out. Only 20 images can explain features" in told["index.html"]
    assert "3 of 9 features are not explained" in told["site/first/index.html"]
    assert "With find_groups.quantile 0.8, 8 are explained." in told["site/first/index.html"]
    assert "not explained" not in told["site/second/index.html"]


def test_claims_are_summed_up_and_unfold(told):
    text = told["index.html"]
    assert (
        "Less than 0.2 of the space" in text and "holds 2, undecided 1" in text and text.count("it &lt;holds&gt;") == 3
    )


def test_what_a_run_with_more_parts_left_behind_does_not_show(here):
    write_artefacts(small(), **FEW)
    fewer = small(failing=())
    fewer.worlds, fewer.transfers = (), {}
    report.run(fewer)
    text = "".join(pages().values())
    assert not re.search("first concept is right|Right or wrong|[Ff]ailures|[Tt]ransfer|zero-shot", text)


def test_without_transfers_and_failures_no_page_points_to_them(here):
    texts = made(make_params(encoders=("only",), high=2, low=1, thumbnail=16), **FEW)
    assert not [place for place in texts if "transfer" in place or "failures" in place]
    assert 'href="site/transfer' not in texts["index.html"] and "failures.html" not in texts["index.html"]


def test_chosen_features_are_counted_and_the_others_are_neighbours_without_a_page(here):
    params = small()
    write_artefacts(params)
    params.encoders["first"].features = tuple(range(6))
    activations = np.array(read_array(paths.groups("first") / "activations.npy"))
    more = np.column_stack([activations, activations[:, :1], activations[:, 1]])
    write_array(paths.groups("first") / "activations.npy", more)
    write_array(paths.groups("first") / "thresholds.npy", np.array([0.3] * 7 + [np.inf]))
    report.run(params)
    found, sentence = pages(), "6 of 8 features were chosen by encoders.first.features."
    assert [name for name, page in found.items() if sentence in page] == [
        "index.html",
        "site/first/failures.html",
        "site/first/index.html",
    ]
    for page in ("site/first/f0.html", "site/second/f0.html"):
        assert "f6 <small>not chosen</small>" in found[page] and "f7" not in found[page], "f7 never fires"
    assert not any("f6.html" in page for page in found.values())


def test_a_missing_table_is_one_clear_line_and_leaves_what_was_there(copied):
    before = fingerprints()
    (paths.concepts("first") / "concepts.parquet").unlink()
    with pytest.raises(UserError, match=r"concepts\.parquet.*dvc repro"):
        report.run(small())
    assert fingerprints() == before
    assert not [path for path in paths.REPORTS.iterdir() if path.name.startswith(".")]


def test_an_id_that_could_leave_the_folder_is_refused(here):
    write_artefacts(small(), **FEW)
    path = paths.groups("first") / "groups.parquet"
    write_table(path, read_table(path).assign(group=lambda table: table["group"].replace({"f0": "../f0"})))
    with pytest.raises(UserError, match="name of a page"):
        report.run(small())
