"""Stage `find_facets`: planted features with one thing and with two, from captions to tables."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_json, read_table, write_array, write_json, write_table
from falcon_dvc.concepts.scoring.explanation import Settings
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.ground_truth import KINDS
from stages import find_facets

IMAGES, CROPS, LOW = 200, 40, 6
THINGS = ["boat", "car", "dog", "tree"]
OTHERS = pd.DataFrame([(kind, "other", kind) for kind in KINDS if kind != "object"], columns=["kind", "value", "word"])
FOLLOWED = {"f0": [0], "f1": [1, 2]}


class Concepts(Settings):
    """The section `concepts`."""

    confidence = 0.95


def params():
    settings = {
        "seed": 0,
        "most_words": 3,
        "candidates": 4,
        "least_gain": 0.08,
        "least_difference": 0.1,
        "least_correlation": 0.3,
    }
    intervals = {"bootstrap": 20, "confidence": 0.95}
    constants = {"low_cut": 0.1, "relative_cut": 0.67, "gamma": 0.25, "further_cut": 0.5, "top": 3}
    concepts = Concepts(captions_per_image=1, temperature=1.0, normaliser="retrieved", contrast="relative", **constants)
    return SimpleNamespace(worlds=(), find_facets=SimpleNamespace(**settings, **intervals), concepts=concepts)


def write(order, heldout=True):
    """One caption an image and a crop: the thing that it shows; images are stored in the given order."""
    rng = np.random.default_rng(0)
    thing = rng.integers(0, len(THINGS), IMAGES)
    split = np.where(heldout & (np.arange(IMAGES) >= 120), "test", "probe")
    names = np.array([f"i{row}" for row in range(IMAGES)])
    write_table(paths.IMAGES, pd.DataFrame({"image": names[order], "split": split[order]}))
    caption = np.arange(len(THINGS))
    write_table(paths.CAPTIONS / "captions.parquet", pd.DataFrame({"caption": caption, "text": THINGS, "copies": 1}))
    write_array(paths.CAPTIONS / "embeddings.npy", np.eye(len(THINGS), dtype=np.float32))
    write_json(paths.CAPTIONS / "index.json", {"image_text": "eye"})
    mentions = {"caption": caption, "kind": "word", "mention": THINGS, "concept": THINGS}
    write_table(paths.MENTIONS, pd.DataFrame(mentions))
    write_captions(paths.IMAGE_CAPTIONS, thing[order])
    features = [np.isin(thing, things) + 0.1 * rng.random(IMAGES) for things in FOLLOWED.values()]
    write_array(paths.groups("e") / "activations.npy", np.stack(features, axis=1)[order])
    groups = {"group": ["f0", "f1", "g1"], "members": ["0", "1", "0 1"], "size": [1, 1, 2]}
    write_table(paths.groups("e") / "groups.parquet", pd.DataFrame(groups))
    write_crops(rng)


def write_captions(folder, thing):
    write_array(folder / "captions.npy", thing[:, None])
    write_array(folder / "weights.npy", np.ones((len(thing), 1)))


def write_crops(rng):
    """Highly activating crops show what the feature follows, the others the last thing."""
    shown = {
        "f0": np.zeros(CROPS, dtype=int),
        "f1": rng.choice([1, 2], CROPS, p=[0.7, 0.3]),
        "g1": np.ones(CROPS, dtype=int),
    }
    rows = [(group, "high", rank, f"{group}-{rank}") for group in shown for rank in range(CROPS)]
    rows += [(group, role, rank, "other") for group in shown for role in ("low", "random") for rank in range(LOW)]
    thing = np.concatenate([*shown.values(), np.full(2 * LOW * len(shown), 3)])
    write_table(paths.crops("e") / "crops.parquet", pd.DataFrame(rows, columns=["group", "role", "rank", "image"]))
    write_array(paths.crops("e") / "embeddings.npy", np.eye(len(THINGS), dtype=np.float32)[thing])
    write_json(paths.crops("e") / "embeddings.json", {"image_text": "eye"})
    write_captions(paths.concepts("e"), thing)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def outputs():
    return [paths.facets("e"), paths.table("e_facets"), paths.table("e_word_sets"), paths.metrics("facets_e")]


def test_one_thing_is_one_word_and_facet_and_two_are_two(here):
    write(np.arange(IMAGES))
    find_facets.run(params(), "e")
    words, facets = read_table(paths.table("e_word_sets")), read_table(paths.facets("e"))
    assert dict(zip(words["group"], words["follows"], strict=True)) == {"f0": 1, "f1": 2}
    assert [set(text.split("; ")) for text in words["words"]] == [{"boat"}, {"car", "dog"}]
    assert words["sentence"][0].startswith("boat (R² 0.9") and " or " in words["sentence"][1]
    assert list(words["directions"]) == ["raises", "raises; raises"] and list(words["not_words"].fillna("")) == ["", ""]
    gains = [[float(gain) for gain in str(text).split("; ")] for text in words["gains"]]
    assert [len(some) for some in gains] == [1, 2] and min(map(min, gains)) > 0.08
    assert words["r2_1"][0] > 0.9 > words["r2_1"][1] and words["r2_2"][1] > 0.9
    assert list(zip(facets["group"], facets["facet"], facets["words"], strict=True)) == [
        ("f0", 1, "boat:1.00"),
        ("f1", 1, "car:1.00"),
        ("f1", 2, "dog:1.00"),
    ]
    assert facets["share"][0] == 1 and facets["share"][1:].sum() == 1 and facets["share"][1] > 0.5
    ranks = [[int(rank) for rank in text.split()] for text in facets["ranks"]]
    assert [len(some) for some in ranks] == list(facets["crops"]) and sorted(ranks[1] + ranks[2]) == list(range(CROPS))
    examples = read_table(paths.table("e_facets"))["examples"]
    assert examples[0] == "f0-0; f0-1; f0-2"
    assert all(text.startswith("f1-") and text.count("; ") == 2 for text in examples[1:])
    metrics = read_json(paths.metrics("facets_e"))
    assert metrics["with_not"]["share"] == metrics["with_and"]["share"] == 0 and metrics["median_r2_of_set"] > 0.9
    assert metrics["follow_several"]["share"] == 0.5 and metrics["several_facets"]["share"] == 0.5
    assert metrics["permuted_images"]["follow_nothing"]["share"] == 1
    assert abs(metrics["permuted_images"]["median_r2"]["words_1"]) < 0.1 < metrics["median_r2"]["words_1"]


def test_the_order_of_the_images_changes_no_table(here):
    found = []
    for order in (np.arange(IMAGES), np.random.default_rng(1).permutation(IMAGES)):
        write(order)
        find_facets.run(params(), "e")
        found.append([path.read_bytes() for path in outputs()[:3]])
    assert found[0] == found[1]


def test_sets_are_judged_by_the_attributes_of_a_synthetic_data_set(here):
    write(np.arange(IMAGES))
    thing = np.array(THINGS)[read_array(paths.IMAGE_CAPTIONS / "captions.npy")[:, 0]]
    kinds = {kind: "other" for kind in KINDS if kind != "object"}
    write_table(
        "scenes/attributes.parquet",
        pd.DataFrame({"image": [f"i{row}" for row in range(IMAGES)], "object": thing, **kinds}),
    )
    write_table("scenes/lexicon.parquet", pd.DataFrame({"kind": "object", "value": THINGS, "word": THINGS}))
    write_table("scenes/lexicon.parquet", pd.concat([read_table("scenes/lexicon.parquet"), OTHERS]))
    ranking = {"group": ["f0", "f1"], "kind": "word", "rank": 1, "concept": ["boat", "car"], "kept": True}
    write_table(paths.concepts("e") / "concepts.parquet", pd.DataFrame(ranking))
    known = params()
    known.worlds, known.data = ("scenes",), SimpleNamespace(images="scenes")
    find_facets.run(known, "e")
    table, metrics = read_table(paths.table("e_word_sets")), read_json(paths.metrics("facets_e"))["truth"]
    assert table["attributes"].tolist() == ["boat", "car; dog"] and table["set_exact"].tolist() == [1, 1]
    assert metrics["set"]["f1"]["mean"] == 1 > metrics["first"]["f1"]["mean"] > metrics["permuted_words"]["f1"]["mean"]


def test_without_held_out_images_r2_is_not_measured(here):
    write(np.arange(IMAGES), heldout=False)
    summary = find_facets.run(params(), "e")
    assert "data.heldout" in summary.lacking[0]
    assert read_json(paths.metrics("facets_e"))["median_r2"] == {}
    assert list(read_table(paths.table("e_word_sets"))["follows"]) == [1, 2]


@pytest.mark.parametrize("path", [paths.concepts("e") / "weights.npy", paths.groups("e") / "activations.npy"])
def test_a_file_of_other_rows_is_refused(here, path):
    write(np.arange(IMAGES))
    write_array(path, np.ones((3, 2)))
    with pytest.raises(UserError, match=rf"{path}: 3 rows, but .*; run `dvc repro`"):
        find_facets.run(params(), "e")


def test_no_explained_feature(here):
    write(np.arange(IMAGES))
    groups = read_table(paths.groups("e") / "groups.parquet")
    write_table(paths.groups("e") / "groups.parquet", groups[groups["size"] > 1])
    find_facets.run(params(), "e")
    assert len(read_table(paths.facets("e"))) == 0 and read_json(paths.metrics("facets_e"))["features"] == 0
