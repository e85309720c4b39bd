"""Which texts of a corpus are copies of an earlier one: found from fingerprints of 16 bytes, never from the texts at once."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt64


def fingerprints(texts: Sequence[str]) -> UInt64[np.ndarray, "texts 2"]:
    """128-bit BLAKE2b of each text: among a billion different texts, two alike have a chance of about 1e-21."""
    digests = b"".join(hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest() for text in texts)
    return np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2)


def first_of_each(
    prints: UInt64[np.ndarray, "texts 2"], counted: Bool[np.ndarray, " texts"]
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " kept"]]:
    """Places of the first copy of each different text, ascending, and how many copies each has.

    Parameters
    ----------
    prints : fingerprints of all texts of the corpus, in its order.
    counted : False for what is no caption; it is neither kept nor counted.
    """
    places = np.flatnonzero(counted)
    some = prints[places]
    order = np.lexsort((some[:, 1], some[:, 0]))  # stable: copies stay in the order of the corpus
    ordered = some[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts = np.flatnonzero(new)
    first, copies = places[order[starts]], np.diff(starts, append=len(order))
    ascending = np.argsort(first)
    return first[ascending], copies[ascending]
