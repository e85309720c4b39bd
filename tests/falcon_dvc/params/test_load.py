"""params.yaml as a file: what cannot be read, and keys that are unknown or missing, in one line."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from falcon_dvc.errors import UserError
from falcon_dvc.params.load import load_params, read_yaml
from tests.support.changed_params import DEFAULTS, GONE, SHIPPED, changed, problem


def test_the_shipped_params_load():
    params = load_params(SHIPPED)
    assert set(params.transfers) and {pair.unseen for pair in params.transfers.values()} <= set(params.encoders)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("concepts.contrst", "off", "concepts.contrst: unknown key; did you mean 'contrast'?"),
        ("conceps", {}, "conceps: unknown key; did you mean 'concepts'?"),
        ("transfer.splits.trian", 0.5, "transfer.splits.trian: unknown key; did you mean 'train'?"),
        ("mine_crops.zzz", 1, "mine_crops.zzz: unknown key; known are: crop, low_crops"),
        (
            "encoders.supervised.chekpoint",
            "x",
            "encoders.supervised.chekpoint: unknown key; did you mean 'checkpoint'?",
        ),
        ("image_text.nam", "x", "image_text.nam: unknown key; did you mean 'name'?"),
        ("train.simclr.epoch", 1, "train.simclr.epoch: unknown key; did you mean 'epochs'?"),
    ],
)
def test_an_unknown_key_is_named_with_the_one_that_was_meant(place, value, words, tmp_path):
    assert problem(changed(tmp_path / "params.yaml", place, value)).startswith(words)


def test_a_misspelt_key_is_reported_without_the_one_that_it_leaves_missing(tmp_path):
    path = changed(tmp_path / "params.yaml", "concepts.contrast", GONE)
    changed(path, "concepts.contrst", "prior", source=read_yaml(path))
    assert problem(path) == "concepts.contrst: unknown key; did you mean 'contrast'?"


def test_all_problems_are_reported_unknown_keys_first(tmp_path):
    path = changed(tmp_path / "params.yaml", "concepts.top", 0)
    for place, value in (("data.captoins", "x"), ("seed", "1"), ("report.high", GONE)):
        changed(path, place, value, source=read_yaml(path))
    first, *others = problem(path).split("; also ")
    assert first == "data.captoins: unknown key; did you mean 'captions'?"
    assert others == [
        f"{path}: seed: should be a valid integer, got '1'; write a number without quotes and units",
        f"{path}: concepts.top: should be greater than or equal to 1, got 0 (and 1 more)",
    ]


@pytest.mark.parametrize(
    "place",
    [
        "concepts",
        "concepts.top",
        "data.source",
        "transfer.splits.train",
        "image_text.kind",
        "encoders.simclr.checkpoint",
    ],
)
def test_a_missing_value_is_named(place, tmp_path):
    line = problem(changed(tmp_path / "params.yaml", place, GONE))
    assert line.startswith(place.removesuffix(".kind"))


def test_the_place_of_an_encoder_keeps_its_name_even_if_it_is_called_as_a_kind(tmp_path):
    path = changed(tmp_path / "params.yaml", "encoders.scenes", {"kind": "scenes"})
    assert problem(path) == "encoders.scenes.checkpoint: missing; add it"


def test_numbers_are_read_as_dvc_reads_them(tmp_path):
    """YAML 1.2: 1e-3 is a number, which PyYAML takes for a text."""
    path = changed(tmp_path / "params.yaml", "transfer.ridge", [777])
    path.write_text(path.read_text().replace("777", "1e-3"))
    assert load_params(path).transfer.ridge == (0.001,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a mapping of sections"),
        ("- 1\n", "must be a mapping of sections"),
        ("a: [1\n", "not valid YAML"),
        ("seed: 1\nseed: 2\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['touch exploded']\n", "not valid YAML"),
        ("a: \0\n", "not valid YAML"),
        ("a: *b\n", "not valid YAML"),
        ("1: 2\n", ""),
    ],
)
def test_a_file_that_is_no_params_is_refused(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert problem(path).startswith(words)
    assert not (tmp_path / "exploded").exists()


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    assert problem(tmp_path / "missing.yaml").startswith("not found")
    assert problem(tmp_path).startswith("not readable")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert problem(tmp_path / "binary.yaml").startswith("not valid YAML")


PLACES = [(section, key) for section, values in DEFAULTS.items() if isinstance(values, dict) for key in values]


RUBBISH = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.text(max_size=9),
    st.lists(st.integers(), max_size=2),
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), RUBBISH)
def test_any_value_anywhere_is_taken_or_refused_in_one_line(tmp_path, place, value):
    path = changed(tmp_path / "params.yaml", ".".join(place), value)
    try:
        load_params(path)
    except UserError:
        assert place[0] in problem(path) or "transfers" in problem(path)


def test_the_image_text_encoder_of_the_synthetic_data_is_refused_for_photographs(tmp_path):
    path = tmp_path / "params.yaml"
    line = problem(changed(path, "data.source", "images"))
    assert line.startswith(
        "image_text: models/clip.safetensors was trained on the synthetic data set and cannot describe"
    )
    assert line.endswith(
        "set name and pretrained of a published CLIP (docs/encoders.md), or image_text.allow_synthetic: true"
    )
    allowed = {**DEFAULTS, "image_text": DEFAULTS["image_text"] | {"allow_synthetic": True}}
    assert load_params(changed(path, "data.source", "images", allowed)).image_text.allow_synthetic
