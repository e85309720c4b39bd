"""Find the duplicate texts of a corpus from fingerprints of 16 bytes, so that the texts need not fit in memory."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt64


def fingerprints(texts: Sequence[str]) -> UInt64[np.ndarray, "texts 2"]:
    """Return the 128-bit BLAKE2b digest of each text. A billion different texts collide with probability 1e-21."""
    digests = b"".join(hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest() for text in texts)
    return np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2)


def first_of_each(
    prints: UInt64[np.ndarray, "texts 2"], counted: Bool[np.ndarray, " texts"]
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " kept"]]:
    """Find the first copy of each different text.

    Parameters
    ----------
    prints : (texts, 2) array
        Fingerprints of all texts of the corpus, in its order.
    counted : (texts,) bool array
        False for a text that is no caption, which is ignored.

    Returns
    -------
    first : (kept,) integer array
        Positions of the first copies in the corpus, ascending.
    copies : (kept,) integer array
        How often each text occurs.
    """
    places = np.flatnonzero(counted)
    candidates = prints[places]
    order = np.lexsort((candidates[:, 1], candidates[:, 0]))  # stable: copies stay in the order of the corpus
    ordered = candidates[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts = np.flatnonzero(new)
    first, copies = places[order[starts]], np.diff(starts, append=len(order))
    ascending = np.argsort(first)
    return first[ascending], copies[ascending]
