"""Know which instructions the processor has."""

from functools import cache
from pathlib import Path

DESCRIPTION = Path("/proc/cpuinfo")  # on Linux; elsewhere, nothing is known, and no special instructions are used
BFLOAT16 = {"avx512_bf16", "amx_bf16"}


@cache
def words() -> frozenset[str]:
    """Return the words of the processor's description: its maker, and names of instructions."""
    try:
        return frozenset(DESCRIPTION.read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return frozenset()


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products in bfloat16."""
    return not BFLOAT16.isdisjoint(words())


def amd_with_avx512() -> bool:
    """Whether it is a processor of AMD with AVX-512. MKL uses these instructions on processors of Intel only."""
    return {"AuthenticAMD", "avx512f"} <= words()
