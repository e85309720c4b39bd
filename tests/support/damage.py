"""Good files damaged at random: whatever comes, a reader gives a result or one line, soon.

``FUZZ_EXAMPLES=5000 python -m pytest tests/malformed_inputs/test_fuzz.py`` tries more than the suite does; ``FUZZ_SEED`` says
where the search starts.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from falcon_dvc.errors import UserError

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "10"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
LONGEST = 20_000  # milliseconds of one reading; a thousand times what it takes
# What readers trip over sooner than over random bytes.
NASTY = [
    b"\0",
    b"\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    b"\n",
    b'"',
    b"{",
    b"[" * 50,
    b"-",
    b"9" * 30,
    b"\xed\xa0\x80",
    b"\\ud800",
    b": &a [*a]",
    b"!!",
    b"'",
]


@st.composite
def damages(draw, size):
    """Some changes: what is done, where, how far, with what."""
    place = st.integers(0, size)
    change = st.tuples(
        st.sampled_from(["flip", "cut", "insert", "repeat", "zero", "end"]),
        place,
        st.integers(1, 64),
        st.sampled_from(NASTY) | st.binary(max_size=8),
    )
    return draw(st.lists(change, min_size=1, max_size=4))


def damaged(content: bytes, changes) -> bytes:
    for how, place, length, more in changes:
        before, within, after = content[:place], content[place : place + length], content[place + length :]
        content = {
            "flip": before
            + bytes([(content[place : place + 1] or b"\0")[0] ^ (1 << length % 8)])
            + content[place + 1 :],
            "cut": before + after,
            "insert": before + more + content[place:],
            "repeat": before + within * 3 + after,
            "zero": before + bytes(len(within)) + after,
            "end": before,
        }[how]
    return content


def assert_readable_or_one_line(path: Path, content: bytes, read: Callable[[Path], object]) -> None:
    """Read the file again and again, damaged each time in another way."""

    @seed(SEED)
    @settings(max_examples=EXAMPLES, derandomize=SEED == 0, suppress_health_check=list(HealthCheck), deadline=LONGEST)
    @given(damages(len(content)))
    def readable_or_one_line(changes):
        path.write_bytes(damaged(content, changes))
        try:
            with warnings.catch_warnings(action="ignore"):
                read(path)
        except UserError as error:
            assert "\n" not in str(error) and len(str(error)) < 2000

    readable_or_one_line()
