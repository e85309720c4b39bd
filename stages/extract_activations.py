"""One pass of an encoder over all images: features, and the activation maps that every heatmap is made of (steps 1 and 4)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.common import files
from stages.common.artifacts import read_table, write_array, write_json
from stages.common.errors import UserError
from stages.common.progress import track
from stages.models.device import best_device
from stages.models.encoders import Encoder, load_encoder
from stages.sources.image_sources import open_images
from stages.sources.images import ImageSource

if TYPE_CHECKING:
    from stages.common.params import Params


def run(params: Params, name: str) -> None:
    """Write ``features.npy``, ``maps.npy`` and ``fields.npy`` of the encoder `name`; of a network by name also ``encoder.json``.

    There is no ``maps.npy`` where heatmaps are not made of the features' own maps.
    """
    table = read_table(files.IMAGES)
    source = open_images(params.data, table)
    encoder = load_encoder(params.encoders[name], best_device(), f"encoders.{name}")
    fields = [encoder.field(width, height) for width, height in zip(table["width"], table["height"], strict=True)]
    folder = files.activations(name)
    for old in ("maps.npy", "encoder.json"):  # of another kind of encoder, if the stage is run by hand
        (folder / old).unlink(missing_ok=True)
    write_array(folder / "fields.npy", np.array(fields, dtype=np.int32))
    _describe(encoder, folder)
    write_array(
        folder / "features.npy",
        _extract(source, encoder, folder / "maps.npy", params.extract_activations.batch_size, name),
    )


def _describe(encoder: Encoder, folder: Path) -> None:
    """Say what was read from a network and from its checkpoint, where it is not all in params."""
    description = getattr(encoder, "description", None)
    if description is None:
        return
    write_json(folder / "encoder.json", description)
    if description["checkpoint"]:
        from stages.models.released_checkpoints import summary

        print(summary(description["checkpoint"]))


def _extract(source: ImageSource, encoder: Encoder, path: Path, batch_size: int, name: str) -> np.ndarray:
    """Stream the maps, if there are any, to disk and return the features; only one batch is ever in memory."""
    partial = path.with_name(".maps.partial.npy")
    features, maps = np.empty((len(source), encoder.width), dtype=np.float32), None
    for start in track(
        range(0, len(source), batch_size), f"activations of {name}", total=-(-len(source) // batch_size)
    ):
        rows = range(start, min(start + batch_size, len(source)))
        features[rows.start : rows.stop], batch = encoder.activations(source.load_many(rows))
        if not np.isfinite(features[rows.start : rows.stop]).all():
            raise UserError(
                f"encoders.{name}: its activations hold NaN or infinite values (images {rows.start}-{rows.stop - 1}); check the checkpoint"
            )
        if batch is None:
            continue
        if maps is None:
            maps = np.lib.format.open_memmap(
                partial, mode="w+", dtype=np.float16, shape=(len(source), *batch.shape[1:])
            )
        maps[rows.start : rows.stop] = batch
    if maps is not None:
        maps.flush()
        os.replace(partial, path)
    return features
