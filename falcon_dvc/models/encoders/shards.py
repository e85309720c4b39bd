"""Run an encoder over images in this process, or batch by batch on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from falcon_dvc.compute.executor import Executor, PerProcess, Task
from falcon_dvc.models.encoders.passes import measured_activations

if TYPE_CHECKING:
    from falcon_dvc.images.source import ImageSource
    from falcon_dvc.models.encoders.load import Encoder

    Opened = PerProcess[tuple[ImageSource, Sequence[Encoder]]]

Pass = tuple[Any, Any, np.ndarray | None]  # features, maps and sums of a batch


def passes(
    opened: Opened, batches: list[range], precision: str, as_values: bool, executor: Executor, maps: bool = True
) -> Iterator[Pass]:
    """Yield features, maps and sums of each batch, in order (see `measured_activations`).

    In this process all batches run in one pass. Elsewhere each batch is a task.

    Parameters
    ----------
    opened
        The images, and the encoder once for each device.
    batches
        Rows of the images of each batch.
    maps
        Whether maps are wanted. If not, a cluster does not send them.
    """
    if executor.distributed:
        tasks = (Task(f"images {rows.start}-{rows.stop - 1}", (rows, precision, as_values, maps)) for rows in batches)
        yield from executor.map(_pass, tasks, opened, accelerated=True)
        return
    source, replicas = opened()
    for _, features, found, sums in measured_activations(source, replicas, batches, precision, as_values):
        yield features, found, sums


def _pass(opened: Opened, rows: range, precision: str, as_values: bool, maps: bool) -> Pass:
    """Compute one batch in a worker."""
    source, replicas = opened()
    ((_, features, found, sums),) = measured_activations(source, replicas, [rows], precision, as_values)
    if not maps:
        return features, None, sums
    # In the type that is written, which halves the transfer.
    return features, found.astype(np.float16) if isinstance(found, np.ndarray) else found, sums
