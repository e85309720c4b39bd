"""List the images that can be read, and divide them into probe (explained) and test (held out) images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_json, write_table
from falcon_dvc.artifacts.shortfalls import of_images
from falcon_dvc.artifacts.summary import StageSummary

if TYPE_CHECKING:
    from falcon_dvc.images.listing import Listing
    from falcon_dvc.params.schema import Params

OTHER_FORMATS = "of formats that are not read"


def run(params: Params) -> StageSummary:
    """Write ``data/images.parquet`` and its metrics."""
    table, dropped, contents = _scenes(params) if params.data.source == "scenes" else _listed(params)
    skipped = sum(dropped["images"].values())
    write_table(paths.IMAGES, table[["image", "split", "label", "width", "height"]])
    split = table["split"].value_counts()
    counts = {
        "images": len(table),
        "probe": int(split.get("probe", 0)),
        "test": int(split.get("test", 0)),
        "skipped": skipped,
        **{name: count for name, count in contents.items() if count},
    }
    summary = StageSummary(
        read={what: sum(reasons.values()) for what, reasons in dropped.items()} | {"images": len(table) + skipped},
        dropped=dropped,
        wrote={f"rows to {paths.IMAGES}": len(table)},
        lacking=of_images(counts),
    )
    write_json(paths.metrics("images"), {**counts, **summary.metrics})
    return summary


def _scenes(params: Params) -> tuple[pd.DataFrame, dict[str, dict[str, int]], dict[str, int]]:
    """Read the synthetic data set, with its own splits and the object as the label."""
    table = read_table(f"{params.data.images}/attributes.parquet").rename(columns={"object": "label"})
    height, width = read_array(f"{params.data.images}/images.npy").shape[1:3]
    return table.assign(width=width, height=height), {"images": {}}, {}


def _listed(params: Params) -> tuple[pd.DataFrame, dict[str, dict[str, int]], dict[str, int]]:
    """List the user's images, divided by their own splits, else by a seeded share; count those left out and what is unusual."""
    from falcon_dvc.images.open import list_source
    from falcon_dvc.images.passed_over import count

    listing = list_source(params.data)
    _print_left_out(listing)
    dropped = {"images": {"cannot be read": len(listing.skipped), OTHER_FORMATS: count(listing.passed_over)}}
    if listing.unopened:
        dropped["other files with images"] = {OTHER_FORMATS: count(listing.unopened)}
    contents = {
        "identical": listing.identical,
        "grey": listing.grey,
        "of_one_class": _of_one_class(listing.table["label"]),
    }
    if "split" in listing.table:
        return listing.table, dropped, contents
    images = len(listing.table)
    held_out = np.random.default_rng(params.seed).permutation(images)[: round(params.data.heldout * images)]
    split = np.full(images, "probe", dtype=object)
    split[held_out] = "test"
    return listing.table.assign(split=split), dropped, contents


def _print_left_out(listing: Listing) -> None:
    """Name what is left out, and why, and what lies beside the images."""
    from falcon_dvc.images.passed_over import lines

    for line in [*listing.skipped, *lines(listing.passed_over), *lines(listing.unopened)]:
        print(f"skipped {line}")
    for line in lines(listing.beside):
        print(f"note: {line}")


def _of_one_class(labels: pd.Series) -> int:
    """Return 1 if all images have the same label, else 0."""
    return int(len(labels) > 1 and labels.nunique() == 1 and labels.iloc[0] != "")
