"""Compute the features of copies of an encoder with random weights on the held-out images, for `measure_faithfulness`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import allocated, finished, read_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.device import all_devices
from falcon_dvc.images.open import open_images
from falcon_dvc.models.encoders.load import Encoder, load_encoder
from falcon_dvc.models.encoders.passes import check_finite, few_values, measured_activations
from falcon_dvc.models.encoders.random_weights import NoRandomCopyError, random_copy
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params

FIRST_SEED = 1_000_000  # of the copies, far from the seeds of controls


def run(params: Params, name: str) -> StageSummary:
    """Write the features of each copy: float32 (copies, held-out images, features).

    The file holds no copy for a control, which shares the copies of its encoder, and for an encoder that cannot be copied.
    """
    table = read_table(paths.IMAGES)
    heldout = table[table["split"] == "test"].reset_index(drop=True)
    shared = bool(params.encoders[name].control_of)
    copies = 0 if shared or heldout.empty else params.measure_faithfulness.reference_encoders
    remarks = _write(params, name, heldout, copies)
    return StageSummary(
        read={"held-out images": len(heldout)},
        lacking=remarks,
        wrote={f"file of {0 if remarks else copies} copies with random weights, {paths.references(name)}": 1},
    )


def _write(params: Params, name: str, heldout: pd.DataFrame, copies: int) -> list[str]:
    """Write the features of the copies as they are computed; none, and a remark, if the encoder cannot be copied."""
    path, remarks = paths.references(name), []
    try:
        width = _replicas(params, name, 0, all_devices(params.device)[:1])[0].width if copies else 0
    except NoRandomCopyError as error:
        copies, width, remarks = 0, 0, [f"no verdict can be calibrated: {error}"]
    with finished(path) as partial:
        features = allocated(partial, (copies, len(heldout), width), np.float32)
        for number in range(copies):
            _fill(features[number], params, name, heldout, number)
    return remarks


def _fill(features: np.ndarray, params: Params, name: str, heldout: pd.DataFrame, number: int) -> None:
    """Compute the features of one copy on the held-out images, a batch at a time."""
    settings, param = params.extract_activations, f"encoders.{name}"
    starts = range(0, len(heldout), settings.batch_size)
    batches = [range(start, min(start + settings.batch_size, len(heldout))) for start in starts]
    replicas = _replicas(params, name, number, all_devices(params.device))
    source = open_images(params.data, heldout)
    sparse = few_values(params.encoders[name], source, replicas[0], settings.precision)
    passes = measured_activations(source, replicas, batches, settings.precision, sparse)
    with closing(track(passes, f"random copy {number + 1} of {name}", total=len(batches))) as tracked:
        for rows, found, *_ in tracked:
            check_finite(found, rows, settings.precision, param)
            features[rows.start : rows.stop] = found.toarray() if sparse else found


def _replicas(params: Params, name: str, number: int, devices: Sequence[str]) -> list[Encoder]:
    """Load a copy of the encoder on each device."""
    copy = random_copy(params.encoders[name], FIRST_SEED + number)
    return [load_encoder(copy, device, f"encoders.{name}", paths.basis(name)) for device in devices]
