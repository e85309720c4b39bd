"""Two planted spaces of features: what the stages before `transfer` leave of them."""

import numpy as np
import pandas as pd
import torch

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_array, write_json, write_table

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
NAMES = list(COLOURS)
IMAGES, TEST = 240, 10


class Eye:
    """An image-text encoder that sees the mean colour, which is all that it is given of a picture."""

    dim, fingerprint, preprocessing = 3, "eye", "the mean colour"

    def prepare(self, images):
        return torch.from_numpy(np.array([image.reshape(-1, 3).mean(axis=0) for image in images], dtype=np.float32))

    def embed_prepared(self, means):
        return (means / means.norm(dim=1, keepdim=True)).numpy()

    def embed_texts(self, texts):
        return np.array([[name in text for name in COLOURS] for text in texts], dtype=np.float32)


def write_images(colour):
    split = np.where(np.arange(len(colour)) < IMAGES, "probe", "test")
    names = [f"{some}-{row:05d}" for row, some in enumerate(split)]
    write_table(paths.IMAGES, pd.DataFrame({"image": names, "split": split, "label": "", "width": 8, "height": 8}))
    write_table(paths.SCENES / "attributes.parquet", pd.DataFrame({"image": names, "split": split}))
    pixels = np.array(list(COLOURS.values()), dtype=np.uint8)[colour]
    write_array(paths.SCENES / "images.npy", np.tile(pixels[:, None, None, :], (1, 8, 8, 1)))


def write_corpus():
    """Five captions a colour; each of them has a word of its own, too."""
    caption, names = np.arange(15), [NAMES[row % 3] for row in range(15)]
    write_table(
        paths.CAPTIONS / "captions.parquet",
        pd.DataFrame({"caption": caption, "text": [f"{name} thing" for name in names], "copies": 1}),
    )
    write_array(paths.CAPTIONS / "embeddings.npy", np.eye(3, dtype=np.float32)[caption % 3])
    write_json(paths.CAPTIONS / "index.json", {"image_text": "eye"})
    words = [(row, "word", word, word) for row, name in enumerate(names) for word in (name, f"thing{row}")]
    write_table(paths.MENTIONS, pd.DataFrame(words, columns=["caption", "kind", "mention", "concept"]))


def write_space(name, features):
    folder, groups = paths.activations(name), [f"f{feature}" for feature in range(features.shape[1])]
    write_features(name, features)
    write_array(folder / "fields.npy", np.tile([0, 0, 8, 8], (len(features), 1)).astype(np.int32))
    write_table(
        paths.groups(name) / "groups.parquet",
        pd.DataFrame({"group": groups, "members": [group[1:] for group in groups], "size": 1}),
    )
    crops = pd.DataFrame({"group": "f0", "role": ["high"] + ["random"] * 6, "rank": range(7), "image": "probe-00000"})
    write_table(paths.crops(name) / "crops.parquet", crops)
    write_array(paths.crops(name) / "embeddings.npy", np.eye(3, dtype=np.float32)[np.arange(7) % 3])
    write_json(paths.crops(name) / "embeddings.json", {"image_text": "eye"})
    write_concepts(name, groups)


def write_features(name, features):
    write_array(paths.activations(name) / "features.npy", features.astype(np.float32))
    maps = np.tile(features[:, :, None, None], (1, 1, 2, 2)).astype(np.float16)
    write_array(paths.activations(name) / "maps.npy", maps)


def write_concepts(name, groups):
    """The explained space's features are called by their colours; those of the other one are all called red."""
    named = [NAMES[row] if name == "a" else "red" for row in range(len(groups))]
    table = pd.DataFrame({"group": groups, "kind": "word", "rank": 1, "concept": named, "kept": True})
    write_table(paths.concepts(name) / "concepts.parquet", table)
