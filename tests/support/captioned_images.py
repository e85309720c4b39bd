"""A corpus of one caption a word, and whole images that each retrieve the captions of their words."""

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_array, write_json, write_table


def write_captioned_images(words: list[str], shown: np.ndarray) -> None:
    """What `build_caption_index`, `parse_captions` and `caption_images` leave.

    `shown` (images, words) says which words an image retrieves, all with the same weight.
    """
    number = np.arange(len(words))
    write_table(paths.CAPTIONS / "captions.parquet", pd.DataFrame({"caption": number, "text": words, "copies": 1}))
    write_array(paths.CAPTIONS / "embeddings.npy", np.eye(len(words), dtype=np.float32))
    write_json(paths.CAPTIONS / "index.json", {"image_text": "eye"})
    mentions = {"caption": number, "kind": "word", "mention": words, "concept": words}
    write_table(paths.MENTIONS, pd.DataFrame(mentions))
    write_array(paths.IMAGE_CAPTIONS / "captions.npy", np.where(shown, number, -1))
    weights = shown / np.maximum(shown.sum(axis=1, keepdims=True), 1)
    write_array(paths.IMAGE_CAPTIONS / "weights.npy", weights)
    write_table(paths.IMAGE_CAPTIONS / "words.parquet", pd.DataFrame({"concept": number, "word": sorted(words)}))
