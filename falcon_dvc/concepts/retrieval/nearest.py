"""Retrieve the captions nearest to a crop (step 8).

The search is exact and streamed. Its result does not depend on the shards or the order of the corpus.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp, softmax

from falcon_dvc import processor
from falcon_dvc.concepts.retrieval import by_bfloat16

# Cosines are compared after rounding, so that the last bits of a sum do not decide a rank. Each final cosine is computed in
# double precision from its own two rows alone, so that it does not depend on the rest of the shard.
DECIMALS = 6
PAIRS_AT_ONCE = 16_384  # pairs of a crop and a caption whose rows are in memory
FEW = 8  # times k: if a crop has more candidates in one shard, a second cut removes most of them
CROPS_AT_ONCE = 2048  # crops whose cosines are in memory


@dataclass(frozen=True)
class Retrieved:
    """Hold the k nearest captions of each crop, nearest first.

    Attributes
    ----------
    captions : caption ids; -1 where the corpus has fewer than k captions.
    cosines : their cosines, rounded; -inf where there is no caption.
    log_total : log of the sum over the *whole* corpus of ``exp(temperature * cosine)``.
    """

    captions: Int[np.ndarray, "crops k"]
    cosines: Float[np.ndarray, "crops k"]
    log_total: Float[np.ndarray, " crops"]


@dataclass(frozen=True)
class Near:
    """Hold the captions of one shard that may be among a crop's k nearest.

    It holds all of these, and few others.

    Attributes
    ----------
    crop : place of each pair's crop among these crops.
    captions : caption id of each pair.
    cosines : cosine of each pair, rounded.
    log_total : as in `Retrieved`, over this shard; None if not requested.
    """

    crop: Int[np.ndarray, " pairs"]
    captions: Int[np.ndarray, " pairs"]
    cosines: Float[np.ndarray, " pairs"]
    log_total: Float[np.ndarray, " crops"] | None


Shard = tuple[Int[np.ndarray, " captions"], Float[np.ndarray, "captions dim"]]


def nothing_retrieved(crops: int, k: int) -> Retrieved:
    """Return the state before the first shard."""
    return Retrieved(np.full((crops, k), -1), np.full((crops, k), -np.inf), np.full(crops, -np.inf))


def nearest_captions(
    crops: Float[np.ndarray, "crops dim"],
    shards: Iterable[Shard],
    k: int,
    temperature: float | None = None,
    retrieved: Retrieved | None = None,
) -> Retrieved:
    """Find the exact k nearest captions by cosine over all shards.

    Equal cosines go to the smaller caption id.

    Parameters
    ----------
    crops : unit image embeddings.
    shards : caption ids and unit text embeddings, in any order and division. One shard and its cosines to
        `CROPS_AT_ONCE` crops are in memory.
    temperature : also sum ``exp(temperature * cosine)`` over the whole corpus; if not given, `log_total` stays -inf.
    retrieved : result of other shards. It is changed in place, and complete whenever the next shard is requested.

    Raises
    ------
    ValueError
        If an embedding holds NaN or infinity.
    """
    retrieved = retrieved or nothing_retrieved(len(crops), k)
    finite(crops)
    return merged(retrieved, (near_in(crops, shard, retrieved.cosines[:, -1], k, temperature) for shard in shards))


def near_in(
    crops: Float[np.ndarray, "crops dim"],
    shard: Shard,
    best: Float[np.ndarray, " crops"],
    k: int,
    temperature: float | None = None,
) -> Iterator[Near]:
    """Find the candidates of one shard, for `CROPS_AT_ONCE` crops at a time.

    Parameters
    ----------
    best : k-th best cosine of each crop in other shards, -inf if there is none. A larger one excludes more captions that
        cannot be among the k nearest. The k nearest are never excluded.
    temperature : also compute the shard's part of `Retrieved.log_total`.

    Raises
    ------
    ValueError
        If an embedding of the shard holds NaN or infinity.
    """
    ids, texts = shard
    finite(texts)
    for start in range(0, len(crops), CROPS_AT_ONCE):
        block = slice(start, start + CROPS_AT_ONCE)
        crop, text = _candidates(crops[block], texts, best[block], k)
        cosines = _cosines(crops[block], texts, crop, text)
        total = None if temperature is None else logsumexp(temperature * _all_cosines(crops[block], texts), axis=1)
        yield Near(crop, np.asarray(ids)[text], cosines, total)


def merged(retrieved: Retrieved, shards: Iterable[Iterable[Near]]) -> Retrieved:
    """Merge the candidates of shards into the k nearest captions.

    `retrieved` is changed in place. Between two shards it is complete. Captions and cosines do not depend on the order of
    the shards. The last bits of `log_total` do.
    """
    for shard in shards:
        for number, near in enumerate(shard):
            block = slice(number * CROPS_AT_ONCE, (number + 1) * CROPS_AT_ONCE)
            _merge(retrieved.captions[block], retrieved.cosines[block], near.crop, near.captions, near.cosines)
            if near.log_total is not None:
                retrieved.log_total[block] = np.logaddexp(retrieved.log_total[block], near.log_total)
    return retrieved


def nearest_of(
    crops: Float[np.ndarray, "crops dim"],
    candidates: Int[np.ndarray, "crops candidates"],
    ids: Int[np.ndarray, " captions"],
    texts: Callable[[Int[np.ndarray, " places"]], Float[np.ndarray, "places dim"]],
    k: int,
) -> Retrieved:
    """Find the k nearest among each crop's own candidates, ranked as in `nearest_captions`.

    Parameters
    ----------
    candidates : places of captions in `ids`; -1 where there are fewer.
    texts : function that returns the unit text embeddings at the given places.
    """
    nearest = nothing_retrieved(len(crops), k)
    for start in range(0, len(crops), CROPS_AT_ONCE):
        block = slice(start, start + CROPS_AT_ONCE)
        crop, slot = np.nonzero(candidates[block] >= 0)
        places, text = np.unique(candidates[block][crop, slot], return_inverse=True)
        cosines = _cosines(crops[block], texts(places), crop, text)
        _merge(nearest.captions[block], nearest.cosines[block], crop, np.asarray(ids)[places[text]], cosines)
    return nearest


def recall(retrieved: Int[np.ndarray, "crops k"], exact: Int[np.ndarray, "crops k"]) -> float:
    """Compute the share of the exact nearest captions that were found; 1 if there is nothing to find."""
    wanted = exact >= 0
    hits = (exact[:, :, None] == retrieved[:, None, :]).any(axis=2) & wanted
    return float(hits.sum() / wanted.sum()) if wanted.any() else 1.0


def finite(embeddings: Float[np.ndarray, "rows dim"]) -> None:
    """Refuse embeddings with NaN or infinity, which would make every cosine meaningless.

    Raises
    ------
    ValueError
        If one holds NaN or infinity.
    """
    if not np.isfinite(embeddings).all():
        raise ValueError("embeddings of crops or captions hold NaN or infinity")


def _all_cosines(crops: np.ndarray, texts: np.ndarray) -> np.ndarray:
    return np.round(crops @ np.asarray(texts, dtype=np.float64).T, DECIMALS)


def _candidates(
    crops: np.ndarray, texts: np.ndarray, best: Float[np.ndarray, " crops"], k: int
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Find pairs of a crop and a caption that may be among the k nearest of the crop.

    `best` is each crop's k-th cosine so far. Only few other pairs are returned. Single precision is twice as fast, and
    bfloat16 several times. The error of either is within the margin, so no pair is lost.
    """
    crops, texts = (np.ascontiguousarray(rows, dtype=np.float32) for rows in (crops, texts))
    if len(crops) == 0 or len(texts) == 0:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    if len(crops) * texts.size >= by_bfloat16.FROM and processor.multiplies_bfloat16():
        found = by_bfloat16.candidates(crops, texts, best, k, FEW, 10.0**-DECIMALS)
        if found is not None:
            return found
    margin = 10.0**-DECIMALS + (texts.shape[1] + 2) * np.finfo(np.float32).eps * by_bfloat16.longest(
        crops
    ) * by_bfloat16.longest(texts)
    rough = crops @ texts.T
    # Most shards have no candidate for most crops. NumPy finds places much faster in a flat array than in two dimensions.
    rows = np.flatnonzero(rough.max(axis=1) >= best - margin)
    rough, cut = rough[rows], (best[rows] - margin).astype(np.float32)
    near = np.flatnonzero(rough >= cut[:, None])
    if len(texts) > k and len(near) > FEW * k * len(rows):
        kth = np.partition(rough, len(texts) - k, axis=1)[:, -k]
        near = np.flatnonzero(rough >= np.maximum(cut, kth - 2 * margin)[:, None])
    row, text = np.divmod(near, len(texts))
    return rows[row], text


def _cosines(crops: np.ndarray, texts: np.ndarray, crop: np.ndarray, text: np.ndarray) -> Float[np.ndarray, " pairs"]:
    """Compute the cosine of each pair, rounded."""
    cosines = np.empty(len(crop))
    for start in range(0, len(crop), PAIRS_AT_ONCE):
        block = slice(start, start + PAIRS_AT_ONCE)
        crop_rows, text_rows = (
            np.ascontiguousarray(rows[which[block]], dtype=np.float64) for rows, which in ((crops, crop), (texts, text))
        )
        cosines[block] = np.round(np.einsum("ij,ij->i", crop_rows, text_rows), DECIMALS)
    return cosines


def _merge(captions: np.ndarray, cosines: np.ndarray, crop: np.ndarray, ids: np.ndarray, new: np.ndarray) -> None:
    """Replace each crop's captions by the k best of the old and new ones, by cosine, then by id."""
    count, k = captions.shape
    crop = np.concatenate([np.repeat(np.arange(count), k), crop])
    ids, new = np.concatenate([captions.reshape(-1), ids]), np.concatenate([cosines.reshape(-1), new])
    order = np.lexsort((ids, -new, crop))
    first = np.searchsorted(crop[order], np.arange(count))
    best = order[first[:, None] + np.arange(k)]
    captions[:], cosines[:] = ids[best], new[best]


def retrieved_weights(retrieved: Retrieved, temperature: float) -> Float[np.ndarray, "crops k"]:
    """Compute p(c | x) as a softmax over the retrieved captions only; 0 where there is no caption.

    Such weights can be compared between corpora of any size.
    """
    return _softmax_weights(retrieved, temperature, logsumexp(temperature * retrieved.cosines, axis=1))


def corpus_weights(retrieved: Retrieved, temperature: float) -> Float[np.ndarray, "crops k"]:
    """Compute p(c | x) as a softmax over the whole corpus; 0 where there is no caption.

    Near-duplicates divide their probability among them.
    """
    return _softmax_weights(retrieved, temperature, retrieved.log_total)


def _softmax_weights(
    retrieved: Retrieved, temperature: float, log_total: Float[np.ndarray, " crops"]
) -> Float[np.ndarray, "crops k"]:
    has_caption = retrieved.captions >= 0
    log_weights = np.full(has_caption.shape, -np.inf)
    np.subtract(temperature * retrieved.cosines, log_total[:, None], out=log_weights, where=has_caption)
    return np.exp(log_weights)


def released_retrieval(
    crops: Float[np.ndarray, "crops dim"], shards: Iterable[Shard], k: int, temperature: float
) -> tuple[Int[np.ndarray, "crops k"], Float[np.ndarray, "crops k"]]:
    """Retrieve caption ids and weights as released: a softmax inside each shard, then the k largest *across* shards.

    This exists for comparison only, because its result depends on the shards of the corpus.
    """
    ids, weights = np.full((len(crops), k), -1), np.full((len(crops), k), -np.inf)
    for shard_ids, texts in shards:
        if len(texts) == 0:
            continue
        own = softmax(temperature * (crops.astype(np.float32) @ np.asarray(texts, dtype=np.float32).T), axis=1)
        candidates = np.concatenate([weights, own], axis=1)
        names = np.concatenate([ids, np.broadcast_to(shard_ids, own.shape)], axis=1)
        order = np.argsort(-candidates, axis=1, kind="stable")[:, :k]
        ids, weights = np.take_along_axis(names, order, axis=1), np.take_along_axis(candidates, order, axis=1)
    return ids, np.where(ids >= 0, weights, 0.0)
