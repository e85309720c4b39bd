"""Compute the features of copies of an encoder with random weights on the held-out images, for `measure_faithfulness`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_array
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.device import all_devices
from falcon_dvc.errors import UserError
from falcon_dvc.images.open import open_images
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.encoders.passes import activations
from falcon_dvc.models.encoders.random_weights import random_copy
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
    spec, copies = params.encoders[name], params.measure_faithfulness.reference_encoders
    wanted = 0 if spec.control_of or heldout.empty else copies
    features, remarks = _features(params, name, heldout, wanted)
    write_array(paths.references(name), features)
    return StageSummary(
        read={"held-out images": len(heldout)},
        lacking=remarks,
        wrote={f"copies with random weights to {paths.references(name)}": len(features)},
    )


def _features(params: Params, name: str, heldout: pd.DataFrame, copies: int) -> tuple[np.ndarray, list[str]]:
    """Compute the features of the copies; none, and a remark, if the encoder cannot be copied."""
    try:
        found = [_of_copy(params, name, heldout, number) for number in range(copies)]
    except UserError as error:
        if "random weights" not in str(error):
            raise
        return np.zeros((0, len(heldout), 0), dtype=np.float32), [f"no verdict can be calibrated: {error}"]
    return np.stack(found) if found else np.zeros((0, len(heldout), 0), dtype=np.float32), []


def _of_copy(params: Params, name: str, heldout: pd.DataFrame, number: int) -> np.ndarray:
    """Compute the features of one copy on the held-out images: (images, features)."""
    copy = random_copy(params.encoders[name], FIRST_SEED + number)
    replicas: list[Any] = [load_encoder(copy, device, f"encoders.{name}") for device in all_devices(params.device)]
    settings = params.extract_activations
    starts = range(0, len(heldout), settings.batch_size)
    batches = [range(start, min(start + settings.batch_size, len(heldout))) for start in starts]
    features = np.empty((len(heldout), replicas[0].width), dtype=np.float32)
    passes = activations(open_images(params.data, heldout), replicas, batches, settings.precision)
    with closing(track(passes, f"random copy {number + 1} of {name}", total=len(batches))) as tracked:
        for rows, found, _ in tracked:
            features[rows.start : rows.stop] = found
    return features
