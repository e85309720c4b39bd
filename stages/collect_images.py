"""List the images that can be read, and divide them into probe (explained) and test (held out) images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_json, write_table
from falcon_dvc.artifacts.summary import StageSummary

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


def run(params: Params) -> StageSummary:
    """Write ``data/images.parquet`` and its metrics."""
    table, skipped = _scenes(params) if params.data.source == "scenes" else _listed(params)
    write_table(paths.IMAGES, table[["image", "split", "label", "width", "height"]])
    split = table["split"].value_counts()
    counts = {
        "images": len(table),
        "probe": int(split.get("probe", 0)),
        "test": int(split.get("test", 0)),
        "skipped": skipped,
    }
    summary = StageSummary(
        read={"images": len(table) + skipped},
        dropped={"images": {"cannot be read": skipped}},
        wrote={f"rows to {paths.IMAGES}": len(table)},
    )
    write_json(paths.metrics("images"), {**counts, **summary.metrics})
    return summary


def _scenes(params: Params) -> tuple[pd.DataFrame, int]:
    """Read the synthetic data set, with its own splits and the object as the label."""
    table = read_table(f"{params.data.images}/attributes.parquet").rename(columns={"object": "label"})
    height, width = read_array(f"{params.data.images}/images.npy").shape[1:3]
    return table.assign(width=width, height=height), 0


def _listed(params: Params) -> tuple[pd.DataFrame, int]:
    """List the user's images, divided by their own splits, else by a seeded share."""
    from falcon_dvc.images.open import list_source

    listing = list_source(params.data)
    for name in listing.skipped:
        print(f"skipped {name}")
    if "split" in listing.table:
        return listing.table, len(listing.skipped)
    images = len(listing.table)
    held_out = np.random.default_rng(params.seed).permutation(images)[: round(params.data.heldout * images)]
    split = np.full(images, "probe", dtype=object)
    split[held_out] = "test"
    return listing.table.assign(split=split), len(listing.skipped)
