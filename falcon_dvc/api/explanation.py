"""Explain the features of an encoder by captions, in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from falcon_dvc.api.ablation import ablation_of, classifier_of
from falcon_dvc.api.bases import has_two_sides
from falcon_dvc.api.captions import ImageText, corpus_of, different_texts, image_text_of, listed
from falcon_dvc.api.encoders import Activations, activations_of
from falcon_dvc.api.images import pictures
from falcon_dvc.api.quantiles import quantile_table
from falcon_dvc.api.ranking import following_of
from falcon_dvc.api.results import BOX, Explained, caption_table
from falcon_dvc.api.settings import Settings, checked
from falcon_dvc.api.word_sets import sets_of_words, word_scores
from falcon_dvc.concepts.scoring.corpus import Corpus
from falcon_dvc.concepts.scoring.explanation import Captioned
from falcon_dvc.concepts.scoring.tables import concept_table
from falcon_dvc.crops.boxes import boxes_by_role, crop_table
from falcon_dvc.crops.embedding import embed_pictures
from falcon_dvc.crops.heatmaps import Boxes, CropRule, Heatmaps, as_bytes, crop_boxes, empty
from falcon_dvc.crops.windows import corner_windows
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.following import Following, explain_by
from falcon_dvc.groups.activations import highly_activating
from falcon_dvc.groups.image_sets import compared_activations, image_sets
from falcon_dvc.groups.search import explained_groups
from falcon_dvc.groups.sides import with_sides
from falcon_dvc.images.source import ImageSource, PicturesInMemory
from falcon_dvc.members import membership

if TYPE_CHECKING:
    from falcon_dvc.params import schema


def explain(
    encoder: Any,
    images: Any,
    captions: Iterable[str],
    image_text: Any,
    *,
    features: Iterable[int] | None = None,
    basis: Any = None,
    classifier: Any = None,
    caption_embeddings: Any = None,
    settings: Settings | None = None,
    seed: int | None = None,
) -> Explained:
    """Explain features of an encoder by the words of captions.

    Parameters
    ----------
    encoder : torch.nn.Module, Encoder, array, or pair of arrays
        A module with known preprocessing, the result of `network`, an object of the protocol ``Encoder``, features
        (images, features), or features with the maps (images, features, height, width) that they are pooled from.
    images : iterable of PIL images and arrays of bytes or uint16, or one tensor (images, 3, height, width)
        All are explained. One in five measures R² of the words that a feature follows, and chooses none of them.
    captions : iterable of str
        Texts that may describe the images. Only their words can become concepts.
    image_text : tuple, object, or pair of functions
        ``(model, preprocess, tokenizer)`` of open_clip, an object with ``embed_images`` and ``embed_texts``, or these two
        as functions. The model is set to evaluation mode and single precision.
    features : iterable of int, optional
        Numbers of the features to explain, and groups of these features; by default all.
    basis : str, path, array or mapping, optional
        What the activations are expressed in, in place of their channels: ``"pca:64"`` (or ``ica``, ``nmf``, ``random``), a
        file or folder of a sparse autoencoder, a ``.npy`` file or an array with directions (features, channels), or the
        entry ``basis`` of params.yaml, for instance ``{"fit": "pca", "components": 64, "both_signs": True}``.
    classifier : pair of an array and names, optional
        Weights (classes, features) of a linear classifier of the features, and the names of its classes. It measures what
        each feature does: which logit falls most if the feature is removed, against random directions.
    caption_embeddings : (captions, dim) array, optional
        Embeddings of the captions by the same image-text encoder.
    settings : Settings, optional
        By default those of params.yaml.
    seed : int, optional
        Of the random images, of the images that choose words, judge them, and measure R², and of random directions; by
        default those of `settings`.

    Returns
    -------
    Explained
        Tables of concepts, captions and crops.

    Raises
    ------
    UserError
        If an argument is empty, does not fit the others, or holds NaN; if no feature fires on enough images.
    """
    sections, captions = checked(settings or Settings(), seed), listed(captions)
    texts = different_texts(captions)
    source, towers = PicturesInMemory(pictures(images)), image_text_of(image_text)
    activations = activations_of(encoder, source, sections.extract_activations, basis)
    width = activations.features.shape[1]
    if classifier is not None:
        classifier_of(classifier, width)  # before the long work
    groups, sets = _images(activations.features, _chosen(features, width), sections.find_groups)
    groups = with_sides(groups, width) if has_two_sides(basis) else groups
    corpus = corpus_of(texts, caption_embeddings, len(captions), towers, sections.parse_captions)
    width, batch_size = corpus.embeddings.shape[1], sections.mine_crops.batch_size
    heatmaps, boxes = _boxes(activations, source, groups, sets, sections.mine_crops)
    crops = crop_table(sets, boxes, empty(heatmaps)).assign(activation=sets["activation"])
    embeddings = _embedded(source, towers, crops, batch_size, width)
    whole, windows = (
        _embedded(source, towers, views, batch_size, width) for views in _views(source, sections.caption_images.window)
    )
    centre = whole.mean(axis=0) if sections.concepts.hub_correction else 0.0
    scores = word_scores(whole - centre, windows - centre, corpus, sections.concepts)
    compared = compared_activations(activations.features, sections.find_groups.normalise)
    following = following_of(compared, groups, whole, scores, corpus, towers, sections)
    captioned, concepts = _concepts(embeddings - centre, crops, groups, corpus, sections.concepts, following)
    of_crops = caption_table(crops, captioned, embeddings, corpus, texts)
    words = sets_of_words(activations.features, scores, groups, corpus, sections)
    below = quantile_table(activations.features, scores, groups, concepts, corpus, sections)
    effects = None if classifier is None else ablation_of(activations.features, groups, concepts, classifier, sections)
    return Explained(groups, concepts, of_crops, crops, as_bytes(heatmaps), words, below, effects, source)


def _views(source: ImageSource, window: float | Literal["off"]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List the box of every whole image, and the boxes of its windows, as the table of crops."""
    sides = np.array([source.load(row).shape[:2] for row in range(len(source))])
    nothing = np.zeros(len(sides), dtype=int)
    whole = np.column_stack([nothing, nothing, sides[:, 1], sides[:, 0]])
    windows = whole[:0] if window == "off" else corner_windows(sides[:, 1], sides[:, 0], window)
    each = len(windows) // len(sides)
    return tuple(
        pd.DataFrame(boxes, columns=BOX).assign(image=np.repeat(np.arange(len(sides)), count))
        for boxes, count in ((whole, 1), (windows, each))
    )


def _embedded(source: ImageSource, towers: ImageText, crops: pd.DataFrame, batch_size: int, width: int) -> np.ndarray:
    """Embed crops of images.

    Raises
    ------
    UserError
        If the embeddings do not have the width of those of the captions.
    """
    if crops.empty:
        return np.zeros((0, width), dtype=np.float32)
    rows, boxes = crops["image"].to_numpy(), crops[BOX].to_numpy()
    embeddings = embed_pictures(source, towers.embed_images, rows, boxes, batch_size)
    if embeddings.shape[1] != width:
        raise UserError(
            f"image_text: images of width {embeddings.shape[1]}, captions of width {width}; embed both by the same encoder"
        )
    return embeddings


def _concepts(
    embeddings: np.ndarray,
    crops: pd.DataFrame,
    groups: pd.DataFrame,
    corpus: Corpus,
    settings: schema.Concepts,
    following: Following | None,
) -> tuple[Captioned, pd.DataFrame]:
    """Caption the crops and rank the concepts of their groups, as the stage score_concepts does."""
    shards = settings.shards if settings.normaliser == "shard" else None
    captioned = corpus.captioned(embeddings, settings, shards)
    number = pd.Index(groups["group"]).get_indexer(crops["group"])
    role = crops["role"].to_numpy()
    explanation = explain_by(following, captioned, number, role, corpus.mentions, len(groups), settings)
    return captioned, concept_table(explanation, corpus, groups["group"].to_numpy(), settings)


def _chosen(features: Iterable[int] | None, width: int) -> np.ndarray:
    """Return the numbers of the features to explain.

    Raises
    ------
    UserError
        If one does not exist, or none is given.
    """
    chosen = np.arange(width) if features is None else np.array(list(features))
    if not chosen.size or chosen.dtype.kind not in "iu" or not ((chosen >= 0) & (chosen < width)).all():
        shown = "none" if not chosen.size else ", ".join(map(str, chosen[:5].tolist()))
        raise UserError(f"features: {shown}; give numbers from 0 to {width - 1}, which the encoder has")
    return np.unique(chosen)


def _images(features: np.ndarray, chosen: np.ndarray, settings: schema.FindGroups) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Select groups and their images, as the stage find_groups does.

    Raises
    ------
    UserError
        If no chosen feature fires on enough images.
    """
    normalised = compared_activations(features, settings.normalise).astype(np.float64)
    fires = highly_activating(
        normalised, settings.rule, top_k=settings.top_k, quantile=settings.quantile, sigma=settings.sigma
    )
    groups, statistics, _ = explained_groups(fires, settings, chosen)
    if features.shape[1] == 1 and settings.normalise != "none":
        raise UserError(
            "encoder: gives one feature, and find_groups.normalise compares the features of an image with each other; "
            'give at least two, or set settings.find_groups.normalise="none"'
        )
    if not len(groups):
        raise UserError(
            f"features: none of {len(chosen)} fires on {settings.min_images} or more of {len(features)} images; "
            "give more images that differ, or lower settings.find_groups.min_images or quantile"
        )
    sets = image_sets(normalised, fires, groups, statistics["group"].to_numpy(), settings)
    return statistics, sets.rename(columns={"row": "image"})


def _boxes(
    activations: Activations, source: ImageSource, groups: pd.DataFrame, sets: pd.DataFrame, settings: schema.MineCrops
) -> tuple[Heatmaps, Boxes]:
    """Locate where each group fires, and crop the images there, as the stage mine_crops does."""
    rows, width = sets["image"].to_numpy(), activations.features.shape[1]
    of_row = pd.Index(groups["group"]).get_indexer(sets["group"])
    heatmaps = activations.heatmaps(source, rows, membership(groups["members"], width)[of_row])
    shapes = np.array([source.load(row).shape[:2] for row in range(len(source))])
    shape = shapes[rows, 0], shapes[rows, 1]
    rule = CropRule(settings.crop, settings.threshold, settings.margin, settings.min_size)
    boxes = crop_boxes(heatmaps, activations.fields[rows], shape, rule)
    return heatmaps, boxes_by_role(sets, boxes, shape, settings.low_crops)
