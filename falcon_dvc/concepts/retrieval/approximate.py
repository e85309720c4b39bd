"""Propose nearest captions with an approximate faiss index; `nearest.nearest_of` ranks them exactly."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from falcon_dvc.embeddings import Rows

ROWS_AT_ONCE = 65_536
OVERFETCH = 4  # times k candidates, to include ties with the k-th caption and captions that float16 misplaces


@dataclass(frozen=True)
class Approximation:
    """Hold the params of an approximate index; see `build_caption_index` in params.yaml."""

    index: Literal["ivf", "sq"]
    seed: int
    nlist: int
    nprobe: int
    train: int


def build_index(texts: Rows, settings: Approximation) -> Any:
    """Build a faiss index of unit text embeddings by inner product, filled in blocks.

    The number of a caption in the index is its row.

    Raises
    ------
    ValueError
        If there are fewer captions than lists.
    """
    import faiss

    rows, dim = texts.shape
    if settings.index == "sq":
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    else:
        index = _lists(texts, settings)
    for start in range(0, rows, ROWS_AT_ONCE):
        index.add(np.ascontiguousarray(texts[start : start + ROWS_AT_ONCE], dtype=np.float32))
    return index


def _lists(texts: Rows, settings: Approximation) -> Any:
    """Learn inverted lists from a sample."""
    import faiss

    rows, dim = texts.shape
    if rows < settings.nlist:
        raise ValueError(f"{settings.nlist} lists for {rows} captions")
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, settings.nlist, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.nprobe = settings.seed % 2**31, settings.nprobe
    index.cp.min_points_per_centroid = 1  # avoids a warning
    sample = np.random.default_rng(settings.seed).choice(rows, min(rows, settings.train), replace=False)
    index.train(np.ascontiguousarray(texts[np.sort(sample)], dtype=np.float32))
    return index


def candidates(index: Any, crops: Float[np.ndarray, "crops dim"], k: int) -> Int[np.ndarray, "crops candidates"]:
    """Find rows of captions that may be among the k nearest of each crop; -1 where the searched lists hold no more."""
    count = max(min(OVERFETCH * k, index.ntotal), 1)
    return index.search(np.ascontiguousarray(crops, dtype=np.float32), count)[1]
