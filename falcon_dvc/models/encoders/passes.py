"""Run an encoder over many pictures. Threads decode and prepare the batches; for a GPU, while it computes.

The result depends neither on the number of threads nor on the number of batches ahead. Batches hold the same pictures in
the same order as without threads.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from falcon_dvc.activations.write import share_of_values
from falcon_dvc.compute.device import computing_in
from falcon_dvc.compute.prefetch import ahead_of, collated, prefetched, round_robin
from falcon_dvc.errors import UserError
from falcon_dvc.threads import WORKERS

if TYPE_CHECKING:
    from torch import Tensor

    from falcon_dvc.images.source import ImageSource
    from falcon_dvc.models.encoders.load import Encoder, Features, Maps, Sums

    Pass = tuple[Features, Maps | None, Sums]

MEASURED = 8  # images that tell whether maps are sparse; as values, dense maps of so many take less memory than a dense batch of 64
LARGEST_SHARE = 1 / 8  # of sparse maps that is not 0; a value takes 6 bytes there, and 2 in dense maps


def activations(
    source: ImageSource, replicas: Sequence[Encoder], batches: Iterable[range], precision: str = "float32"
) -> Iterator[tuple[range, Features, Maps | None]]:
    """Run an encoder over images in one pass, which gives features and maps of all its layers.

    Parameters
    ----------
    source
        The images.
    replicas
        The encoder, once for each device. Batches are distributed in round-robin order.
    batches
        Rows of the images of each batch.
    precision : {"float32", "bfloat16", "float16"}
        Precision of the network. The results are float32.

    Yields
    ------
    rows, features, maps
        Results of each batch, in order. Maps are None if heatmaps need gradients.

    Raises
    ------
    UserError
        If an image was removed or damaged since it was listed, when its batch is requested.
    """
    for rows, (features, maps, _) in _passed(source, replicas, batches, [_reading(one, precision) for one in replicas]):
        yield rows, features, maps


def measured_activations(
    source: ImageSource,
    replicas: Sequence[Encoder],
    batches: Iterable[range],
    precision: str = "float32",
    as_values: bool = False,
) -> Iterator[tuple[range, Any, Any, Sums]]:
    """Run an encoder over images as `activations`; yield also what the explained variance of its basis needs, if it has one.

    With `as_values`, which needs a basis, features and maps are the values that are not 0: a sparse array (images, features),
    and `SparseMaps`.
    """
    measured = "forward_sparse" if as_values else "forward_measured"
    networks = [_reading(one, precision, measured if hasattr(one, measured) else "") for one in replicas]
    for rows, (features, maps, sums) in _passed(source, replicas, batches, networks):
        yield rows, features, maps, sums


def _passed(
    source: ImageSource,
    replicas: Sequence[Encoder],
    batches: Iterable[range],
    networks: Sequence[Callable[[Tensor], Pass]],
) -> Iterator[tuple[range, Pass]]:
    with closing(prepared(source, replicas[0], batches, replicas=len(replicas))) as ready:
        yield from round_robin(ready, networks)


def prepared(
    source: ImageSource, encoder: Encoder, batches: Iterable[range], replicas: int = 1, workers: int = WORKERS
) -> Generator[tuple[range, Tensor], None, None]:
    """Decode and prepare images for an encoder in threads; see `activations` and `prefetched`."""

    def images(rows: range) -> list[Callable[[], tuple[int, Tensor]]]:
        return [partial(_prepared, source, encoder, row) for row in source.in_storage_order(rows)]

    return prefetched(
        batches, images, partial(collated, device=encoder.device), ahead_of(encoder.device) * replicas, workers
    )


def few_values(spec: Any, source: ImageSource, encoder: Encoder, precision: str) -> bool:
    """Decide whether features and maps of an encoder are kept as the values that are not 0: those of a basis, if they are few.

    The first images decide: the share of their maps that is not 0, or of their features if there are no maps.
    """
    if getattr(spec, "basis", None) is None:
        return False
    rows = range(min(MEASURED, len(source)))
    ((_, features, maps, _),) = measured_activations(source, [encoder], [rows], precision, as_values=True)
    return share_of_values(features, maps) <= LARGEST_SHARE


def check_finite(features: Features | sparse.csr_array, rows: range, precision: str, param: str) -> None:
    """Refuse features that are no numbers.

    Parameters
    ----------
    features
        Of the images in `rows`, computed at `precision`.
    param : str
        The name of the encoder's entry, for the error: ``encoders.NAME``.

    Raises
    ------
    UserError
        If a value is NaN or infinite.
    """
    if not np.isfinite(features if isinstance(features, np.ndarray) else features.data).all():
        fix = "check the weights" if precision == "float32" else "set extract_activations.precision to float32"
        raise UserError(
            f"{param}: its activations hold NaN or infinite values (images {rows.start}-{rows.stop - 1}); {fix}"
        )


def _prepared(source: ImageSource, encoder: Encoder, row: int) -> tuple[int, Tensor]:
    return row, encoder.prepare([source.load(row)])


def _reading(encoder: Encoder, precision: str, measured: str = "") -> Callable[[Tensor], Pass]:
    """Return a function that runs a replica on a batch. It sets the precision, which torch keeps per thread."""

    def read(batch: Tensor) -> Pass:
        with computing_in(precision, encoder.device):
            if measured:
                return getattr(encoder, measured)(batch)
            return *encoder.forward(batch), None

    return read
