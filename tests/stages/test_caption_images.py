"""Whole images get the captions of what they show, and the words of the corpus an embedding."""

import numpy as np
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_json
from falcon_dvc.concepts.scoring.corpus import read_corpus
from falcon_dvc.errors import UserError
from stages import caption_images, embed_images
from tests.support.faithful import colours_of_images
from tests.support.stage_params import params_of
from tests.support.transfer_spaces import IMAGES, NAMES, TEST

WHOLE = {"least_mentions": 2, "window": "off"}
PARAMS = params_of({"concepts": {"captions_per_image": 2}, "caption_images": WHOLE})
WINDOWED = params_of({"concepts": {"captions_per_image": 2}, "caption_images": {"least_mentions": 2, "window": 0.5}})
PER_COLOUR = params_of(
    {"concepts": {"captions_per_image": 2, "normaliser": "shard", "shards": 5}, "caption_images": {"window": "off"}}
)


@pytest.mark.parametrize("params", [PARAMS, PER_COLOUR], ids=["all captions", "by shards"])
def test_captions_are_those_of_the_image(spaces, params):
    embed_images.run(params)
    caption_images.run(params)
    captions, weights = (read_array(paths.IMAGE_CAPTIONS / f"{name}.npy") for name in ("captions", "weights"))
    assert captions.shape == weights.shape == (IMAGES + TEST, 2)
    assert (captions % 3 == colours_of_images()[:, None]).all()
    assert ((weights > 0) & (weights <= 1)).all()


def test_what_other_methods_read_belongs_to_the_same_images_and_words(spaces):
    embed_images.run(PARAMS)
    summary, folder = caption_images.run(PARAMS), paths.IMAGE_CAPTIONS
    embeddings, words = read_array(paths.IMAGE_EMBEDDINGS / "embeddings.npy"), read_table(folder / "words.parquet")
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1)
    assert (embeddings.argmax(axis=1) == colours_of_images()).all()
    assert sorted(words["word"]) == sorted(NAMES), "words of one caption have no embedding"
    assert [NAMES[row] for row in read_array(folder / "words.npy").argmax(axis=1)] == words["word"].tolist()
    assert (read_corpus().vocabulary[words["concept"]] == words["word"]).all()
    assert summary.read == {"images": IMAGES + TEST, "captions": 15}


def test_a_corpus_of_rare_words_keeps_all_of_them(spaces):
    corpus = read_corpus()
    assert len(corpus.frequent_words(5)) == 3
    assert len(corpus.frequent_words(6)) == len(corpus.vocabulary) == 18


def test_a_vocabulary_of_phrases_alone_has_no_words_to_embed(spaces, monkeypatch):
    monkeypatch.setattr("falcon_dvc.concepts.scoring.corpus.Corpus.frequent_words", lambda *_: np.zeros(0, dtype=int))
    embed_images.run(PARAMS)
    caption_images.run(PARAMS)
    assert read_array(paths.IMAGE_CAPTIONS / "words.npy").shape == (0, 3)
    assert not len(read_table(paths.IMAGE_CAPTIONS / "words.parquet"))


def test_blocks_of_images_and_windows_give_the_same_captions(spaces, monkeypatch):
    embed_images.run(WINDOWED)
    caption_images.run(WINDOWED)
    whole = read_array(paths.IMAGE_CAPTIONS / "captions.npy").copy()
    monkeypatch.setattr(caption_images, "VIEWS_AT_ONCE", 17)
    caption_images.run(WINDOWED)
    assert np.array_equal(read_array(paths.IMAGE_CAPTIONS / "captions.npy"), whole)


def test_captions_of_another_image_text_encoder_are_refused(spaces):
    embed_images.run(PARAMS)
    write_json(paths.CAPTIONS / "index.json", {"image_text": "another"})
    with pytest.raises(UserError, match="image_text"):
        caption_images.run(PARAMS)
    assert not paths.IMAGE_CAPTIONS.exists()


def test_windows_of_an_image_add_their_captions_to_its_row(spaces):
    embed_images.run(WINDOWED)
    caption_images.run(WINDOWED)
    captions = read_array(paths.IMAGE_CAPTIONS / "captions.npy")
    assert captions.shape == (IMAGES + TEST, 2 + 4 * 2)
    assert (captions % 3 == colours_of_images()[:, None]).all(), "images of one colour have windows of this colour"
    embed_images.run(PARAMS)
    caption_images.run(PARAMS)
    whole = read_array(paths.IMAGE_CAPTIONS / "captions.npy")
    assert whole.shape == (IMAGES + TEST, 2) and (whole == captions[:, :2]).all()
