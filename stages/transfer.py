"""Carry the concepts of an explained space to an unseen one by a linear map (C5, section 3 of the method)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.resume import Resumable, resumable
from falcon_dvc.concepts.scoring.corpus import Corpus, crop_embeddings, read_corpus, settings_of
from falcon_dvc.concepts.scoring.explanation import Captioned, explain
from falcon_dvc.concepts.scoring.tables import concept_table
from falcon_dvc.concepts.words.listing import in_words
from falcon_dvc.crops.heatmaps import CropRule, crop_boxes
from falcon_dvc.crops.localisation import Localisation
from falcon_dvc.errors import UserError
from falcon_dvc.progress import track
from falcon_dvc.transfer import maps as mapping
from falcon_dvc.transfer.maps import CurvePoint, LinearMap, Ridge, RidgeFit, Split

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Pair, Params, Transfer

CROPS_AT_ONCE = 1024  # dense heatmaps in memory
STATISTICS: dict[str, Callable[..., np.ndarray]] = {"median": np.median, "mean": np.mean, "share": np.mean}


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


@dataclass(frozen=True)
class Maps:
    """The map from the unseen to the explained space, and null maps from a shuffled pairing of images.

    Attributes
    ----------
    prepared : the unseen space's side of every regression.
    fit, null_fits : regressions; `fitted`, `nulls`: the maps that they give, limited in rank if params say so.
    """

    prepared: Ridge
    fit: RidgeFit
    fitted: LinearMap
    null_fits: list[RidgeFit]
    nulls: list[LinearMap]

    @property
    def split(self) -> Split:
        return self.prepared.split


def run(params: Params, pair: str) -> StageSummary:
    """Write the metrics, the tables and the plot data of one ordered pair of spaces."""
    names, settings = params.transfers[pair], params.transfer
    spaces = _read(names.explained, names.unseen)
    maps = _fit(spaces, settings)
    with resumable(f"transfer-{pair}") as work:
        compared, found, pictures = _carry(params, names, spaces, maps, work)
    by_images = _by_images(spaces, maps, settings)
    by_rank, dimensions = _by_rank(spaces, maps, settings)
    write_table(paths.transfers(pair), pictures)
    write_table(paths.table(f"transfer_{pair}"), _for_people(compared, found))
    write_table(paths.plot(f"transfer_{pair}"), _r_squared_table(spaces, maps))
    write_table(paths.plot(f"transfer_{pair}_images"), by_images)
    write_table(paths.plot(f"transfer_{pair}_rank"), by_rank)
    metrics = _fit_metrics(spaces, maps, settings) | dimensions | _controls(spaces, maps, settings)
    summary = _summary(pair, spaces, maps, len(pictures))
    write_json(paths.metrics(f"transfer_{pair}"), metrics | _concept_metrics(compared, settings) | summary.metrics)
    return summary


def _summary(pair: str, spaces: Spaces, maps: Maps, rows: int) -> StageSummary:
    """A feature that is constant on the held-out images has no R2; it is left out of every mean."""
    (r_squared,) = _r_squared(spaces.explained, spaces, maps.split.heldout, maps.fitted)
    return StageSummary(
        read={"probe images": len(spaces.rows), "features": len(r_squared), "groups": len(spaces.groups)},
        dropped={"features": {"constant on the held-out images": int(np.isnan(r_squared).sum())}},
        wrote={f"rows to {paths.transfers(pair)}": rows},
    )


def _read(explained: str, unseen: str) -> Spaces:
    images = read_table(paths.IMAGES)
    rows = np.flatnonzero(images["split"] == "probe")
    own, other = (
        read_array(paths.activations(name) / "features.npy")[rows].astype(np.float64) for name in (explained, unseen)
    )
    groups = read_table(paths.groups(explained) / "groups.parquet")
    members = np.zeros((len(groups), own.shape[1]))
    for row, text in enumerate(groups["members"]):
        members[row, np.array(text.split(), dtype=int)] = 1
    return Spaces(
        images.iloc[rows].reset_index(drop=True), rows, own, other, groups, members / members.sum(axis=1, keepdims=True)
    )


def _split(spaces: Spaces, settings: Transfer, generator: np.random.Generator) -> Split:
    """The division of the images; somewhere in its held-out part the explained space must vary."""
    try:
        split = mapping.split_images(len(spaces.rows), settings.splits.train, settings.splits.validation, generator)
    except ValueError as error:
        raise UserError(f"transfer.splits: {error}") from error
    if not np.ptp(spaces.explained[split.heldout], axis=0).any():
        raise UserError("transfers: every feature of the explained encoder is constant; name another encoder")
    return split


def _fit(spaces: Spaces, settings: Transfer) -> Maps:
    """The map, and the same fit on shuffled pairings."""
    generator = np.random.default_rng(settings.seed)
    split = _split(spaces, settings, generator)
    prepared = mapping.ridge(spaces.unseen, split, settings.ridge)
    fit = prepared.fit(spaces.explained)
    rounds = track(range(settings.permutations), "maps of shuffled pairs")
    pairings = (mapping.permuted(split, len(spaces.rows), generator) for _ in rounds)
    nulls = [prepared.fit(spaces.explained[rows]) for rows in pairings]
    return Maps(prepared, fit, fit.linear_map(settings.rank), nulls, [null.linear_map(settings.rank) for null in nulls])


def _carry(params: Params, names: Pair, spaces: Spaces, maps: Maps, work: Resumable) -> tuple[pd.DataFrame, ...]:
    """How images and concepts found through the map agree with the explained space's own; those concepts; those images.

    All null maps find images, one of them concepts: each costs as many embeddings of crops as the map.
    """
    heldout, count = maps.split.heldout, params.transfer.top_images
    tops, *null_tops = (
        _top_images(spaces.members @ some(spaces.unseen[heldout]).T, count) for some in (maps.fitted, *maps.nulls)
    )
    pairs = [(maps.fitted, tops), (maps.nulls[0], null_tops[0])]
    tables, boxes = _explained_again(params, names.unseen, spaces, maps.split, pairs, work)
    actual = _top_images(spaces.members @ spaces.explained[heldout].T, count)
    compared = spaces.groups[["group", "members", "size"]].assign(
        image_overlap=mapping.overlap(actual, tops),
        image_overlap_null=np.mean([mapping.overlap(actual, some) for some in null_tops], axis=0),
        **_agreement(params, names, spaces, maps, tables),
    )
    return compared, tables[0], _found_images(spaces, heldout, tops, actual, boxes[0])


def _found_images(
    spaces: Spaces, heldout: np.ndarray, tops: np.ndarray, actual: np.ndarray, boxes: np.ndarray
) -> pd.DataFrame:
    """Held-out images of each group found through the map, with the boxes where the unseen encoder fires."""
    group, rank = np.divmod(np.arange(tops.size), tops.shape[1])
    own = [image in some for some, images in zip(actual, tops, strict=True) for image in images]
    return pd.DataFrame(
        {
            "group": spaces.groups["group"].to_numpy()[group],
            "rank": rank,
            "image": spaces.images["image"].to_numpy()[heldout[tops.reshape(-1)]],
            **dict(zip(("left", "top", "right", "bottom"), np.asarray(boxes).T, strict=True)),
            "own": np.array(own, dtype=bool),
        }
    )


def _top_images(activation: np.ndarray, count: int) -> np.ndarray:
    """Places in the held-out split of each group's most activating images."""
    return np.argsort(-activation, axis=1, kind="stable")[:, :count]


def _explained_again(
    params: Params,
    unseen: str,
    spaces: Spaces,
    split: Split,
    found: list[tuple[LinearMap, np.ndarray]],
    work: Resumable,
) -> tuple[list[pd.DataFrame], list[np.ndarray]]:
    """Concepts of each carried group: its images found through a map, cropped where the *unseen* encoder fires, captioned; the boxes."""
    from falcon_dvc.compute.device import best_device
    from falcon_dvc.crops.embedding import embed_crops
    from falcon_dvc.models.image_text.load import load_image_text

    corpus = read_corpus()
    random = _random_captions(params, unseen, corpus)
    encoder, tables, cropped = load_image_text(params.image_text, best_device()), [], []
    corpus.refuse_other(encoder.fingerprint, "image_text")
    for number, (fitted, tops) in enumerate(found):
        group = np.repeat(np.arange(len(tops)), tops.shape[1])
        rows = spaces.rows[split.heldout[tops]].reshape(-1)
        boxes = _boxes(params, unseen, rows, (spaces.members @ fitted.weights.T)[group], work)
        size, name = params.mine_crops.batch_size, f"crops-{number}"
        embeddings = embed_crops(params.data, encoder, rows, boxes, size, work, name)
        tables.append(_concepts(params, embeddings, group, random, spaces.groups, corpus))
        cropped.append(boxes)
    return tables, cropped


def _random_captions(params: Params, unseen: str, corpus: Corpus) -> Captioned:
    """Captions of random crops of the unseen encoder: the prior."""
    rows = np.flatnonzero(read_table(paths.crops(unseen) / "crops.parquet")["role"] == "random")
    return corpus.captioned(crop_embeddings(unseen, corpus)[rows], settings_of(params.concepts))


def _boxes(params: Params, unseen: str, rows: np.ndarray, directions: np.ndarray, work: Resumable) -> np.ndarray:
    """Crop boxes of directions of the unseen space, a bounded number at once."""
    settings, images = params.mine_crops, read_table(paths.IMAGES)
    fields, located = read_array(paths.activations(unseen) / "fields.npy"), Localisation(params, unseen, work)
    rule = CropRule(settings.crop, settings.threshold, settings.margin, settings.min_size)
    height, width = images["height"].to_numpy(), images["width"].to_numpy()
    parts = [slice(start, start + CROPS_AT_ONCE) for start in range(0, len(rows), CROPS_AT_ONCE)]
    return np.concatenate(
        [
            crop_boxes(
                located.of_directions(rows[part], directions[part]),
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
    captions = corpus.captioned(embeddings, settings_of(params.concepts))
    nothing = Captioned(captions.captions[:0], captions.weights[:0]), group[:0]
    explanation = explain(
        (captions, group), nothing, random, corpus.mentions, len(groups), settings_of(params.concepts)
    )
    return concept_table(explanation, corpus, groups["group"].to_numpy(), params.concepts)


def _agreement(
    params: Params, names: Pair, spaces: Spaces, maps: Maps, tables: list[pd.DataFrame]
) -> dict[str, list[float]]:
    """Concepts found through the map and through a null map against those of the explained space, and those found directly."""
    top, groups = params.concepts.top, spaces.groups["group"]
    own = _words(read_table(paths.concepts(names.explained) / "concepts.parquet"), groups, top)
    direct = _words(read_table(paths.concepts(names.unseen) / "concepts.parquet"), _nearest_feature(spaces, maps), top)
    carried, null = (_words(table, groups, top) for table in tables)
    return {
        "concept_overlap": _shared(own, carried),
        "concept_overlap_null": _shared(own, null),
        "concept_overlap_direct": _shared(direct, carried),
        "concept_overlap_direct_null": _shared(direct, null),
        "same_first": _same_first(own, carried),
        "same_first_null": _same_first(own, null),
    }


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


def _same_first(first: list[list[str]], second: list[list[str]]) -> list[float]:
    """1 where both lists begin with the same word."""
    return [float(a[:1] == b[:1] and len(a) > 0) for a, b in zip(first, second, strict=True)]


def _nearest_feature(spaces: Spaces, maps: Maps) -> pd.Series:
    """The unseen space's own feature that follows each carried group best on the training split."""
    train = spaces.unseen[maps.split.train]
    carried = maps.fitted(train) @ spaces.members.T
    with np.errstate(invalid="ignore"):  # what is constant correlates with nothing
        correlation = np.corrcoef(carried.T, train.T)[: len(spaces.groups), len(spaces.groups) :]
    return pd.Series([f"f{feature}" for feature in np.nan_to_num(correlation, nan=-1).argmax(axis=1)])


def _r_squared(target: np.ndarray, spaces: Spaces, rows: np.ndarray, *maps: LinearMap) -> np.ndarray:
    """R2 of each feature of a target by each map on some images: maps x features."""
    return np.array([mapping.r_squared(target[rows], some(spaces.unseen[rows])) for some in maps])


def _estimate(statistic: str, values: np.ndarray, settings: Transfer) -> dict[str, float]:
    """A statistic over items, averaged over draws, with its bootstrap interval; items that have no value are left out.

    Parameters
    ----------
    values : items, or draws x items.
    """
    known = np.atleast_2d(np.asarray(values, dtype=float))
    known = known[:, ~np.isnan(known).any(axis=0)]
    generator = np.random.default_rng(settings.seed)
    low, high = mapping.bootstrap(known, STATISTICS[statistic], settings.bootstrap, settings.confidence, generator)
    value = float(STATISTICS[statistic](known, axis=1).mean())
    return {statistic: value, "interval_low": low, "interval_high": high}


def _fit_metrics(spaces: Spaces, maps: Maps, settings: Transfer) -> dict:
    """Fit of the map on held-out images, on those that it was learnt on (for the optimism of such figures), and of the null maps."""
    split, target = maps.split, spaces.explained
    heldout = _r_squared(target, spaces, split.heldout, maps.fitted)
    training = _r_squared(target, spaces, split.train, maps.fitted)
    null = _r_squared(target, spaces, split.heldout, *maps.nulls)
    return {
        "ridge": maps.fit.penalty,
        "images": {"train": len(split.train), "validation": len(split.validation), "heldout": len(split.heldout)},
        "r2": _estimate("median", heldout, settings),
        "r2_of_features": _estimate("mean", heldout, settings),
        "r2_above_half": _estimate("share", np.where(np.isnan(heldout), np.nan, heldout > 0.5), settings),
        "r2_null": _estimate("median", null, settings),
        "r2_on_training_images": _estimate("median", training, settings),
        "r2_of_features_on_training_images": _estimate("mean", training, settings),
        "cosine": _estimate("mean", _cosines(spaces, split, maps.fitted), settings),
        "cosine_null": _estimate("mean", _cosines(spaces, split, *maps.nulls).mean(axis=0), settings),
    }


def _cosines(spaces: Spaces, split: Split, *maps: LinearMap) -> np.ndarray:
    """Cosine of each held-out image's features with what each map makes of them: maps x images."""
    target, source = spaces.explained[split.heldout], spaces.unseen[split.heldout]
    return np.array([mapping.cosines(target, some(source)) for some in maps])


def _by_images(spaces: Spaces, maps: Maps, settings: Transfer) -> pd.DataFrame:
    """Plot data: held-out median R2 of maps learnt from fewer images, then from all, beside null maps from as many."""
    generator, curve, heldout = np.random.default_rng([settings.seed, 1]), settings.curve, maps.split.heldout
    points = mapping.learning_curve(
        spaces.unseen, spaces.explained, maps.prepared, curve.images, curve.draws, generator, settings.rank
    )
    whole, null = (_r_squared(spaces.explained, spaces, heldout, *some) for some in ([maps.fitted], maps.nulls))
    points.append(CurvePoint(len(maps.split.train), whole, null))
    return pd.DataFrame([_point(point, settings) for point in points])


def _point(point: CurvePoint, settings: Transfer) -> dict[str, float]:
    found, null = (_estimate("median", values, settings) for values in (point.r_squared, point.null))
    return {
        "training_images": point.images,
        "r2": found["median"],
        "interval_low": found["interval_low"],
        "interval_high": found["interval_high"],
        "null": null["median"],
        "null_low": null["interval_low"],
        "null_high": null["interval_high"],
    }


def _by_rank(spaces: Spaces, maps: Maps, settings: Transfer) -> tuple[pd.DataFrame, dict]:
    """Plot data: held-out R2 by the rank of the map; and how many dimensions are enough, chosen on the validation split."""
    split, fit = maps.split, maps.fit
    train, validation, heldout = (spaces.explained[rows] for rows in (split.train, split.validation, split.heldout))
    by_rank = mapping.rank_curve(fit, spaces.unseen[split.heldout], heldout)
    null = mapping.rank_curve(maps.null_fits[0], spaces.unseen[split.heldout], heldout)
    ceiling = mapping.ceiling_by_rank(fit.units, train, heldout)
    enough = mapping.smallest_rank(
        mapping.rank_curve(fit, spaces.unseen[split.validation], validation), settings.rank_share
    )
    of_space = mapping.smallest_rank(mapping.ceiling_by_rank(fit.units, train, validation), settings.rank_share)
    metrics = {
        "dimensions": {"full": len(by_rank) - 1, "enough": enough, "enough_for_explained_space": of_space},
        "r2_of_features_with_enough": _estimate("mean", by_rank[enough], settings),
    }
    return _rank_table(by_rank, null, ceiling, settings), metrics


def _rank_table(by_rank: np.ndarray, null: np.ndarray, ceiling: np.ndarray, settings: Transfer) -> pd.DataFrame:
    """One row for the ranks 1, 2, 4, … and the full one; a curve that ends earlier keeps its last value."""
    full = len(by_rank) - 1
    ranks = [2**power for power in range(full.bit_length()) if 2**power < full] + [full]
    found = [_estimate("mean", by_rank[rank], settings) for rank in ranks]
    return pd.DataFrame(
        {
            "rank": ranks,
            "r2": [some["mean"] for some in found],
            "interval_low": [some["interval_low"] for some in found],
            "interval_high": [some["interval_high"] for some in found],
            "median": np.nanmedian(by_rank[ranks], axis=1),
            "null": np.nanmean(null[np.minimum(ranks, len(null) - 1)], axis=1),
            "ceiling": np.nanmean(ceiling[np.minimum(ranks, len(ceiling) - 1)], axis=1),
        }
    )


def _controls(spaces: Spaces, maps: Maps, settings: Transfer) -> dict:
    """The same fit, not limited in rank, of what replaces the explained space: a linear map of the unseen one; what no map follows."""
    generator, features = np.random.default_rng([settings.seed, 2]), spaces.explained.shape[1]
    # One after the other: each target is as large as the explained space.
    linear = mapping.known_linear(spaces.unseen, features, settings.control_noise, generator)
    of_linear = _control(linear, spaces, maps, settings)
    del linear
    nonlinear = mapping.not_linear(spaces.unseen, features, maps.prepared.components, generator)
    return {"control_linear": of_linear, "control_nonlinear": _control(nonlinear, spaces, maps, settings)}


def _control(target: np.ndarray, spaces: Spaces, maps: Maps, settings: Transfer) -> dict[str, float]:
    """Held-out R2 of a map that is fitted to `target`."""
    fitted = maps.prepared.fit(target).linear_map()
    return _estimate("median", _r_squared(target, spaces, maps.split.heldout, fitted), settings)


def _concept_metrics(compared: pd.DataFrame, settings: Transfer) -> dict:
    """Means over the carried groups."""
    columns = compared.drop(columns=["group", "members", "size"])
    agreement = {name: _estimate("mean", columns[name].to_numpy(), settings) for name in columns}
    return {"groups": len(compared), "agreement": agreement}


def _r_squared_table(spaces: Spaces, maps: Maps) -> pd.DataFrame:
    """Plot data: held-out R2 of each explained feature, best first."""
    (r_squared,) = _r_squared(spaces.explained, spaces, maps.split.heldout, maps.fitted)
    best_first = np.sort(np.nan_to_num(r_squared, nan=0.0))[::-1]
    return pd.DataFrame({"feature_by_rank": np.arange(1, len(best_first) + 1), "r2": best_first})


def _for_people(compared: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    return compared.assign(words=compared["group"].map(in_words(table)).fillna(""))
