"""The basis that an entry asks for fits the layer, or one line says why it does not."""

import numpy as np
import pytest
from pydantic import ValidationError

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.prepare import basis_without_fit
from falcon_dvc.params.schema import Basis
from tests.support.sae_files import arrays, of_sae_v, write_sae_v, write_saelens


def prepared(channels=4, **given):
    return basis_without_fit(Basis(**given), channels, "encoders.e.basis")


def test_a_file_of_the_width_of_the_layer(tmp_path):
    write_saelens(tmp_path / "sae", arrays(0))
    assert prepared(sae=str(tmp_path / "sae")).width == 6
    np.save(tmp_path / "d.npy", np.ones((3, 4)))
    assert prepared(directions=str(tmp_path / "d.npy"), both_signs=True).width == 6
    assert prepared(random=5).width == 5


def test_a_file_of_another_width(tmp_path):
    np.save(tmp_path / "d.npy", np.ones((4, 3)))
    with pytest.raises(
        UserError, match=r"d\.npy: .*has 4 channels: the matrix is transposed; save it as features x channels"
    ):
        prepared(directions=str(tmp_path / "d.npy"))
    write_saelens(tmp_path / "sae", arrays(0))
    with pytest.raises(UserError, match=r"reads 4 channels, but the layer of encoders\.e\.basis has 7; name the layer"):
        prepared(7, sae=str(tmp_path / "sae"))


def test_a_missing_file_is_named_with_its_param():
    with pytest.raises(UserError, match=r"encoders\.e\.basis\.sae: gone: not found"):
        prepared(sae="gone")


def test_both_signs_need_features_with_a_sign(tmp_path):
    path = write_sae_v(tmp_path / "sae.pt", arrays(0), of_sae_v("TopK", top_k=2))
    assert prepared(sae=str(path), both_signs=True).width == 12
    with pytest.raises(UserError, match=r"basis\.both_signs: the features of this basis are never negative"):
        prepared(sae=str(write_sae_v(path, arrays(0))), both_signs=True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give one of directions, sae, fit, random, got none of them"),
        ({"sae": "a", "fit": "pca"}, "got sae and fit"),
        ({"fit": "pca"}, "fit: pca needs components"),
        ({"random": 3, "relu": True}, "relu has no effect on random"),
        ({"directions": "a", "k": 3}, "k has no effect on directions"),
        ({"directions": "a", "relu": True, "both_signs": True}, "leave relu out"),
        ({"fit": "kmeans", "components": 3}, "'pca', 'ica' or 'nmf'"),
    ],
)
def test_params_that_contradict_each_other(given, words):
    with pytest.raises(ValidationError, match=words):
        Basis(**given)


def test_params_survive_being_written_and_read():
    own = Basis(fit="pca", components=3)
    assert Basis(**own.model_dump()) == own
