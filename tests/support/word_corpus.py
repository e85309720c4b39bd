"""Captions whose embeddings are sums of words, their image-text encoder, and crops near them."""

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_array, write_json, write_table
from falcon_dvc.concepts.scoring.corpus import read_corpus

DIM = 16
THINGS = ["boat", "car", "dog", "tree", "umbrella", "house", "horse", "plane"]
CAPTIONS = [
    f"a {colour} {thing} near the {other}"
    for colour in ("red", "blue", "green")
    for thing in THINGS
    for other in THINGS
]


def vectors(texts):
    """A direction for each word; a text is the sum of its words'."""
    rows = [
        sum(np.random.default_rng(sum(map(ord, word))).normal(size=DIM) for word in (text or "-").split())
        for text in texts
    ]
    rows = np.array(rows).reshape(-1, DIM)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Words:
    """An image-text encoder of texts alone."""

    dim, fingerprint, preprocessing = DIM, "words:1", "none"

    def embed_texts(self, texts):
        return vectors(texts)


def crops(count=40, seed=0):
    rng = np.random.default_rng(seed)
    rows = vectors(CAPTIONS)[rng.integers(0, len(CAPTIONS), count)] + rng.normal(size=DIM) / 4
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def write_groups(rows, fingerprint="words:1"):
    """One group of highly activating crops, as find_groups and mine_crops leave it."""
    groups = pd.DataFrame({"group": ["f0"], "members": ["0"], "size": [1], "support": [len(rows)]})
    write_table(paths.groups("e") / "groups.parquet", groups)
    roles = ["high"] * (len(rows) - 2) + ["random"] * 2
    table = pd.DataFrame({"group": "f0", "role": roles, "rank": range(len(rows)), "image": "i", "empty": False})
    write_table(paths.crops("e") / "crops.parquet", table.assign(left=0, top=0, right=1, bottom=1))
    write_array(paths.crops("e") / "embeddings.npy", rows)
    write_json(paths.crops("e") / "embeddings.json", {"image_text": fingerprint})


def write_image_captions():
    """Three captions of each image at random, and embeddings of images and words, as caption_images leaves them."""
    corpus, rng, images = read_corpus(), np.random.default_rng(0), len(read_table(paths.IMAGES))
    folder, words = paths.IMAGE_CAPTIONS, np.flatnonzero(~corpus.mentions.phrase)
    write_array(folder / "captions.npy", rng.choice(corpus.captions["caption"].to_numpy(), (images, 3)))
    write_array(folder / "weights.npy", rng.random((images, 3)))
    write_array(paths.IMAGE_EMBEDDINGS / "embeddings.npy", crops(images))
    write_array(folder / "words.npy", vectors(corpus.vocabulary[words]))
    write_table(folder / "words.parquet", pd.DataFrame({"concept": words, "word": corpus.vocabulary[words]}))
