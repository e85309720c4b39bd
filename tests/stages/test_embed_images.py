"""Whole images are embedded once, with their mean and the name of the encoder."""

import numpy as np

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_json
from stages import embed_images
from tests.support.faithful import colours_of_images
from tests.support.stage_params import params_of
from tests.support.transfer_spaces import IMAGES, TEST


def test_embeddings_are_those_of_the_images(spaces):
    summary = embed_images.run(params_of({}))
    embeddings = read_array(paths.IMAGE_EMBEDDINGS / "embeddings.npy")
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1)
    assert (embeddings.argmax(axis=1) == colours_of_images()).all()
    assert np.allclose(read_array(paths.IMAGE_EMBEDDINGS / "centre.npy"), embeddings[:IMAGES].mean(axis=0))
    assert read_json(paths.IMAGE_EMBEDDINGS / "embeddings.json")["image_text"] == "eye"
    assert summary.read == {"images": IMAGES + TEST}
