"""How far two ranked lists agree."""

from collections.abc import Sequence


def average_overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """Share of two rankings that is the same, averaged over all depths: the top counts most.

    Parameters
    ----------
    first, second : each without repetitions; they may differ in length.

    Returns
    -------
    1 for equal lists (two empty ones too), 0 for lists that share nothing.

    References
    ----------
    Fagin, Kumar, Sivakumar, "Comparing top k lists", SIAM J. Discrete Math. 17 (2003).
    """
    depths = range(1, max(len(first), len(second)) + 1)
    shares = [len(set(first[:depth]) & set(second[:depth])) / depth for depth in depths]
    return sum(shares) / len(shares) if shares else 1.0
