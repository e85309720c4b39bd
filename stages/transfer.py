"""Carry the concepts of an explained space to an unseen one by a linear map (C5, section 3 of the method)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.artifacts import read_array, read_table, write_json, write_table
from stages.common.corpus import Corpus, read_corpus, settings_of
from stages.common.errors import UserError
from stages.common.tables import concept_table, in_words, safe_cell
from stages.method import transfer as mapping
from stages.method.explanation import Captioned, captioned, explain
from stages.method.heatmaps import CropRule, crop_boxes, heatmaps_of
from stages.method.transfer import LinearMap, Split

if TYPE_CHECKING:
    from stages.common.params import Pair, Params

CROPS_AT_ONCE = 1024  # dense heatmaps in memory


@dataclass(frozen=True)
class Spaces:
    """Both spaces on the probe images, and the groups to carry over.

    Attributes
    ----------
    images : table of the probe images; `rows`: their rows in all arrays.
    explained, unseen : features of the probe images.
    groups : table of the explained space's groups; `members`: their features, averaged (groups x features).
    """

    images: pd.DataFrame
    rows: np.ndarray
    explained: np.ndarray
    unseen: np.ndarray
    groups: pd.DataFrame
    members: np.ndarray


def run(params: Params, pair: str) -> None:
    """Write the metrics, the table and the plot data of one ordered pair of spaces."""
    names, settings = params.transfers[pair], params.transfer
    spaces = _read(names.explained, names.unseen)
    generator = np.random.default_rng(settings.seed)
    try:
        split = mapping.split_images(len(spaces.rows), settings.splits.train, settings.splits.validation, generator)
    except ValueError as error:
        raise UserError(f"transfer.splits: {error}") from error
    fitted, penalty = mapping.fit_map(spaces.unseen, spaces.explained, split, settings.ridge)
    nulls = [_null_map(spaces, split, settings.ridge, generator) for _ in range(settings.permutations)]
    maps = {"map": fitted, "null": nulls[0]}
    tops = {
        key: _top_images(spaces.members @ some(spaces.unseen[split.heldout]).T, settings.top_images)
        for key, some in maps.items()
    }
    tables = _explained_again(params, names.unseen, spaces, split, maps, tops)
    compared = _compare(params, names, spaces, split, fitted, tops, tables)
    write_table(files.table(f"transfer_{pair}"), _for_people(spaces, compared, tables["map"]))
    write_table(files.plot(f"transfer_{pair}"), _r_squared_table(spaces, split, fitted))
    write_json(
        files.metrics(f"transfer_{pair}"),
        {"ridge": penalty, **_map_metrics(spaces, split, fitted, nulls), **_concept_metrics(compared)},
    )


def _read(explained: str, unseen: str) -> Spaces:
    images = read_table(files.IMAGES)
    rows = np.flatnonzero(images["split"] == "probe")
    own, other = (
        read_array(files.activations(name) / "features.npy")[rows].astype(np.float64) for name in (explained, unseen)
    )
    groups = read_table(files.groups(explained) / "groups.parquet")
    members = np.zeros((len(groups), own.shape[1]))
    for row, text in enumerate(groups["members"]):
        members[row, np.array(text.split(), dtype=int)] = 1
    return Spaces(
        images.iloc[rows].reset_index(drop=True), rows, own, other, groups, members / members.sum(axis=1, keepdims=True)
    )


def _null_map(spaces: Spaces, split: Split, ridge: tuple[float, ...], generator: np.random.Generator) -> LinearMap:
    """The same fit on a shuffled pairing of images."""
    return mapping.fit_map(spaces.unseen, spaces.explained[mapping.permuted(split, generator)], split, ridge)[0]


def _top_images(activation: np.ndarray, count: int) -> np.ndarray:
    """Places in the held-out split of each group's most activating images."""
    return np.argsort(-activation, axis=1, kind="stable")[:, :count]


def _explained_again(
    params: Params, unseen: str, spaces: Spaces, split: Split, maps: dict[str, LinearMap], tops: dict[str, np.ndarray]
) -> dict[str, pd.DataFrame]:
    """Concepts of each carried group: its images found through the map, cropped where the *unseen* encoder fires, captioned."""
    from stages.models.crop_embedding import embed_crops
    from stages.models.device import best_device
    from stages.models.image_text import load_image_text
    from stages.sources.images import open_images

    corpus, random = read_corpus(), _random_captions(params, unseen)
    source = open_images(params.data.source, params.data.images, read_table(files.IMAGES))
    encoder, tables = load_image_text(params.image_text, best_device()), {}
    group = np.repeat(np.arange(len(spaces.groups)), next(iter(tops.values())).shape[1])
    for key, fitted in maps.items():
        rows = spaces.rows[split.heldout[tops[key]]].reshape(-1)
        boxes = _boxes(params, unseen, rows, (spaces.members @ fitted.weights.T)[group])
        embeddings = embed_crops(source, encoder, rows, boxes, params.mine_crops.batch_size)
        tables[key] = _concepts(params, embeddings, group, random, spaces.groups, corpus)
    return tables


def _random_captions(params: Params, unseen: str) -> Captioned:
    """Captions of random crops of the unseen encoder: the prior."""
    rows = np.flatnonzero(read_table(files.crops(unseen) / "crops.parquet")["role"] == "random")
    return captioned(
        read_array(files.crops(unseen) / "embeddings.npy")[rows], read_corpus().shards, settings_of(params.concepts)
    )


def _boxes(params: Params, unseen: str, rows: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Crop boxes of directions of the unseen space, a bounded number at once."""
    settings, images = params.mine_crops, read_table(files.IMAGES)
    maps, fields = (
        read_array(files.activations(unseen) / "maps.npy"),
        read_array(files.activations(unseen) / "fields.npy"),
    )
    rule = CropRule(settings.crop, settings.threshold, settings.margin, settings.min_size)
    height, width = images["height"].to_numpy(), images["width"].to_numpy()
    parts = [slice(start, start + CROPS_AT_ONCE) for start in range(0, len(rows), CROPS_AT_ONCE)]
    return np.concatenate(
        [
            crop_boxes(
                heatmaps_of(maps[rows[part]], directions[part]),
                fields[rows[part]],
                (height[rows[part]], width[rows[part]]),
                rule,
            )
            for part in parts
        ]
    )


def _concepts(
    params: Params, embeddings: np.ndarray, group: np.ndarray, random: Captioned, groups: pd.DataFrame, corpus: Corpus
) -> pd.DataFrame:
    """Ranked concepts; there are no lowly activating images through a map, so only the contrast `prior` has something to act on."""
    captions = captioned(embeddings, corpus.shards, settings_of(params.concepts))
    nothing = Captioned(captions.captions[:0], captions.weights[:0]), group[:0]
    explanation = explain(
        (captions, group), nothing, random, corpus.mentions, len(groups), settings_of(params.concepts)
    )
    return concept_table(explanation, corpus, groups["group"].to_numpy(), params.concepts)


def _compare(
    params: Params,
    names: Pair,
    spaces: Spaces,
    split: Split,
    fitted: LinearMap,
    tops: dict[str, np.ndarray],
    tables: dict[str, pd.DataFrame],
) -> pd.DataFrame:
    """One row a group: how far images and concepts found through the map agree with the explained space's own, and the null's."""
    own = _words(
        read_table(files.concepts(names.explained) / "concepts.parquet"), spaces.groups["group"], params.concepts.top
    )
    through = {key: _words(table, spaces.groups["group"], params.concepts.top) for key, table in tables.items()}
    direct = _words(
        read_table(files.concepts(names.unseen) / "concepts.parquet"),
        _nearest_feature(spaces, split, fitted),
        params.concepts.top,
    )
    actual = _top_images(spaces.members @ spaces.explained[split.heldout].T, params.transfer.top_images)
    return spaces.groups[["group", "members", "size"]].assign(
        image_overlap=mapping.overlap(actual, tops["map"]),
        image_overlap_null=mapping.overlap(actual, tops["null"]),
        concept_overlap=_shared(own, through["map"]),
        concept_overlap_null=_shared(own, through["null"]),
        concept_overlap_direct=_shared(direct, through["map"]),
        same_first=[a[:1] == b[:1] and len(a) > 0 for a, b in zip(own, through["map"], strict=True)],
        same_first_null=[a[:1] == b[:1] and len(a) > 0 for a, b in zip(own, through["null"], strict=True)],
    )


def _words(table: pd.DataFrame, groups: pd.Series, top: int) -> list[list[str]]:
    """The kept words of each group named, in order."""
    words = table[table["kept"] & (table["kind"] == "word") & (table["rank"] <= top)].sort_values(
        ["group", "rank"], kind="stable"
    )
    listed = {group: list(some) for group, some in words.groupby("group", sort=False)["concept"]}
    return [listed.get(group, []) for group in groups]


def _shared(first: list[list[str]], second: list[list[str]]) -> list[float]:
    """Share of the first list's words that are in the second's; 0 for an empty list."""
    return [len(set(a) & set(b)) / max(len(a), 1) for a, b in zip(first, second, strict=True)]


def _nearest_feature(spaces: Spaces, split: Split, fitted: LinearMap) -> pd.Series:
    """The unseen space's own feature that follows each carried group best on the training split."""
    carried = fitted(spaces.unseen[split.train]) @ spaces.members.T
    correlation = np.corrcoef(carried.T, spaces.unseen[split.train].T)[: len(spaces.groups), len(spaces.groups) :]
    return pd.Series([f"f{feature}" for feature in np.nan_to_num(correlation, nan=-1).argmax(axis=1)])


def _map_metrics(spaces: Spaces, split: Split, fitted: LinearMap, nulls: list[LinearMap]) -> dict:
    """Held-out fit of the map, and of the null maps."""
    target, source = spaces.explained[split.heldout], spaces.unseen[split.heldout]
    r_squared = mapping.r_squared(target, fitted(source))
    null = [np.nanmedian(mapping.r_squared(target, some(source))) for some in nulls]
    return {
        "images": {"train": len(split.train), "validation": len(split.validation), "heldout": len(split.heldout)},
        "r2": {
            "median": np.nanmedian(r_squared),
            "mean": np.nanmean(r_squared),
            "share_above_half": float(np.nanmean(r_squared > 0.5)),
        },
        "r2_null": {"median": float(np.mean(null))},
        "cosine": {"mean": mapping.cosines(target, fitted(source)).mean()},
    }


def _concept_metrics(compared: pd.DataFrame) -> dict:
    """Means over the carried groups."""
    columns = compared.drop(columns=["group", "members", "size"]).mean()
    return {"groups": len(compared), "agreement": {key: float(value) for key, value in columns.items()}}


def _r_squared_table(spaces: Spaces, split: Split, fitted: LinearMap) -> pd.DataFrame:
    """Plot data: held-out R2 of each explained feature, best first."""
    r_squared = mapping.r_squared(spaces.explained[split.heldout], fitted(spaces.unseen[split.heldout]))
    best_first = np.sort(np.nan_to_num(r_squared, nan=0.0))[::-1]
    return pd.DataFrame({"feature_by_rank": np.arange(1, len(best_first) + 1), "r2": best_first})


def _for_people(spaces: Spaces, compared: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    return compared.assign(words=compared["group"].map(in_words(table)).fillna("").map(safe_cell))
