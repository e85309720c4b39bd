"""Passes of a network over many pictures: while it computes, threads decode and prepare the batches that come next.

What comes out depends neither on the number of threads nor on how far they are ahead: batches hold the same pictures, in the same
order, as if they were made one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from falcon_dvc.compute.device import computing_in
from falcon_dvc.compute.prefetch import AHEAD, collated, prefetched, round_robin
from falcon_dvc.threads import WORKERS

if TYPE_CHECKING:
    from torch import Tensor

    from falcon_dvc.images.source import ImageSource
    from falcon_dvc.models.encoders.load import Encoder, Features, Maps


def activations(
    source: ImageSource, replicas: Sequence[Encoder], batches: Iterable[range], precision: str = "float32"
) -> Iterator[tuple[range, Features, Maps | None]]:
    """Run an encoder over images, once for features and maps of all its layers.

    Parameters
    ----------
    source
        Where the images are.
    replicas
        The encoder, once for each device; they take the batches in turn.
    batches
        Rows of the images of each batch.
    precision : {"float32", "bfloat16", "float16"}
        What the network computes in; the results are float32.

    Yields
    ------
    rows, features, maps
        Of each batch in its order; maps are None where heatmaps cannot be made of them.

    Raises
    ------
    UserError
        If an image has gone or changed, when its batch is asked for.
    """
    networks = [_reading(replica, precision) for replica in replicas]
    with closing(prepared(source, replicas[0], batches, AHEAD * len(replicas))) as ready:
        for rows, (features, maps) in round_robin(ready, networks):
            yield rows, features, maps


def prepared(
    source: ImageSource, encoder: Encoder, batches: Iterable[range], ahead: int = AHEAD, workers: int = WORKERS
) -> Generator[tuple[range, Tensor], None, None]:
    """Decode and prepare images for an encoder, in threads; see `activations` and `prefetched`."""

    def images(rows: range) -> list[Callable[[], tuple[int, Tensor]]]:
        return [partial(_prepared, source, encoder, row) for row in source.in_storage_order(rows)]

    return prefetched(batches, images, partial(collated, device=encoder.device), ahead, workers)


def _prepared(source: ImageSource, encoder: Encoder, row: int) -> tuple[int, Tensor]:
    return row, encoder.prepare([source.load(row)])


def _reading(encoder: Encoder, precision: str) -> Callable[[Tensor], tuple[Features, Maps | None]]:
    """What a replica does with a batch; the precision is one of the thread that computes."""

    def read(batch: Tensor) -> tuple[Features, Maps | None]:
        with computing_in(precision, encoder.device):
            return encoder.forward(batch)

    return read
