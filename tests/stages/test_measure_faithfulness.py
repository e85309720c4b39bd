"""How well first words follow features on held-out images, of planted colours."""

import numpy as np
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_array, write_table
from falcon_dvc.errors import UserError
from stages import measure_faithfulness
from tests.support.faithful import control, faithful_params, write_faithful, write_first_words
from tests.support.transfer_spaces import NAMES

LEVEL = {"level", "excess", "permuted_excess"}


@pytest.fixture(autouse=True)
def here(spaces):
    write_faithful()


def measured(params=None, name="a"):
    measure_faithfulness.run(params or faithful_params(), name)
    return read_table(paths.faithfulness(name))


def test_right_words_follow_their_features_beyond_encoders_with_random_weights():
    found = measured().iloc[:3]
    assert found["word"].tolist() == NAMES and set(found["kind"]) == {"feature"}
    assert (found["pearson"] > 0.9).all() and (found["excess"] > 0.5).all()
    assert np.allclose(found["excess"], found["pearson"] - found["level"])
    assert (found["pearson_low"] <= found["pearson"]).all() and (found["pearson"] <= found["pearson_high"]).all()


def test_a_wrong_word_and_none_do_not_follow():
    write_first_words("a", ["green", "", "blue", "red"])
    wrong, none, right = measured().iloc[:3].to_dict("records")
    assert wrong["pearson"] < 0 < 0.9 < right["pearson"]
    assert none["word"] == "" and none["pearson"] == none["level"] == 0


def test_a_group_is_the_mean_of_its_members():
    group = measured().iloc[3]
    activations = read_array(paths.groups("a") / "activations.npy")[-90:]
    scores = [read_array(paths.IMAGE_CAPTIONS / f"{name}.npy")[-90:] for name in ("captions", "weights")]
    red = np.where(scores[0] % 3 == 0, scores[1], 0).max(axis=1)
    assert group["kind"] == "group"
    assert group["pearson"] == pytest.approx(np.corrcoef(activations[:, :2].mean(axis=1), red)[0, 1], abs=1e-6)


def test_sets_of_a_class_are_explained_and_random_sets_are_not():
    found = measured().set_index("kind")
    assert found.loc["class set", "word"].tolist() == sorted(NAMES) == found.loc["class set", "group"].tolist()
    assert (found.loc["class set", "pearson"] > 0.9).all()
    assert (found.loc["random set", "pearson"] < 0.5).all()


def test_images_without_labels_make_no_sets():
    write_table(paths.IMAGES, read_table(paths.IMAGES).assign(label=""))
    assert set(measured()["kind"]) == {"feature", "group"}


def test_the_word_of_another_row_is_none_of_its_own():
    found = measured()
    rows = found[found["size"] > 0]
    assert set(rows["permuted_word"]) <= set(rows["word"])
    assert (rows["permuted_word"] != rows["word"]).all()
    assert (rows["permuted_pearson"] < 0.5).all()


def test_rows_that_all_have_the_same_word_have_no_other():
    write_first_words("a", ["red"] * 4)
    found = measured()
    assert (found.loc[found["size"] > 0, ["permuted_word"]] == "").all(axis=None)
    assert (found.loc[found["size"] > 0, "permuted_pearson"] == 0).all()


def test_a_control_reads_the_references_of_its_encoder():
    write_array(paths.references("b"), np.zeros((0, 90, 0), dtype=np.float32))
    params = faithful_params({"a": {}, "b": control("a")})
    measured(params, "a"), measured(params, "b")
    assert np.array_equal(read_table(paths.faithfulness("b"))["level"], read_table(paths.faithfulness("a"))["level"])


def test_without_copies_there_is_a_number_and_no_level():
    write_array(paths.references("a"), np.zeros((0, 90, 0), dtype=np.float32))
    assert not LEVEL & set(measured()) and measured()["pearson"].notna().all()


def test_without_held_out_images_there_are_words_alone():
    write_table(paths.IMAGES, read_table(paths.IMAGES).assign(split="probe"))
    summary = measure_faithfulness.run(faithful_params(), "a")
    assert list(read_table(paths.faithfulness("a"))) == ["group", "size", "kind", "word"]
    assert "data.heldout" in summary.lacking[0]


def test_an_encoder_of_which_no_feature_is_explained_has_sets_alone():
    groups = paths.groups("a") / "groups.parquet"
    write_table(groups, read_table(groups).iloc[:0])
    assert set(measured()["kind"]) == {"class set", "random set"}
    write_table(paths.IMAGES, read_table(paths.IMAGES).assign(label=""))
    assert measured().empty and set(measured()) >= LEVEL


@pytest.mark.parametrize("shape", [(2, 89, 3), (2, 90, 4), (90, 3)])
def test_references_of_other_images_or_features_are_refused(shape):
    write_array(paths.references("a"), np.zeros(shape, dtype=np.float32))
    with pytest.raises(UserError, match=r"references/a\.npy: float32 of shape .*not copies x 90 held-out images and 3"):
        measured()
