"""Fit, read or draw the basis of an encoder's features: components of the probe images' activations, a file, or random directions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_bytes
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.device import all_devices
from falcon_dvc.errors import UserError
from falcon_dvc.images.open import open_images
from falcon_dvc.models.encoders.load import Encoder, load_encoder
from falcon_dvc.models.encoders.passes import activations, check_finite
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Basis, Params

NOTHING = {"basis": "null"}  # content of the file of an encoder without a basis


def run(params: Params, name: str) -> StageSummary:
    """Write ``data/bases/NAME.safetensors``. It holds nothing if the encoder's features are the channels of its layer.

    Raises
    ------
    UserError
        If a file does not fit the layer, or components cannot be fitted.
    """
    spec, path = params.encoders[name].basis, paths.basis(name)
    if spec is None:
        write_bytes(path, save({}, NOTHING))
        return StageSummary(read={}, wrote={f"file without a basis, {path}": 1})
    from falcon_dvc.models.bases.prepare import basis_without_fit, signed
    from falcon_dvc.models.bases.stored import save_basis

    param = f"encoders.{name}.basis"
    replicas = [
        load_encoder(_in_channels(params, name), device, f"encoders.{name}") for device in all_devices(params.device)
    ]
    read = {}
    if spec.fit is None:
        basis = basis_without_fit(spec, replicas[0].width, param)
    else:
        from falcon_dvc.models.bases.fit import fit_basis

        assert spec.components is not None, "the schema asks for it"
        vectors = _vectors(params, name, replicas, spec)
        read = {"vectors": len(vectors)}
        basis = signed(fit_basis(vectors, spec.fit, spec.components, spec.seed, param), spec, param)
    save_basis(path, replace(basis, description={"channels": replicas[0].width, **basis.description}))
    remarks = [f"{param}: {remark}" for remark in basis.description.get("remarks", [])]
    return StageSummary(read=read, lacking=remarks, wrote={f"features to {path}": basis.width})


def _in_channels(params: Params, name: str) -> Any:
    """Return the entry of the encoder whose features are the channels, and whose maps are those of the features."""
    spec = params.encoders[name]
    changes = {key: None for key in ("basis", "heatmap_layer") if hasattr(spec, key)}
    return spec.model_copy(update=changes)


def _vectors(params: Params, name: str, replicas: list[Encoder], spec: Basis) -> np.ndarray:
    """Collect activations of the probe images, at most as many as params say: float32 (vectors, channels)."""
    table = read_table(paths.IMAGES)
    probe = np.flatnonzero(table["split"] == "probe")
    if not len(probe):
        raise UserError(f"encoders.{name}.basis: no image is a probe image to fit to; lower data.heldout")
    generator = np.random.default_rng(spec.seed)
    if len(probe) > spec.vectors:
        probe = np.sort(generator.choice(probe, spec.vectors, replace=False))
    from falcon_dvc.models.bases.fit import drawn_positions

    most = spec.vectors // len(probe)
    parts = [drawn_positions(vectors, most, generator) for vectors in _of_images(params, name, replicas, probe)]
    return np.concatenate(parts)


def _of_images(params: Params, name: str, replicas: list[Encoder], rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the vectors of each batch of images that the basis applies to: (images, positions, channels)."""
    from falcon_dvc.models.bases.fit import positions_of

    settings, param = params.extract_activations, f"encoders.{name}"
    images = read_table(paths.IMAGES).iloc[rows].reset_index(drop=True)
    starts = range(0, len(rows), settings.batch_size)
    batches = [range(start, min(start + settings.batch_size, len(rows))) for start in starts]
    passes = activations(open_images(params.data, images), replicas, batches, settings.precision)
    with closing(track(passes, f"activations of {name} for its basis", total=len(batches))) as tracked:
        for batch, features, maps in tracked:
            check_finite(features, batch, settings.precision, param)
            yield positions_of(features, maps)
