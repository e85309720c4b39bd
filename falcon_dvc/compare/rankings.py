"""Agreement of two ranked lists."""

from collections.abc import Sequence


def average_overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """Average the shared part of two rankings over all depths; the top has the most weight.

    Parameters
    ----------
    first, second : lists without repetitions; their lengths may differ.

    Returns
    -------
    1 for equal lists, also for two empty ones; 0 for lists without a common item.

    References
    ----------
    Fagin, Kumar, Sivakumar, "Comparing top k lists", SIAM J. Discrete Math. 17 (2003).
    """
    depths = range(1, max(len(first), len(second)) + 1)
    shares = [len(set(first[:depth]) & set(second[:depth])) / depth for depth in depths]
    return sum(shares) / len(shares) if shares else 1.0
