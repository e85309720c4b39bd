"""Freed memory is used again: the system does not have to clear it for each batch."""

import subprocess
import sys

import pytest

from falcon_dvc import allocator

ROUNDS, MB = 20, 64
PROGRAM = f"""
import resource, sys
import numpy as np
from falcon_dvc.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
np.ones({MB} << 20, dtype=np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS}):
    np.ones({MB} << 20, dtype=np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


RETURNED = f"""
import numpy as np
from falcon_dvc.allocator import keep_freed_memory, returned_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

keep_freed_memory()
before = resident()
with returned_memory():
    small = [np.ones(1 << 16, dtype=np.uint8) for _ in range({MB} * 16)]
    last = np.ones(1 << 16, dtype=np.uint8)  # it keeps the end of the heap
    del small
    kept = resident() - before
print(kept, resident() - before)
"""


def faults(how):
    """Pages that the system gave a process which allocates and frees an array again and again."""
    run = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_free_memory_goes_back_to_the_system_at_the_end_of_a_pass():
    run = subprocess.run([sys.executable, "-c", RETURNED], capture_output=True, text=True, check=True)
    kept, left = map(int, run.stdout.split())
    assert kept > MB / 2 > 4 * left


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_freed_memory_is_used_again():

    assert 4 * faults("kept") < faults("as by default")


def test_another_c_library_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    allocator.keep_freed_memory.__wrapped__()
