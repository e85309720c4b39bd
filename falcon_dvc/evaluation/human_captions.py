"""Compare words with those of the captions that people wrote about the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy import sparse

from falcon_dvc.concepts.words.parsing import parse_captions
from falcon_dvc.evaluation import selectivity

if TYPE_CHECKING:
    from falcon_dvc.params.schema import ParseCaptions


def rows_of_images(names: pd.Series, images: pd.Series) -> Int[np.ndarray, " names"]:
    """Return the row of each name among the images: by the whole name, else by the file name if only one image has it.

    The row is -1 for a name without an image.
    """
    rows = pd.Index(images).get_indexer(names)
    short = images.map(lambda image: PurePosixPath(image).name)
    once = short[~short.duplicated(keep=False)]
    by_file = pd.Index(once).get_indexer(names.map(lambda name: PurePosixPath(name).name))
    found = np.append(once.index.to_numpy(), -1)[by_file]
    return np.where(rows >= 0, rows, found)


def words_of_images(
    captions: Sequence[str],
    image: Int[np.ndarray, " captions"],
    images: int,
    concept_of: dict[str, int],
    settings: ParseCaptions,
) -> Bool[sparse.csc_array, "images concepts"]:
    """Find which concepts the captions of each image mention.

    Parameters
    ----------
    image : row of the image that each caption describes.
    concept_of : number of the concept of each word of the corpus; other words are left out.
    """
    found = parse_captions(captions, frozenset(settings.discard), settings.min_word, settings.language)
    concept = np.array([concept_of.get(word, -1) for word in found.vocabulary], dtype=int)[found.concept]
    kept = concept >= 0
    width = max(concept_of.values(), default=-1) + 1
    entries = np.ones(kept.sum(), dtype=bool), (image[found.caption[kept]], concept[kept])
    return sparse.coo_array(entries, shape=(images, width)).tocsc().astype(bool)


def agreement(
    activations: Float[np.ndarray, "images features"],
    mentioned: Bool[sparse.csc_array, "images concepts"],
    word: Int[np.ndarray, " features"],
) -> pd.DataFrame:
    """Compute how well each feature predicts which images people describe with its word.

    Parameters
    ----------
    word : concept of each feature's word; -1 if it has none, which predicts nothing.

    Returns
    -------
    DataFrame
        ``auprc``, ``pearson`` and ``mentioned`` (share of the images with the word), a row for each feature.
    """
    labels = np.zeros(activations.shape, dtype=bool)
    known = np.flatnonzero((word >= 0) & (word < mentioned.shape[1]))
    labels[:, known] = mentioned[:, word[known]].toarray()
    centred = activations - activations.mean(axis=0)
    marks = labels - labels.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0) * (marks**2).sum(axis=0))
    product = (centred * marks).sum(axis=0)
    pearson = np.divide(product, spread, out=np.zeros_like(product), where=spread > 0)
    auprc = selectivity.average_precision(activations, labels)
    return pd.DataFrame({"auprc": auprc, "pearson": pearson, "mentioned": labels.mean(axis=0)})
