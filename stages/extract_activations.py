"""Compute features and activation maps of all images in one pass of an encoder (steps 1 and 4)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from falcon_dvc import paths
from falcon_dvc.activations.write import fires, write_batch
from falcon_dvc.artifacts.formats import read_table, write_array, write_json
from falcon_dvc.artifacts.shortfalls import of_activations
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.device import all_devices
from falcon_dvc.compute.executor import Executor, PerProcess
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.compute.resume import Checkpoint, resumable
from falcon_dvc.errors import UserError
from falcon_dvc.images.open import open_images, which_images
from falcon_dvc.images.source import ImageSource
from falcon_dvc.models.encoders.heads import read_head
from falcon_dvc.models.encoders.load import Encoder, load_encoder
from falcon_dvc.models.encoders.passes import check_finite, few_values
from falcon_dvc.models.encoders.shards import passes
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Data, EncoderSpec, Params


def run(params: Params, name: str) -> StageSummary:
    """Write ``features.npy``, ``maps.npy`` and ``fields.npy`` of the encoder `name`.

    A network given by name also gets ``encoder.json``. ``maps.npy`` is left out if heatmaps do not depend on the
    features' own maps. The metrics count the features that are 0 on all probe images. With a basis, they hold the share of
    the variance of the activations that it explains.
    """
    table = read_table(paths.IMAGES)
    opened = PerProcess(_opened, params.data, params.encoders[name], name, params.device)
    source, (encoder, *_) = opened()
    if encoder.width < 2:
        raise UserError(
            f"encoders.{name}: gives one feature; the features of an image are compared with each other, so choose a layer "
            f"with at least two (encoders.{name}.layer)"
        )
    _check_head(params.encoders[name], encoder.width, f"encoders.{name}")
    fields = [encoder.field(width, height) for width, height in zip(table["width"], table["height"], strict=True)]
    folder = paths.activations(name)
    shutil.rmtree(folder, ignore_errors=True)  # files of another kind of encoder, if a user runs the stage directly
    write_array(folder / "fields.npy", np.array(fields, dtype=np.int32))
    unused = _describe(encoder, folder, params.encoders[name].head)
    depends_on = {
        "images": which_images(params.data),
        "encoder": params.encoders[name].model_dump(mode="json", exclude={"features", "control_of"}),
        **params.extract_activations.model_dump(mode="json"),
    }
    with executor_of(params, "extract_activations") as executor, resumable(f"extract_activations-{name}") as work:
        images = work.checkpoint("images", depends_on, [paths.IMAGES, paths.basis(name)])
        probe = (table["split"] == "probe").to_numpy()
        found = _extract(opened, images, params, name, executor, probe)
        for array in images.arrays:
            images.move(array, folder / array)
    metrics = _metrics(found, encoder.width, paths.basis(name))
    write_json(paths.metrics(f"activations_{name}"), metrics)
    return StageSummary(
        read={"images": len(source)},
        noted=unused,
        lacking=of_activations(metrics, name),
        wrote={f"rows of {encoder.width} features to {folder}": len(source)},
    )


def _metrics(found: dict[str, np.ndarray], features: int, basis: Path) -> dict[str, Any]:
    """Count the features that never fire; measure what the basis explains."""
    never = {"features": features, "never_fire": features - int(found["fires"].sum())}
    if "sums" not in found:
        return never
    from falcon_dvc.models.bases.explained_variance import explained_variance
    from falcon_dvc.models.bases.stored import read_stored_basis

    share = explained_variance(found["sums"], read_stored_basis(basis).centred)
    return never if share is None else {**never, "explained_variance": share}


def _check_head(spec: EncoderSpec, features: int, param: str) -> None:
    """Refuse a head that does not fit the features, before any work."""
    if spec.head is not None:
        read_head(spec.head, features, spec.named, param)


def _describe(encoder: Encoder, folder: Path, head: str | None) -> dict[str, int]:
    """Write what was read from a network and its checkpoint, as far as params do not say it; count unused outputs."""
    description = getattr(encoder, "description", None)
    if description is None:
        return {}
    write_json(folder / "encoder.json", description, exact=True)
    for remark in description["remarks"]:
        print(f"encoders.{folder.name}: {remark}")
    if description["checkpoint"]:
        from falcon_dvc.models.encoders.released_checkpoints import summary

        print(summary(description["checkpoint"]))
    own = description["classifier"]
    if head is not None or own is None or own["unused"] is None:
        return {}
    line = f"outputs of the classifier not used: {own['unused']}"
    print(f"{folder.name}: {own['outputs']} {line}")
    return {line: own["outputs"]}


def _opened(data: Data, spec: EncoderSpec, name: str, asked: str) -> tuple[ImageSource, Sequence[Encoder]]:
    """Open the images and load the encoder on each device, in any process."""
    param, basis = f"encoders.{name}", paths.basis(name)
    replicas = [load_encoder(spec, device, param, basis) for device in all_devices(asked)]
    return open_images(data, read_table(paths.IMAGES)), replicas


def _extract(
    opened: PerProcess, work: Checkpoint, params: Params, name: str, executor: Executor, probe: np.ndarray
) -> dict[str, np.ndarray]:
    """Write features, and maps if there are any, to disk; only a few batches are in memory.

    Returns
    -------
    dict of str to array
        Of the probe images: which features are ever not 0 (`fires`), and what the explained variance needs (`sums`).
    """
    (source, (encoder, *_)), settings = opened(), params.extract_activations
    found = work.saved or {"fires": np.zeros(encoder.width, dtype=bool)}
    sparse = few_values(params.encoders[name], source, encoder, settings.precision)
    starts = range(work.finished, len(source), settings.batch_size)
    batches = [range(start, min(start + settings.batch_size, len(source))) for start in starts]
    computed = passes(opened, batches, settings.precision, sparse, executor)
    with closing(track(computed, f"activations of {name}", total=len(batches))) as tracked:
        for rows, (features, maps, sums) in zip(batches, tracked, strict=True):
            check_finite(features, rows, settings.precision, f"encoders.{name}")
            write_batch(work, len(source), rows, features, maps)
            own = probe[rows.start : rows.stop]
            found = {**found, "fires": found["fires"] | fires(features[own])}
            if sums is not None:
                found["sums"] = found.get("sums", 0) + sums[own].sum(axis=0)
            work.save(rows.stop, at_once=False, **found)
    return found
