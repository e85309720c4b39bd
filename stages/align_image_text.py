"""Learn an image-text encoder from pairs of images and captions: a linear map from networks to a sentence encoder."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_json
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.captions.pairs import read_pairs
from falcon_dvc.compute.device import best_device
from falcon_dvc.compute.prefetch import ahead_of, collated, prefetched
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.retrieval import mean_reciprocal_rank, recall_at, without_hubs
from falcon_dvc.images.decode import Picture, printable
from falcon_dvc.images.near_copies import near_copies, small_pictures
from falcon_dvc.images.open import open_images
from falcon_dvc.images.source import FolderImages
from falcon_dvc.models.image_text.aligned import Alignment, ClassNames, Sentences, save_alignment, unit, whitening
from falcon_dvc.models.image_text.towers import Towers, spread_evenly
from falcon_dvc.progress import track
from falcon_dvc.transfer.maps import Split, ridge, split_images, units_of

if TYPE_CHECKING:
    from falcon_dvc.params.schema import ImageTextAlignment, Params

RANKS = (1, 5, 10)
LEAST_IMAGES = 20


@dataclass(frozen=True)
class Pairs:
    """Hold what the map is learned from.

    Attributes
    ----------
    features : of each image, (images, features).
    captions : sentence embeddings, (captions, dim); `image`: row of the image that each belongs to.
    """

    features: np.ndarray
    captions: np.ndarray
    image: np.ndarray

    def of_images(self, rows: np.ndarray) -> np.ndarray:
        """Return which captions belong to these images."""
        return np.isin(self.image, rows)

    def means(self, texts: np.ndarray) -> np.ndarray:
        """Return the mean of the rows of each image's captions, as a unit row."""
        sums = np.zeros((len(self.features), texts.shape[1]))
        np.add.at(sums, self.image, texts)
        return unit(sums)


def run(params: Params, name: str) -> StageSummary:
    """Write the encoder ``data/alignments/NAME.safetensors``, and its retrieval on held-out pairs."""
    settings, param = params.alignments[name], f"alignments.{name}"
    table, skipped = _table(settings, param)
    images = table["image"].unique().tolist()
    _refuse_explained(params, settings, images, param)
    device = best_device(params.device)
    towers, sentences = Towers(settings.towers, device, f"{param}.towers"), Sentences(settings.sentences, device)
    features = _features(towers, settings, images, ahead_of(device))
    image = pd.Index(images).get_indexer(table["image"])
    pairs = Pairs(features, sentences.embed(table["caption"].tolist()), image)
    split = split_images(len(images), **settings.splits.model_dump(), generator=np.random.default_rng(settings.seed))
    alignment, penalty = learn(pairs, split, settings.ridge, settings.whitening)
    embed = lambda names: alignment.texts(sentences.embed(names))  # noqa: E731
    names = ClassNames(towers, embed, settings.top, param) if settings.conse else None
    measured = _retrieval(pairs, split.heldout, alignment, names, settings.conse)
    save_alignment(paths.alignment(name), alignment, _config(settings, towers, sentences))
    summary = StageSummary(
        read={"images": len(images) + skipped, "captions": len(table)},
        dropped={"images": {"cannot be read": skipped}},
        wrote={f"encoder to {paths.alignment(name)}": 1},
    )
    counts = {"images": len(images), "captions": len(table), "heldout_images": len(split.heldout), "ridge": penalty}
    write_json(paths.metrics(f"alignment_{name}"), {**counts, **measured})
    return summary


def _config(settings: ImageTextAlignment, towers: Towers, sentences: Sentences) -> dict[str, Any]:
    return {
        "towers": [tower.model_dump(exclude_defaults=True) for tower in settings.towers],
        "towers_digest": towers.digest(),
        "sentences": settings.sentences,
        "sentences_digest": sentences.digest,
        "conse": settings.conse,
        "top": settings.top,
    }


def _table(settings: ImageTextAlignment, param: str) -> tuple[pd.DataFrame, int]:
    """Read the pairs whose image can be read; return them, and the number of images that cannot."""
    table = read_pairs(settings.pairs, f"{param}.pairs")
    names = table["image"].unique().tolist()
    source = FolderImages(settings.images, names)
    unreadable = [name for row, name in enumerate(names) if not _is_readable(source, row)]
    for name in unreadable[:3]:
        print(f"skipped {printable(name)}: not a picture in {settings.images} that can be read")
    if len(names) - len(unreadable) < LEAST_IMAGES:
        raise UserError(
            f"{param}: {len(names) - len(unreadable)} images of {settings.pairs} are pictures in {settings.images}, and at least "
            f"{LEAST_IMAGES} are needed; check that the names in the table start from this folder"
        )
    return table[~table["image"].isin(unreadable)].reset_index(drop=True), len(unreadable)


def _is_readable(source: FolderImages, row: int) -> bool:
    try:
        source.load(row)
    except UserError:
        return False
    return True


def _refuse_explained(params: Params, settings: ImageTextAlignment, images: list[str], param: str) -> None:
    """Refuse pairs whose images are explained: their captions would describe the images that they are measured on."""
    explained = read_table(paths.IMAGES)
    sources = FolderImages(settings.images, images), open_images(params.data, explained)
    small = [
        small_pictures(source.load(row) for row in track(range(len(source)), "comparing images", total=len(source)))
        for source in sources
    ]
    copies = near_copies(*small)
    if len(copies):
        first, other = copies[0]
        raise UserError(
            f"{param}.pairs: {len(np.unique(copies[:, 0]))} of its images are among those of data.images "
            f"({printable(images[first])} is {printable(explained['image'][other])}); remove them from the table"
        )


def _features(towers: Towers, settings: ImageTextAlignment, images: list[str], ahead: int) -> np.ndarray:
    """Compute the features of the images, a batch at a time."""
    source = FolderImages(settings.images, images)
    starts = range(0, len(images), settings.batch_size)
    batches = [range(start, min(start + settings.batch_size, len(images))) for start in starts]
    jobs = lambda rows: [partial(_prepared, towers, source, row) for row in rows]  # noqa: E731
    prepared = prefetched(batches, jobs, collated, ahead)
    with closing(track(prepared, "features of pairs", total=len(batches))) as tracked:
        return np.concatenate([towers.features(batch) for _, batch in tracked])


def _prepared(towers: Towers, source: FolderImages, row: int) -> tuple[int, Any]:
    picture: Picture = source.load(row)
    return row, towers.prepare([picture])


def learn(pairs: Pairs, split: Split, penalties: tuple[float, ...], shrinkage: float | None) -> tuple[Alignment, float]:
    """Fit the map on the training and validation images, with the penalty that finds captions of the validation images best.

    Returns
    -------
    alignment
        The map.
    penalty : float
        In units of the mean variance of the features.
    """
    judged = [_found(pairs, split.validation, fit(pairs, split.train, one, shrinkage)) for one in penalties]
    penalty = penalties[int(np.argmax(judged))]
    both = np.sort(np.concatenate([split.train, split.validation]))
    return fit(pairs, both, penalty, shrinkage), penalty


def fit(pairs: Pairs, rows: np.ndarray, penalty: float, shrinkage: float | None) -> Alignment:
    """Fit the map, and the whitening of texts, on some images and their captions."""
    spread = spread_evenly(pairs.features.astype(np.float64))
    units = units_of(spread[rows])
    level, weights = whitening(pairs.captions[pairs.of_images(rows)], shrinkage)
    targets = pairs.means(unit((pairs.captions - level) @ weights))
    fitted = ridge(units(spread), Split(rows, rows, rows), (penalty,)).fit(targets).linear_map()
    return Alignment(units.level, units.spread, fitted.weights, fitted.bias, level, weights)


def _found(pairs: Pairs, rows: np.ndarray, alignment: Alignment) -> float:
    """Measure the retrieval of the captions of some images."""
    return mean_reciprocal_rank(without_hubs(_cosines(pairs, rows, alignment)), _place(pairs, rows))


def _cosines(pairs: Pairs, rows: np.ndarray, alignment: Alignment) -> np.ndarray:
    return alignment(pairs.features[rows]) @ alignment.texts(pairs.captions[pairs.of_images(rows)]).T


def _place(pairs: Pairs, rows: np.ndarray) -> np.ndarray:
    """Return the place among `rows` of the image of each of their captions."""
    return np.searchsorted(rows, pairs.image[pairs.of_images(rows)])


def _retrieval(
    pairs: Pairs, heldout: np.ndarray, alignment: Alignment, names: ClassNames | None, weight: float
) -> dict[str, Any]:
    """Measure the recall of captions on held-out images: by the map, by ConSE, and by both."""
    features = pairs.features[heldout]
    mapped = {"map": alignment(features)}
    if names is not None:
        mapped["conse"] = names(features)
        mapped["both"] = unit(mapped["map"] + weight * mapped["conse"])
    captions, image = alignment.texts(pairs.captions[pairs.of_images(heldout)]), _place(pairs, heldout)
    cosines = {by: embedded @ captions.T for by, embedded in mapped.items()}
    return {
        "heldout_captions": len(captions),
        "retrieval": {by: recall_at(cosine, image, RANKS) for by, cosine in cosines.items()},
        "retrieval_without_hubs": {by: recall_at(without_hubs(cosine), image, RANKS) for by, cosine in cosines.items()},
    }
