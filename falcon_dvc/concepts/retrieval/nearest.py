"""Captions nearest to a crop (step 8): exact, streamed, the same for any sharding or order of the corpus."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp, softmax

# Cosines are compared after rounding, so that the last bits of a sum decide no rank. Each one that counts is computed in
# double precision from its own two rows alone, so that it does not depend on what else is in the shard.
DECIMALS = 6
PAIRS_AT_ONCE = 16_384  # of a crop and a caption, their rows in memory
FEW = 8  # times k: more candidates of a crop than this in one shard are thinned out first
CROPS_AT_ONCE = 2048  # of the cosines in memory


@dataclass(frozen=True)
class Retrieved:
    """The k nearest captions of each crop, nearest first.

    Attributes
    ----------
    captions : caption ids; -1 where the corpus has fewer than k captions.
    cosines : their cosines, rounded; -inf where there is none.
    log_total : log of the sum over the *whole* corpus of ``exp(temperature * cosine)``.
    """

    captions: Int[np.ndarray, "crops k"]
    cosines: Float[np.ndarray, "crops k"]
    log_total: Float[np.ndarray, " crops"]


@dataclass(frozen=True)
class Near:
    """What one shard has for some crops: all of its captions that may be among a crop's k nearest, and hardly any other.

    Attributes
    ----------
    crop : of each pair of a crop and a caption, the place among these crops.
    captions : their caption ids.
    cosines : theirs, rounded.
    log_total : as in `Retrieved`, over this shard; None if not asked for.
    """

    crop: Int[np.ndarray, " pairs"]
    captions: Int[np.ndarray, " pairs"]
    cosines: Float[np.ndarray, " pairs"]
    log_total: Float[np.ndarray, " crops"] | None


Shard = tuple[Int[np.ndarray, " captions"], Float[np.ndarray, "captions dim"]]


def nothing_retrieved(crops: int, k: int) -> Retrieved:
    """What is known before the first shard."""
    return Retrieved(np.full((crops, k), -1), np.full((crops, k), -np.inf), np.full(crops, -np.inf))


def nearest_captions(
    crops: Float[np.ndarray, "crops dim"],
    shards: Iterable[Shard],
    k: int,
    temperature: float | None = None,
    found: Retrieved | None = None,
) -> Retrieved:
    """Exact k nearest captions by cosine over all shards; equal cosines go to the smaller caption id.

    Parameters
    ----------
    crops : unit image embeddings.
    shards : caption ids and unit text embeddings, in any order and division. Memory: one shard, and its cosines to
        `CROPS_AT_ONCE` crops.
    temperature : also sum ``exp(temperature * cosine)`` over the whole corpus; without it `log_total` stays -inf.
    found : what other shards gave; it is changed in place, and whole whenever the next shard is asked for.

    Raises
    ------
    ValueError
        If an embedding holds NaN or infinity.
    """
    found = found or nothing_retrieved(len(crops), k)
    finite(crops)
    return merged(found, (near_in(crops, shard, found.cosines[:, -1], k, temperature) for shard in shards))


def near_in(
    crops: Float[np.ndarray, "crops dim"],
    shard: Shard,
    best: Float[np.ndarray, " crops"],
    k: int,
    temperature: float | None = None,
) -> Iterator[Near]:
    """What one shard has for each `CROPS_AT_ONCE` crops in turn.

    Parameters
    ----------
    best : of each crop, a k-th best cosine in other shards, -inf if there is none. The better it is, the less is given that
        will not count; what counts is given in any case.
    temperature : also give the shard's part of `Retrieved.log_total`.

    Raises
    ------
    ValueError
        If an embedding of the shard holds NaN or infinity.
    """
    ids, texts = shard
    finite(texts)
    for start in range(0, len(crops), CROPS_AT_ONCE):
        part = slice(start, start + CROPS_AT_ONCE)
        crop, text = _candidates(crops[part], texts, best[part], k)
        cosines = _cosines(crops[part], texts, crop, text)
        total = None if temperature is None else logsumexp(temperature * _all_cosines(crops[part], texts), axis=1)
        yield Near(crop, np.asarray(ids)[text], cosines, total)


def merged(found: Retrieved, shards: Iterable[Iterable[Near]]) -> Retrieved:
    """The k nearest of those known and of what some shards have; `found` is changed in place, and whole between two shards.

    Captions and cosines are the same in any order of the shards, `log_total` to the last bit in the same order only.
    """
    for shard in shards:
        for number, near in enumerate(shard):
            part = slice(number * CROPS_AT_ONCE, (number + 1) * CROPS_AT_ONCE)
            _merge(found.captions[part], found.cosines[part], near.crop, near.captions, near.cosines)
            if near.log_total is not None:
                found.log_total[part] = np.logaddexp(found.log_total[part], near.log_total)
    return found


def nearest_of(
    crops: Float[np.ndarray, "crops dim"],
    candidates: Int[np.ndarray, "crops candidates"],
    ids: Int[np.ndarray, " captions"],
    texts: Callable[[Int[np.ndarray, " places"]], Float[np.ndarray, "places dim"]],
    k: int,
) -> Retrieved:
    """The k nearest among each crop's own candidates, ranked as `nearest_captions` ranks.

    Parameters
    ----------
    candidates : places of captions in `ids`; -1 where there are fewer.
    texts : gives the unit text embeddings at some places.
    """
    found = nothing_retrieved(len(crops), k)
    for start in range(0, len(crops), CROPS_AT_ONCE):
        part = slice(start, start + CROPS_AT_ONCE)
        crop, slot = np.nonzero(candidates[part] >= 0)
        places, text = np.unique(candidates[part][crop, slot], return_inverse=True)
        cosines = _cosines(crops[part], texts(places), crop, text)
        _merge(found.captions[part], found.cosines[part], crop, np.asarray(ids)[places[text]], cosines)
    return found


def recall(found: Int[np.ndarray, "crops k"], exact: Int[np.ndarray, "crops k"]) -> float:
    """Share of the exact nearest captions that were found; 1 where there is nothing to find."""
    wanted = exact >= 0
    hits = (exact[:, :, None] == found[:, None, :]).any(axis=2) & wanted
    return float(hits.sum() / wanted.sum()) if wanted.any() else 1.0


def finite(embeddings: Float[np.ndarray, "rows dim"]) -> None:
    """Refuse embeddings that would make every cosine meaningless.

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
    """Pairs of a crop and a caption that may be among its k nearest, given the k-th `best` cosine so far; hardly ever more.

    Single precision is twice as fast and can err by no more than the margin, so that nothing that belongs there is lost.
    """
    crops, texts = (np.ascontiguousarray(rows, dtype=np.float32) for rows in (crops, texts))
    margin = 10.0**-DECIMALS + (texts.shape[1] + 2) * np.finfo(np.float32).eps * _longest(crops) * _longest(texts)
    if len(texts) == 0:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    rough = crops @ texts.T
    # Most shards have nothing for most crops; numpy finds the places in one row of a flat array much faster than in two dimensions.
    rows = np.flatnonzero(rough.max(axis=1) >= best - margin)
    rough, cut = rough[rows], (best[rows] - margin).astype(np.float32)
    near = np.flatnonzero(rough >= cut[:, None])
    if len(texts) > k and len(near) > FEW * k * len(rows):
        kth = np.partition(rough, len(texts) - k, axis=1)[:, -k]
        near = np.flatnonzero(rough >= np.maximum(cut, kth - 2 * margin)[:, None])
    row, text = np.divmod(near, len(texts))
    return rows[row], text


def _longest(rows: np.ndarray) -> float:
    """Largest length of a row."""
    return float(np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float32).max(initial=0)))


def _cosines(crops: np.ndarray, texts: np.ndarray, crop: np.ndarray, text: np.ndarray) -> Float[np.ndarray, " pairs"]:
    """Cosine of each pair, rounded."""
    found = np.empty(len(crop))
    for start in range(0, len(crop), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        one, other = (
            np.ascontiguousarray(rows[which[part]], dtype=np.float64) for rows, which in ((crops, crop), (texts, text))
        )
        found[part] = np.round(np.einsum("ij,ij->i", one, other), DECIMALS)
    return found


def _merge(captions: np.ndarray, cosines: np.ndarray, crop: np.ndarray, ids: np.ndarray, new: np.ndarray) -> None:
    """Put each crop's k best of those known and the new ones in place, by cosine, then by id."""
    count, k = captions.shape
    crop = np.concatenate([np.repeat(np.arange(count), k), crop])
    ids, new = np.concatenate([captions.reshape(-1), ids]), np.concatenate([cosines.reshape(-1), new])
    order = np.lexsort((ids, -new, crop))
    first = np.searchsorted(crop[order], np.arange(count))
    best = order[first[:, None] + np.arange(k)]
    captions[:], cosines[:] = ids[best], new[best]


def retrieved_weights(retrieved: Retrieved, temperature: float) -> Float[np.ndarray, "crops k"]:
    """p(c | x) as a softmax over the retrieved captions only: comparable between corpora of any size; 0 where there is none."""
    return _where_found(retrieved, temperature, logsumexp(temperature * retrieved.cosines, axis=1))


def corpus_weights(retrieved: Retrieved, temperature: float) -> Float[np.ndarray, "crops k"]:
    """p(c | x) as a softmax over the whole corpus: near-duplicates share their probability; 0 where there is none."""
    return _where_found(retrieved, temperature, retrieved.log_total)


def _where_found(
    retrieved: Retrieved, temperature: float, log_total: Float[np.ndarray, " crops"]
) -> Float[np.ndarray, "crops k"]:
    found = retrieved.captions >= 0
    log_weights = np.full(found.shape, -np.inf)
    np.subtract(temperature * retrieved.cosines, log_total[:, None], out=log_weights, where=found)
    return np.exp(log_weights)


def released_retrieval(
    crops: Float[np.ndarray, "crops dim"], shards: Iterable[Shard], k: int, temperature: float
) -> tuple[Int[np.ndarray, "crops k"], Float[np.ndarray, "crops k"]]:
    """Caption ids and weights as released: a softmax inside each shard, then the k largest *across* shards.

    Kept for comparison only: what is found depends on how the corpus is sharded.
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
