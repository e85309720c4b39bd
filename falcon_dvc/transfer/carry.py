"""Transfer groups to an unseen space: find their images through a map, crop, caption and explain them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.compute.resume import Resumable
from falcon_dvc.concepts.scoring.corpus import Corpus, crop_embeddings, read_centre, read_corpus
from falcon_dvc.concepts.scoring.explanation import Captioned, explain
from falcon_dvc.concepts.scoring.tables import concept_table
from falcon_dvc.crops.localisation import Localisation
from falcon_dvc.transfer.maps import LinearMap, Split
from falcon_dvc.transfer.spaces import Spaces

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


CROPS_AT_ONCE = 1024  # crops whose dense heatmaps are in memory


def found_images(
    spaces: Spaces, heldout: np.ndarray, tops: np.ndarray, actual: np.ndarray, boxes: np.ndarray
) -> pd.DataFrame:
    """List the held-out images found for each group through the map, with the boxes where the unseen encoder fires."""
    group, rank = np.divmod(np.arange(tops.size), tops.shape[1])
    own = [image in own_images for own_images, images in zip(actual, tops, strict=True) for image in images]
    return pd.DataFrame(
        {
            "group": spaces.groups["group"].to_numpy()[group],
            "rank": rank,
            "image": spaces.images["image"].to_numpy()[heldout[tops.reshape(-1)]],
            **dict(zip(("left", "top", "right", "bottom"), np.asarray(boxes).T, strict=True)),
            "own": np.array(own, dtype=bool),
        }
    )


def explain_through_maps(
    params: Params,
    unseen: str,
    spaces: Spaces,
    split: Split,
    images_of_maps: list[tuple[LinearMap, np.ndarray]],
    work: Resumable,
) -> tuple[list[pd.DataFrame], list[np.ndarray]]:
    """Explain each transferred group by the images found through each map.

    The images are cropped where the *unseen* encoder fires, then captioned. The boxes are returned too.
    """
    from falcon_dvc.compute.device import best_device
    from falcon_dvc.crops.embedding import embeddings_of_crops
    from falcon_dvc.models.image_text.load import load_image_text

    corpus = read_corpus()
    random = _random_captions(params, unseen, corpus)
    encoder, tables, cropped = load_image_text(params.image_text, best_device(params.device)), [], []
    corpus.refuse_other(encoder.fingerprint, "image_text")
    for number, (fitted, tops) in enumerate(images_of_maps):
        group = np.repeat(np.arange(len(tops)), tops.shape[1])
        rows = spaces.rows[split.heldout[tops]].reshape(-1)
        boxes = _boxes(params, unseen, rows, (spaces.members @ fitted.weights.T)[group], work)
        embeddings = embeddings_of_crops(params, encoder, rows, boxes, work, f"crops-{number}")
        tables.append(_concepts(params, embeddings, group, random, spaces.groups, corpus))
        cropped.append(boxes)
    return tables, cropped


def _random_captions(params: Params, unseen: str, corpus: Corpus) -> Captioned:
    """Caption random crops of the unseen encoder, which give the prior."""
    rows = np.flatnonzero(read_table(paths.crops(unseen) / "crops.parquet")["role"] == "random")
    embeddings = crop_embeddings(unseen, corpus)[rows]
    return corpus.captioned(embeddings - read_centre(params.concepts, embeddings.shape[1]), params.concepts)


def _boxes(params: Params, unseen: str, rows: np.ndarray, directions: np.ndarray, work: Resumable) -> np.ndarray:
    """Compute the crop boxes of directions of the unseen space, a bounded number at a time."""
    located = Localisation(params, unseen, work)
    batches = [slice(start, start + CROPS_AT_ONCE) for start in range(0, len(rows), CROPS_AT_ONCE)]
    heatmaps = (located.of_directions(rows[batch], directions[batch]) for batch in batches)
    return np.concatenate([located.boxes(rows[batch], heat) for batch, heat in zip(batches, heatmaps, strict=True)])


def _concepts(
    params: Params, embeddings: np.ndarray, group: np.ndarray, random: Captioned, groups: pd.DataFrame, corpus: Corpus
) -> pd.DataFrame:
    """Rank the concepts of the transferred groups.

    No lowly activating images are found through a map. So the low scores are 0, and of the contrasts only the prior
    has an effect.
    """
    captions = corpus.captioned(embeddings - read_centre(params.concepts, embeddings.shape[1]), params.concepts)
    nothing = Captioned(captions.captions[:0], captions.weights[:0]), group[:0]
    explanation = explain((captions, group), nothing, random, corpus.mentions, len(groups), params.concepts)
    return concept_table(explanation, corpus, groups["group"].to_numpy(), params.concepts)
