"""Captions nearest to a crop (step 8): exact, streamed, the same for any sharding or order of the corpus."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp, softmax

# Cosines are compared after rounding, so that the last bits of a matrix product, which change with its shape, decide no rank.
# The product is taken in double precision: its error must be far below the rounding, or two copies of a caption round differently.
DECIMALS = 6
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


Shard = tuple[Int[np.ndarray, " captions"], Float[np.ndarray, "captions dim"]]


def nearest_captions(
    crops: Float[np.ndarray, "crops dim"], shards: Iterable[Shard], k: int, temperature: float | None = None
) -> Retrieved:
    """Exact k nearest captions by cosine over all shards; equal cosines go to the smaller caption id.

    Parameters
    ----------
    crops : unit image embeddings.
    shards : caption ids and unit text embeddings, in any order and division. Memory: one shard, and its cosines to
        `CROPS_AT_ONCE` crops.
    temperature : also sum ``exp(temperature * cosine)`` over the whole corpus; without it `log_total` stays -inf.

    Raises
    ------
    ValueError
        If an embedding holds NaN.
    """
    found = Retrieved(np.full((len(crops), k), -1), np.full((len(crops), k), -np.inf), np.full(len(crops), -np.inf))
    for ids, texts in shards:
        texts = np.asarray(texts, dtype=np.float64)
        for start in range(0, len(crops), CROPS_AT_ONCE):
            part = slice(start, start + CROPS_AT_ONCE)
            cosines = np.round(crops[part] @ texts.T, DECIMALS)
            if np.isnan(cosines).any():
                raise ValueError("embeddings of crops or captions hold NaN")
            best = _best_of(cosines, np.asarray(ids), k)
            found.captions[part], found.cosines[part] = _merge(found.captions[part], found.cosines[part], best, k)
            if temperature is not None:
                total = logsumexp(temperature * cosines, axis=1)
                found.log_total[part] = np.logaddexp(found.log_total[part], total)
    return found


def _best_of(cosines: np.ndarray, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of one shard. Everything that ties with the k-th is ranked by id, so the choice is not left to the partition."""
    if cosines.shape[1] > k:
        kth = np.partition(cosines, cosines.shape[1] - k, axis=1)[:, -k]
        tied = int((cosines >= kth[:, None]).sum(axis=1).max(initial=k))
        columns = np.argpartition(cosines, cosines.shape[1] - tied, axis=1)[:, -tied:]
    else:
        columns = np.broadcast_to(np.arange(cosines.shape[1]), cosines.shape)
    return ids[columns], np.take_along_axis(cosines, columns, axis=1)


def _merge(
    captions: np.ndarray, cosines: np.ndarray, best: tuple[np.ndarray, np.ndarray], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of two lists, by cosine, then by id."""
    ids = np.concatenate([captions, best[0]], axis=1)
    cosines = np.concatenate([cosines, best[1]], axis=1)
    order = np.lexsort((ids, -cosines), axis=1)[:, :k]
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(cosines, order, axis=1)


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
        own = softmax(temperature * (crops.astype(np.float32) @ np.asarray(texts, dtype=np.float32).T), axis=1)
        candidates = np.concatenate([weights, own], axis=1)
        names = np.concatenate([ids, np.broadcast_to(shard_ids, own.shape)], axis=1)
        order = np.argsort(-candidates, axis=1, kind="stable")[:, :k]
        ids, weights = np.take_along_axis(names, order, axis=1), np.take_along_axis(candidates, order, axis=1)
    return ids, np.where(ids >= 0, weights, 0.0)
