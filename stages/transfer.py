"""Transfer the concepts of an explained space to an unseen one by a linear map (claim C5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.resume import Resumable, resumable
from falcon_dvc.concepts.words.listing import in_words, listed_words
from falcon_dvc.members import membership
from falcon_dvc.transfer import maps as mapping
from falcon_dvc.transfer.agreement import nearest_feature, same_first, shared, top_images
from falcon_dvc.transfer.carry import explain_through_maps, found_images
from falcon_dvc.transfer.fit import (
    control_metrics,
    curve_by_images,
    curve_by_rank,
    estimate,
    fit_metrics,
    r_squared,
    r_squared_plot,
)
from falcon_dvc.transfer.spaces import Maps, Spaces, fit_maps

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Pair, Params, Transfer


def run(params: Params, pair: str) -> StageSummary:
    """Write the metrics, the tables and the plot data of one ordered pair of spaces."""
    names, settings = params.transfers[pair], params.transfer
    spaces = _read(names.explained, names.unseen)
    maps = fit_maps(spaces, settings)
    with resumable(f"transfer-{pair}") as work:
        compared, concepts, pictures = _transferred(params, names, spaces, maps, work)
    by_images = curve_by_images(spaces, maps, settings)
    by_rank, dimensions = curve_by_rank(spaces, maps, settings)
    write_table(paths.transfers(pair), pictures)
    write_table(paths.table(f"transfer_{pair}"), _for_people(compared, concepts))
    write_table(paths.plot(f"transfer_{pair}"), r_squared_plot(spaces, maps))
    write_table(paths.plot(f"transfer_{pair}_images"), by_images)
    write_table(paths.plot(f"transfer_{pair}_rank"), by_rank)
    metrics = fit_metrics(spaces, maps, settings) | dimensions | control_metrics(spaces, maps, settings)
    summary = _summary(pair, spaces, maps, len(pictures))
    write_json(paths.metrics(f"transfer_{pair}"), metrics | _concept_metrics(compared, settings) | summary.metrics)
    return summary


def _summary(pair: str, spaces: Spaces, maps: Maps, rows: int) -> StageSummary:
    """Summarise the stage.

    A feature that is constant on the held-out images has no R2, so every mean leaves it out.
    """
    (values,) = r_squared(spaces.explained, spaces, maps.split.heldout, maps.fitted)
    return StageSummary(
        read={"probe images": len(spaces.rows), "features": len(values), "groups": len(spaces.groups)},
        dropped={"features": {"constant on the held-out images": int(np.isnan(values).sum())}},
        wrote={f"rows to {paths.transfers(pair)}": rows},
    )


def _read(explained: str, unseen: str) -> Spaces:
    images = read_table(paths.IMAGES)
    rows = np.flatnonzero(images["split"] == "probe")
    own, other = (
        open_rows(paths.activations(name) / "features").rows(rows).astype(np.float64) for name in (explained, unseen)
    )
    groups = read_table(paths.groups(explained) / "groups.parquet")
    members = membership(groups["members"], own.shape[1]).toarray()
    return Spaces(
        images.iloc[rows].reset_index(drop=True), rows, own, other, groups, members / members.sum(axis=1, keepdims=True)
    )


def _transferred(params: Params, names: Pair, spaces: Spaces, maps: Maps, work: Resumable) -> tuple[pd.DataFrame, ...]:
    """Compare the images and concepts found through the map with the explained space's own.

    The concepts and images found are returned too. All null maps find images, but only one finds concepts. Each such
    map needs as many embeddings of crops as the map itself.
    """
    heldout, count = maps.split.heldout, params.transfer.top_images
    tops, *null_tops = (
        top_images(spaces.members @ linear_map(spaces.unseen[heldout]).T, count)
        for linear_map in (maps.fitted, *maps.nulls)
    )
    pairs = [(maps.fitted, tops), (maps.nulls[0], null_tops[0])]
    tables, boxes = explain_through_maps(params, names.unseen, spaces, maps.split, pairs, work)
    actual = top_images(spaces.members @ spaces.explained[heldout].T, count)
    compared = spaces.groups[["group", "members", "size"]].assign(
        image_overlap=mapping.overlap(actual, tops),
        image_overlap_null=np.mean([mapping.overlap(actual, images) for images in null_tops], axis=0),
        **_agreement(params, names, spaces, maps, tables),
    )
    return compared, tables[0], found_images(spaces, heldout, tops, actual, boxes[0])


def _agreement(
    params: Params, names: Pair, spaces: Spaces, maps: Maps, tables: list[pd.DataFrame]
) -> dict[str, list[float]]:
    """Compare concepts found through the map and through a null map with two other sets of concepts.

    These are the concepts of the explained space, and those of the nearest feature of the unseen space.
    """
    top, groups = params.concepts.top, spaces.groups["group"]
    own = _words(read_table(paths.concepts(names.explained) / "concepts.parquet"), groups, top)
    nearest = nearest_feature(spaces, maps, _explained_features(names.unseen))
    direct = _words(read_table(paths.concepts(names.unseen) / "concepts.parquet"), nearest, top)
    transferred, null = (_words(table, groups, top) for table in tables)
    return {
        "concept_overlap": shared(own, transferred),
        "concept_overlap_null": shared(own, null),
        "concept_overlap_direct": shared(direct, transferred),
        "concept_overlap_direct_null": shared(direct, null),
        "same_first": same_first(own, transferred),
        "same_first_null": same_first(own, null),
    }


def _explained_features(encoder: str) -> np.ndarray:
    """Read the numbers of the features that are explained alone."""
    groups = read_table(paths.groups(encoder) / "groups.parquet")
    return groups.loc[groups["size"] == 1, "members"].astype(int).to_numpy()


def _words(table: pd.DataFrame, groups: pd.Series, top: int) -> list[list[str]]:
    """Return the kept words of each group named, by rank."""
    words = listed_words(table, top)
    return [words.get(group, []) for group in groups]


def _concept_metrics(compared: pd.DataFrame, settings: Transfer) -> dict:
    """Compute means over the transferred groups."""
    columns = compared.drop(columns=["group", "members", "size"])
    agreement = {name: estimate("mean", columns[name].to_numpy(), settings) for name in columns}
    return {"groups": len(compared), "agreement": agreement}


def _for_people(compared: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    return compared.assign(words=compared["group"].map(in_words(table)).fillna(""))
