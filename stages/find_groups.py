"""Select highly activating, lowly activating and random images of features and of groups of features (steps 2, 3, 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from falcon_dvc import paths
from falcon_dvc.activations.stored import Rows, open_rows
from falcon_dvc.activations.write import write_rows
from falcon_dvc.artifacts.formats import read_table, write_array, write_json, write_table
from falcon_dvc.artifacts.shortfalls import FEW_IMAGES, of_features
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.errors import UserError
from falcon_dvc.groups.activations import (
    highly_activating,
)
from falcon_dvc.groups.choice import chosen_features
from falcon_dvc.groups.image_sets import compared_activations, compared_sparse, firing_thresholds, image_sets
from falcon_dvc.groups.search import explained_groups
from falcon_dvc.groups.sides import count_sides, with_sides
from falcon_dvc.groups.unexplained import unexplained
from falcon_dvc.models.bases.sides import has_both_signs

if TYPE_CHECKING:
    from falcon_dvc.params.schema import FindGroups, Params


class NothingFiresError(UserError):
    """No feature has enough highly activating images."""


def run(params: Params, name: str) -> StageSummary:
    """Write ``activations.npy``, ``groups.parquet``, ``sets.parquet`` and ``thresholds.npy`` of the encoder `name`.

    The activations are those of all images. The groups come from the probe images only.
    """
    settings = params.find_groups
    table = read_table(paths.IMAGES)
    probe = np.flatnonzero(table["split"] == "probe")
    features, choice = _features(name, len(table)), params.encoders[name].features
    chosen = chosen_features(choice, features.shape[1], name)
    if not len(probe):
        raise NothingFiresError(f"encoders.{name}: no image is explained, all are held out; lower data.heldout")
    activations = _compared(features, settings)
    explained = activations[probe].astype(np.float64)
    fires = highly_activating(
        explained, settings.rule, top_k=settings.top_k, quantile=settings.quantile, sigma=settings.sigma
    )
    groups, statistics, search = explained_groups(fires, settings, chosen)
    lacking = unexplained(explained, fires, chosen, search["single"], settings)
    if not len(groups):
        raise NothingFiresError(f"encoders.{name}: {_nothing(lacking)}")
    if has_both_signs(paths.basis(name)):
        statistics = with_sides(statistics, features.shape[1])
    sets = image_sets(explained, fires, groups, statistics["group"].to_numpy(), settings)
    sets["image"] = table["image"].to_numpy()[probe[sets.pop("row")]]
    write_rows(paths.groups(name) / "activations", activations)
    write_table(paths.groups(name) / "groups.parquet", statistics)
    write_table(paths.groups(name) / "sets.parquet", sets)
    write_array(paths.groups(name) / "thresholds.npy", firing_thresholds(explained, fires))
    summary = _summary(name, fires.shape, len(chosen), search | lacking, len(groups), len(sets), settings)
    metrics = {"chosen_features": len(chosen), "features_of_the_encoder": fires.shape[1]} if choice else {}
    write_json(
        paths.metrics(f"search_{name}"), {**metrics, **count_sides(statistics), **search, **lacking, **summary.metrics}
    )
    return summary


def _summary(
    name: str, fires: tuple[int, int], chosen: int, search: dict, groups: int, rows: int, settings: FindGroups
) -> StageSummary:
    """Summarise the stage.

    Sets that are left out are no input, so they are only noted. The metrics hold the reasons.
    """
    images, features = fires
    sets = [counts for size, counts in search.items() if size.startswith("of_")]
    left = sum(counts["significant"] - counts["explained"] for counts in sets)
    few = f"with fewer than {settings.min_images} highly activating images (find_groups.min_images)"
    return StageSummary(
        read={"probe images": images, "features": chosen},
        dropped={"features": {few: chosen - search["single"]}},
        noted={
            f"features that encoders.{name}.features does not choose": features - chosen,
            "significant sets of features that are left out": left,
        },
        wrote={f"groups to {paths.groups(name)}": groups, f"rows of images to {paths.groups(name)}": rows},
        lacking=of_features(search),
    )


def _nothing(lacking: dict) -> str:
    """Say why no feature is explained."""
    counts = lacking["not_explained"]
    if counts["images"] < counts["least_images"]:
        return (
            f"only {counts['images']} of the images can explain features, fewer than find_groups.min_images "
            f"({counts['least_images']}); add images to data.images, or lower find_groups.min_images or data.heldout"
        )
    if counts["constant"] < counts["features"]:
        more = ["add images to data.images"] if counts["images"] < FEW_IMAGES else []
        return "; ".join([*of_features(lacking), *more])
    if counts["features"] == 1:
        return "its only feature has the same value on every image (find_groups.normalise); choose a layer with more features"
    return (
        f"all {counts['features']} features are constant on the {counts['images']} explained images, so none can be explained; "
        "check that the images in data.images differ, and that the layer has an output"
    )


def _compared(features: Rows, settings: FindGroups) -> np.ndarray | sparse.csr_array:
    """Compute the activations by which images are ranked; sparse, if the features are."""
    if features.sparse:
        return compared_sparse(features.rows, features.shape, settings.normalise)
    return compared_activations(features.rows(slice(None)), settings.normalise)


def _features(name: str, images: int) -> Rows:
    """Read the features of all images.

    Raises
    ------
    UserError
        If the file holds no features, or features of other images.
    """
    path = paths.activations(name) / "features"
    features = open_rows(path, images, paths.IMAGES)
    if not features.shape[1]:
        raise UserError(f"{path}.npy: holds no feature; run `dvc repro` to make it again")
    return features
