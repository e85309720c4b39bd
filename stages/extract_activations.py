"""One pass of an encoder over all images: features, and the activation maps that every heatmap is made of (steps 1 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.common import files
from stages.common.account import Account
from stages.common.artifacts import read_table, write_array, write_json
from stages.common.errors import UserError
from stages.common.progress import track
from stages.common.unfinished import Part, unfinished
from stages.models.device import all_devices
from stages.models.encoders import Encoder, load_encoder
from stages.models.passes import activations
from stages.sources.image_sources import open_images, which_images
from stages.sources.images import ImageSource

if TYPE_CHECKING:
    from stages.common.params import ExtractActivations, Params


def run(params: Params, name: str) -> Account:
    """Write ``features.npy``, ``maps.npy`` and ``fields.npy`` of the encoder `name`; of a network by name also ``encoder.json``.

    There is no ``maps.npy`` where heatmaps are not made of the features' own maps.
    """
    table = read_table(files.IMAGES)
    source = open_images(params.data, table)
    replicas = [load_encoder(params.encoders[name], device, f"encoders.{name}") for device in all_devices()]
    encoder = replicas[0]
    fields = [encoder.field(width, height) for width, height in zip(table["width"], table["height"], strict=True)]
    folder = files.activations(name)
    for old in ("maps.npy", "encoder.json"):  # of another kind of encoder, if the stage is run by hand
        (folder / old).unlink(missing_ok=True)
    write_array(folder / "fields.npy", np.array(fields, dtype=np.int32))
    _describe(encoder, folder)
    made_of = {
        "images": which_images(params.data),
        "encoder": params.encoders[name].model_dump(mode="json"),
        **params.extract_activations.model_dump(mode="json"),
    }
    with unfinished(f"extract_activations-{name}") as work:
        images = work.part("images", made_of, [files.IMAGES])
        _extract(source, replicas, images, params.extract_activations, name)
        for array in images.arrays:
            images.give(array, folder / array)
    return Account(read={"images": len(source)}, wrote={f"rows of {encoder.width} features to {folder}": len(source)})


def _describe(encoder: Encoder, folder: Path) -> None:
    """Say what was read from a network and from its checkpoint, where it is not all in params."""
    description = getattr(encoder, "description", None)
    if description is None:
        return
    write_json(folder / "encoder.json", description)
    if description["checkpoint"]:
        from stages.models.released_checkpoints import summary

        print(summary(description["checkpoint"]))


def _extract(
    source: ImageSource, replicas: Sequence[Encoder], work: Part, settings: ExtractActivations, name: str
) -> None:
    """Stream features, and the maps if there are any, to disk; only a few batches are ever in memory."""
    features = work.array("features.npy", (len(source), replicas[0].width), np.float32)
    starts = range(work.finished, len(source), settings.batch_size)
    batches = [range(start, min(start + settings.batch_size, len(source))) for start in starts]
    found = activations(source, replicas, batches, settings.precision)
    with closing(track(found, f"activations of {name}", total=len(batches))) as tracked:
        for rows, some, maps in tracked:
            _check_finite(some, rows, settings.precision, name)
            features[rows.start : rows.stop] = some
            if maps is not None:
                work.array("maps.npy", (len(source), *maps.shape[1:]), np.float16)[rows.start : rows.stop] = maps
            work.note(rows.stop)


def _check_finite(features: np.ndarray, rows: range, precision: str, name: str) -> None:
    if not np.isfinite(features).all():
        fix = "check the checkpoint" if precision == "float32" else "set extract_activations.precision to float32"
        raise UserError(
            f"encoders.{name}: its activations hold NaN or infinite values (images {rows.start}-{rows.stop - 1}); {fix}"
        )
