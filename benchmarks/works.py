"""The tasks that benchmarks/speed.py times: inputs of two sizes, the released algorithm, ours, and their agreement.

The small size is where the results are compared, the full one is where time and memory are measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks import released

Inputs = dict[str, Any]
Side = Callable[..., Any]


@dataclass(frozen=True)
class Work:
    """One row of the table.

    Attributes
    ----------
    title, by : the work, and the released way to do it.
    aim : how many times faster ours is to be.
    make : gives the inputs at the full size or the small one.
    reference, ours : take the inputs, the reference also the share of the work that it does.
    same : share of the results that are the same, at the small size.
    share, small_share : of the full and of the small work, that the reference does.
    checked : what is compared in place of ours.
    least : of the results that must be the same.
    """

    title: str
    by: str
    aim: float
    make: Callable[[bool], Inputs]
    reference: Side
    ours: Side
    same: Callable[[Any, Any], float]
    share: float = 1.0
    small_share: float = 1.0
    checked: Side | None = None
    least: float = 1.0


def unit(generator: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    """Return random directions, single precision."""
    found = generator.standard_normal((rows, dim), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _activations(full: bool) -> np.ndarray:
    """Return row-normalised features: most of them noise, in three of ten images a few that fire together."""
    from falcon_dvc.groups.activations import row_normalised

    images, features = (50_000, 2048) if full else (3000, 128)
    generator = np.random.default_rng(0)
    found = np.abs(generator.standard_normal((images, features), dtype=np.float32))
    rows = np.flatnonzero(generator.random(images) < 0.3)
    pattern = generator.integers(0, 400 if full else 12, len(rows))
    for step in range(3):
        some = pattern % 3 >= step
        found[rows[some], (7 * pattern[some] + step) % features] += 12
    return row_normalised(found)


# ---- Groups


def _for_groups(full: bool) -> Inputs:
    normalised = _activations(full)
    sigma = 5.0 if full else 3.0
    return {
        "normalised": normalised,
        "sigma": sigma,
        "threshold": normalised.mean() + sigma * normalised.std(),
        "min_images": 11,
    }


def _groups(inputs: Inputs) -> Any:
    from falcon_dvc.groups.activations import fires_by_sigma
    from falcon_dvc.groups.groups import exact_groups

    return exact_groups(fires_by_sigma(inputs["normalised"], inputs["sigma"]), inputs["min_images"])


def _same_groups(expected: dict[str, list[int]], found: Any) -> float:
    members = ["_".join(map(str, np.flatnonzero(row))) for row in found.members]
    images = dict(zip(members, (np.flatnonzero(row).tolist() for row in found.images), strict=True))
    return float(images == expected and len(expected) > 0)


# ---- Heatmaps


def _for_heatmaps(full: bool) -> Inputs:
    import torch
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(weights=None).eval()
    trunk = torch.nn.Sequential(*list(network.children())[:-2]).to(memory_format=torch.channels_last)
    generator = np.random.default_rng(0)
    coarse = generator.standard_normal((500 if full else 8, 3, 14, 14), dtype=np.float32)
    pixels = torch.nn.functional.interpolate(torch.from_numpy(coarse), scale_factor=16, mode="bilinear")
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    return {
        "network": SimpleNamespace(maps=trunk, width=512, finer=32),
        "pixels": pixels.numpy(),
        "cut": 0.6,
        "measured": 32 if full else 8,
    }


def _heatmaps(inputs: Inputs) -> np.ndarray:
    """Of every feature in every image: crops on the original, as mine_crops makes them."""
    import torch

    from falcon_dvc.crops.heatmaps import CropRule, crop_boxes

    pixels, rule = torch.from_numpy(inputs["pixels"]), CropRule(True, inputs["cut"], 0.1, 0.2)
    boxes = []
    for start in range(0, len(pixels), 32):
        with torch.inference_mode():
            maps = inputs["network"].maps(pixels[start : start + 32]).contiguous().numpy()
        heatmaps = np.maximum(maps, 0).reshape(-1, *maps.shape[2:])
        sides = np.full(len(heatmaps), 224)
        boxes.append(crop_boxes(heatmaps, np.tile([0, 0, 224, 224], (len(heatmaps), 1)), (sides, sides), rule))
    return np.concatenate(boxes)


def _boxes_of_released_size(inputs: Inputs) -> np.ndarray:
    """Return the boxes on the released grid, before they become squares."""
    import torch

    from falcon_dvc.crops.heatmaps import boxes_of, enlarged

    with torch.inference_mode():
        maps = inputs["network"].maps(torch.from_numpy(inputs["pixels"])).numpy()
    heatmaps = np.maximum(maps, 0).swapaxes(0, 1).reshape(-1, 7, 7)[: inputs["measured"]]
    return boxes_of(enlarged(heatmaps, 224, 224), inputs["cut"])


# ---- Captions


def _for_captions(full: bool) -> Inputs:
    generator = np.random.default_rng(0)
    captions, crops, dim = (1_000_000, 1000, 512) if full else (20_000, 100, 64)
    texts = np.concatenate([unit(generator, captions // 20, dim) for _ in range(20)])
    # One shard at the small size: with several, the released weights rank captions of other shards otherwise.
    return {
        "texts": texts,
        "crops": unit(generator, crops, dim),
        "shard": 100_000,
        "k": 5,
        "group_size": 10,
    }


def _captions(inputs: Inputs) -> np.ndarray:
    from falcon_dvc.concepts.retrieval.nearest import nearest_captions
    from falcon_dvc.concepts.scoring.corpus import shards_of

    shards = shards_of(np.arange(len(inputs["texts"])), inputs["texts"])
    return nearest_captions(inputs["crops"], shards, inputs["k"]).captions


def _same_rows(expected: np.ndarray, found: np.ndarray) -> float:
    return float((expected == found[: len(expected)]).all(axis=1).mean())


# ---- Words


def _for_words(full: bool) -> Inputs:
    """Return sentences of one pattern over TextBlob's lexicon: what TextBlob tags as it is meant, nearly always."""
    from falcon_dvc.concepts.words.parsing import _lexicon

    generator, by_tag = np.random.default_rng(0), {}
    for word, tag in _lexicon().items():
        if word.isascii() and word.isalpha() and len(word) > 3:
            by_tag.setdefault(tag, []).append(word)
    drawn = {
        tag: _frequent_first(generator, by_tag[tag], 200_000 if full else 2000) for tag in ("JJ", "NN", "VBG", "NNS")
    }
    pairs = zip(*(drawn[tag].reshape(-1, 2) for tag in ("JJ", "NN", "VBG", "NNS")), strict=True)
    return {
        "captions": [
            f"a {adjectives[0]} {nouns[0]} {verbs[0]} on the {adjectives[1]} {nouns[1]} near two {plurals[0]}"
            for adjectives, nouns, verbs, plurals in pairs
        ]
    }


def _frequent_first(generator: np.random.Generator, words: list[str], count: int) -> np.ndarray:
    """Return words drawn as often as in texts: in inverse proportion to their rank (Zipf)."""
    return np.array(words)[(len(words) ** generator.random(count)).astype(int) - 1]


def _words(inputs: Inputs) -> Any:
    from falcon_dvc.concepts.words import parsing

    parsing._read.cache_clear()  # every repetition reads each word anew
    parsing.lemma.cache_clear()
    captions = inputs["captions"]
    return [parsing.parse_captions(captions[start : start + 65_536]) for start in range(0, len(captions), 65_536)]


def _alike_words(expected: list[set[str]], found: list[Any]) -> float:
    """Return the reference words that ours finds too; ours keeps verbs as they are, and tags words without context otherwise."""
    (parsed,) = found
    ours = [set() for _ in expected]
    for caption, phrase, concept in zip(parsed.caption, parsed.phrase, parsed.concept, strict=True):
        if not phrase:
            ours[caption].add(parsed.vocabulary[concept])
    return sum(len(one & other) for one, other in zip(expected, ours, strict=True)) / sum(map(len, expected))


# ---- A further group


def _for_a_group(full: bool) -> Inputs:
    from falcon_dvc.concepts.scoring.scores import Mentions

    inputs = _for_words(full)
    parsed = _words({"captions": inputs["captions"][:50_000]})[0]
    from scipy import sparse

    shape = (min(len(inputs["captions"]), 50_000), len(parsed.vocabulary))
    incidence = sparse.csr_array((np.ones(len(parsed)), (parsed.caption, parsed.concept)), shape=shape)
    phrase = np.zeros(shape[1], dtype=bool)
    phrase[parsed.concept] = parsed.phrase
    generator = np.random.default_rng(1)
    found = generator.integers(0, shape[0], (10, 5))
    return {
        "captions": [inputs["captions"][caption] for caption in found.reshape(-1)],
        "vocabulary": parsed.vocabulary,
        "found": found,
        "weights": generator.random((10, 5)),
        "mentions": Mentions(np.arange(shape[0]), incidence, phrase),
    }


def _a_group(inputs: Inputs) -> Any:
    """Return the scores of the group's words, every caption being parsed already."""
    from falcon_dvc.concepts.scoring.scores import crop_scores, group_scores

    scores = crop_scores(inputs["found"], inputs["weights"], inputs["mentions"])
    return group_scores(scores, np.zeros(len(inputs["found"]), dtype=int), 1)


def _concepts_of_a_group(inputs: Inputs) -> set[str]:
    """Return the names of what is scored."""
    return {inputs["vocabulary"][concept] for concept in _a_group(inputs).indices}


# ---- Coherence


def _for_coherence(full: bool) -> Inputs:
    generator = np.random.default_rng(0)
    sizes = generator.integers(2, 41, 10_000 if full else 50)
    dim = 512 if full else 16
    return {
        "embeddings": unit(generator, int(sizes.sum()), dim),
        "sizes": sizes,
        "pool": unit(generator, 20_000 if full else 300, dim),
        "sets": 500,
    }


def _coherence(inputs: Inputs) -> np.ndarray:
    from falcon_dvc.evaluation.coherence import against_null, coherence, coherence_of_random_sets

    sizes, pool = inputs["sizes"], inputs["pool"]
    own = coherence(inputs["embeddings"], np.repeat(np.arange(len(sizes)), sizes), len(sizes))
    stratum = np.zeros(len(pool), dtype=int)
    drawn = coherence_of_random_sets(pool, stratum, sizes[:, None], inputs["sets"], np.random.default_rng(0))
    null = np.stack(list(drawn), axis=1)
    against_null(own, null)
    return np.column_stack([own, null.mean(axis=1)])


def _same_coherence(expected: np.ndarray, found: np.ndarray) -> float:
    """Return the same coherence; the null is drawn otherwise, so its mean agrees but for chance."""
    own = np.abs(expected[:, 0] - found[: len(expected), 0]) < 1e-5
    null = np.abs(expected[:, 1] - found[: len(expected), 1]) < 0.05
    return float((own & null).mean())


# ---- Lowly activating images


def _for_lowly(full: bool) -> Inputs:
    normalised = _activations(full)
    fires = np.zeros(normalised.shape, dtype=bool)
    np.put_along_axis(fires, np.argpartition(-normalised, 20, axis=0)[:20], True, axis=0)
    return {
        "normalised": normalised,
        "mean": normalised.mean(),
        "fires": fires,
        "count": 10,
        "similarity": 0.3,
    }


def _lowly(inputs: Inputs) -> np.ndarray:
    from falcon_dvc.groups.activations import lowly_activating
    from falcon_dvc.groups.image_sets import GROUPS_AT_ONCE

    normalised, fires = inputs["normalised"], inputs["fires"]
    width, found = normalised.shape[1], []
    for start in range(0, width, GROUPS_AT_ONCE):
        features = np.arange(start, min(start + GROUPS_AT_ONCE, width))
        members = np.zeros((len(features), width), dtype=bool)
        members[np.arange(len(features)), features] = True
        images = np.ascontiguousarray(fires[:, features].T)
        found.append(lowly_activating(normalised, members, images, inputs["count"], inputs["similarity"])[0])
    return np.concatenate(found)


# ---- AUC


def _for_auc(full: bool) -> Inputs:
    generator = np.random.default_rng(0)
    images, features, attributes = (50_000, 2048, 1000) if full else (500, 20, 10)
    return {
        "activations": generator.standard_normal((images, features), dtype=np.float32),
        "labels": generator.random((images, attributes)) < 0.1,
    }


def _auc(inputs: Inputs) -> np.ndarray:
    from falcon_dvc.evaluation.selectivity import auc

    return auc(inputs["activations"], inputs["labels"])


# ---- soft-WPMI


def _for_wpmi(full: bool) -> Inputs:
    generator = np.random.default_rng(0)
    images, features, concepts, dim = (10_000, 512, 20_000, 512) if full else (200, 12, 50, 16)
    activations = generator.standard_normal((images, features), dtype=np.float32)
    return {
        "images": unit(generator, images, dim),
        "concepts": unit(generator, concepts, dim),
        "strongest": np.argsort(-activations, axis=0, kind="stable")[:100].T.copy(),
    }


def _wpmi(inputs: Inputs) -> np.ndarray:
    from falcon_dvc.evaluation.baselines import soft_wpmi

    features, top = inputs["strongest"].shape
    group, rank = np.repeat(np.arange(features), top), np.tile(np.arange(top), features)
    return soft_wpmi(
        inputs["images"], group, rank, features, inputs["concepts"], crop=inputs["strongest"].reshape(-1), top=top
    )


WORKS = {
    "groups": Work(
        "features above the threshold → groups, 50 000 images × 2048 features",
        "loops over features and images, dict of strings",
        100,
        _for_groups,
        released.groups,
        _groups,
        _same_groups,
        share=1 / 32,
    ),
    "heatmaps": Work(
        "heatmaps and boxes of all 512 features of ResNet-18, 500 images",
        "Grad-CAM per feature, box search in Python",
        50,
        _for_heatmaps,
        released.heatmaps_and_boxes,
        _heatmaps,
        lambda expected, found: _same_rows(expected[1], found),
        share=32 / (512 * 500),
        small_share=8 / (512 * 8),
        checked=_boxes_of_released_size,
        least=0.99,
    ),
    "captions": Work(
        "captioning 1000 crops, 1 000 000 captions × 512, exact",
        "softmax of each shard, top-k, concatenate",
        3,
        _for_captions,
        released.captions,
        _captions,
        _same_rows,
    ),
    "captions_by_group": Work(
        "the same",
        "the same, a group of 10 crops at a time",
        3,
        _for_captions,
        released.captions_by_group,
        _captions,
        _same_rows,
        share=0.02,
    ),
    "words": Work(
        "100 000 captions → words and phrases",
        "TextBlob per caption",
        20,
        _for_words,
        released.words,
        _words,
        _alike_words,
        share=0.03,
        least=0.7,
    ),
    "further_group": Work(
        "words of a further group of 10 crops",
        "TextBlob for its 50 captions",
        20,
        _for_a_group,
        released.words,
        _a_group,
        lambda expected, found: len(set.union(*expected) & found) / len(set.union(*expected)),
        checked=_concepts_of_a_group,
        least=0.7,
    ),
    "coherence": Work(
        "coherence of 10 000 groups of 2 to 40 crops, 500 random sets each",
        "product of all pairs, per group and set",
        20,
        _for_coherence,
        released.coherence,
        _coherence,
        _same_coherence,
        share=0.005,
    ),
    "lowly": Work(
        "lowly activating images of 2048 features, 50 000 images",
        "one pass per feature",
        10,
        _for_lowly,
        released.lowly,
        _lowly,
        _same_rows,
        share=6 / 2048,
    ),
    "auc": Work(
        "AUC of 2048 features × 1000 attributes, 50 000 images",
        "one call per pair",
        30,
        _for_auc,
        released.auc,
        _auc,
        lambda expected, found: float(np.isclose(expected, found.reshape(-1)).mean()),
        share=400 / (2048 * 1000),
    ),
    "soft_wpmi": Work(
        "soft-WPMI, 512 features × 20 000 words × 10 000 images",
        "the published formula, feature by feature",
        2,
        _for_wpmi,
        released.soft_wpmi,
        _wpmi,
        lambda expected, found: float(np.isclose(expected, found, atol=1e-2).mean()),
    ),
}
