"""The text of a profile: YAML that says what was asked for, whatever the names and paths are."""

from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from falcon_dvc.cli.recipe.profile import LONG_LIST, Recipe, inline, profile_text
from falcon_dvc.cli.recipe.request import alignment_entry, control_entry
from falcon_dvc.cli.recipe.settings import least_mentions_for, settings_for
from falcon_dvc.params.load import merge, read_yaml, validated
from tests.support.paths import ROOT

DEFAULT = read_yaml(ROOT / "params.yaml")
NOTES = {
    "images": "300 images",
    "captions": "9 captions",
    "layer": "layer4 (mean)",
    "checkpoint": "",
    "failures": "off",
    "control": "no control: --no-control",
}
LITE = {"kind": "efficientnet_lite", "variant": 0}
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


CONTROL = control_entry("mine", LITE, 1280)


def recipe(
    encoder=LITE, image_text=None, images="../../pictures", fails=False, notes=NOTES, control=None, count=300, **more
):
    return Recipe(
        name="mine",
        default=DEFAULT,
        images=images,
        captions="../../captions.txt",
        caption_column="",
        encoder=encoder,
        image_text=image_text or {"kind": "conse"},
        control=control,
        settings=settings_for(count),
        least_mentions=least_mentions_for(9),
        fails=fails,
        notes=notes,
        **more,
    )


def read(text):
    return YAML(typ="safe", pure=True).load(StringIO(text))


def merged(text):
    params = read_yaml(ROOT / "params.yaml")
    merge(params, read(text))
    return params


def test_nothing_of_the_default_run_is_left():
    params = merged(profile_text(recipe()))
    assert params["encoders"] == {"mine": LITE} and params["image_text"]["kind"] == "conse"
    assert not params["worlds"] and params["train"] == params["transfers"] == {}
    assert (
        params["failures"]["encoders"]
        == params["evaluate_units"]["encoders"]
        == params["ablate_features"]["encoders"]
        == []
    )
    assert params["device"] == "auto"
    assert params["data"] | {"source": "images", "images": "../../pictures", "heldout": 0.33} == params["data"]


def test_a_vocabulary_is_named_as_one():
    data = merged(profile_text(recipe(vocabulary=True)))["data"]
    assert (data["caption_format"], data["caption_templates"]) == ("vocabulary", ["a photo of a {}"])


def test_a_classifier_switches_failures_and_units_on():
    params = merged(profile_text(recipe(fails=True)))
    assert params["failures"]["encoders"] == params["evaluate_units"]["encoders"] == ["mine"]
    assert params["ablate_features"]["encoders"] == ["mine"]
    assert params["data"]["heldout"] == 0.33 and params["find_groups"]["min_images"] == 8


def test_values_for_few_images_say_why_the_default_does_not_fit():
    few, many = (profile_text(recipe(count=count)) for count in (300, 1000))
    assert "# a feature fires on 17 of 201 images; the default, 0.925, leaves too few" in few
    assert "# a feature fires on 38 of 500 images\n" in many


def test_the_control_is_the_same_network_with_random_weights():
    with_control, without = (merged(profile_text(recipe(control=control))) for control in (CONTROL, None))
    assert with_control["encoders"] == {"mine": LITE, "mine_untrained": CONTROL}
    assert with_control["measure_faithfulness"]["reference_encoders"] == 2
    assert without["encoders"] == {"mine": LITE} and without["measure_faithfulness"]["reference_encoders"] == 0
    assert "# no control: --no-control\n" in profile_text(recipe())


def test_few_images_are_all_explained():
    text = profile_text(recipe(count=100))
    assert read(text)["data"]["heldout"] == 0.0 and "too few to hold some out, so nothing is measured" in text


def test_folders_of_classes_judge_words_and_fit_a_probe_where_no_classifier_does():
    params = merged(profile_text(recipe(labelled=True)))
    assert params["evaluate_classes"]["encoders"] == params["fit_probe"]["encoders"] == ["mine"]
    assert params["failures"]["encoders"] == ["mine"] and params["evaluate_units"]["encoders"] == []
    params = merged(profile_text(recipe(labelled=True, fails=True)))
    assert params["evaluate_classes"]["encoders"] == ["mine"] and params["fit_probe"]["encoders"] == []


def test_pairs_teach_an_image_text_encoder():
    entry = alignment_entry(Path("pairs/pairs.tsv")) | {"pairs": "../../pairs/pairs.tsv", "images": "../../pairs"}
    aligned = {"kind": "aligned", "checkpoint": "data/alignments/mine.safetensors"}
    params = validated(merged(profile_text(recipe(image_text=aligned, alignment=entry))))
    assert params.alignments["mine"].images == "../../pairs" and params.alignments["mine"].towers
    assert params.image_text.checkpoint == "data/alignments/mine.safetensors"


def test_weights_of_a_file_keep_their_path():
    entry = {"kind": "open_clip", "name": "RN50", "pretrained": "checkpoint", "checkpoint": "../../clip.pt"}
    assert read(profile_text(recipe()))["image_text"] == {"kind": "conse"}, "no checkpoint where there is no file"
    assert merged(profile_text(recipe(image_text=entry)))["image_text"] == entry


def test_every_section_has_a_comment_in_its_line_or_above():
    lines = profile_text(recipe(fails=True)).splitlines()
    assert max(map(len, lines)) < 160
    sections = [place for place, line in enumerate(lines) if line and line[0] not in " #"]
    assert len(sections) > 8
    for place in sections:
        assert "#" in lines[place] or "#" in lines[place - 1] or "#" in lines[place + 1] or lines[place] == "encoders:"


def test_many_classes_have_a_line_each():
    names = [f"class {number}, or so" for number in range(LONG_LIST + 1)]
    text = profile_text(recipe(LITE | {"classes": names}))
    assert read(text)["encoders"]["mine"]["classes"] == names
    assert max(map(len, text.splitlines())) < 160


@settings(max_examples=6)
@given(images=TEXTS, names=st.lists(TEXTS, min_size=1, max_size=3), number=st.integers(0, 9))
def test_any_path_and_any_name_is_read_back(images, names, number):
    encoder = {"kind": "timm", "name": names[0], "classes": names, "features": {"random": number}, "checkpoint": images}
    found = read(profile_text(recipe(encoder, images=images, notes=NOTES | {"failures": images, "images": images})))
    assert found["data"]["images"] == images and found["encoders"]["mine"] == encoder


@pytest.mark.parametrize("value", [None, [], {}, {"a": None}, "no", "1", "~", "a: b # c", 0.33, True, ["a, b", "'"]])
def test_values_on_one_line(value):
    assert read(f"key: {inline(value)}") == {"key": value} and "\n" not in inline(value)
