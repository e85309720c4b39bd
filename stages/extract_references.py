"""Compute the features of copies of an encoder with random weights on the held-out images, for `measure_faithfulness`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import allocated, finished, read_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.compute.device import all_devices
from falcon_dvc.compute.executor import Executor, Local, PerProcess
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.images.open import open_images
from falcon_dvc.images.source import ImageSource
from falcon_dvc.models.encoders.load import Encoder, load_encoder
from falcon_dvc.models.encoders.passes import check_finite, few_values
from falcon_dvc.models.encoders.random_weights import NoRandomCopyError, random_copy
from falcon_dvc.models.encoders.shards import passes
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Data, EncoderSpec, Params

STAGE = "extract_references"
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
        width = _replicas(params.encoders[name], name, 0, params.device)[0].width if copies else 0
    except NoRandomCopyError as error:
        copies, width, remarks = 0, 0, [f"no verdict can be calibrated: {error}"]
    opened = executor_of(params, STAGE) if copies else nullcontext(Local(STAGE))  # no cluster starts for nothing
    with finished(path) as partial, opened as executor:
        features = allocated(partial, (copies, len(heldout), width), np.float32)
        for number in range(copies):
            _fill(features[number], params, name, heldout, number, executor)
    return remarks


def _fill(
    features: np.ndarray, params: Params, name: str, heldout: pd.DataFrame, number: int, executor: Executor
) -> None:
    """Compute the features of one copy on the held-out images, a batch at a time."""
    settings = params.extract_activations
    starts = range(0, len(heldout), settings.batch_size)
    batches = [range(start, min(start + settings.batch_size, len(heldout))) for start in starts]
    opened = PerProcess(_opened, params.data, heldout, params.encoders[name], name, number, params.device)
    source, replicas = opened()
    sparse = few_values(params.encoders[name], source, replicas[0], settings.precision)
    computed = passes(opened, batches, settings.precision, sparse, executor, maps=False)
    with closing(track(computed, f"random copy {number + 1} of {name}", total=len(batches))) as tracked:
        for rows, (found, *_) in zip(batches, tracked, strict=True):
            check_finite(found, rows, settings.precision, f"encoders.{name}")
            features[rows.start : rows.stop] = found.toarray() if sparse else found


def _opened(
    data: Data, heldout: pd.DataFrame, spec: EncoderSpec, name: str, number: int, asked: str
) -> tuple[ImageSource, Sequence[Encoder]]:
    """Open the held-out images and load a copy of the encoder on each device, in any process."""
    return open_images(data, heldout), _replicas(spec, name, number, asked)


def _replicas(spec: EncoderSpec, name: str, number: int, asked: str) -> list[Encoder]:
    """Load a copy of the encoder on each device."""
    copy = random_copy(spec, FIRST_SEED + number)
    return [load_encoder(copy, device, f"encoders.{name}", paths.basis(name)) for device in all_devices(asked)]
