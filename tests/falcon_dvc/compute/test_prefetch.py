"""Batches made ready ahead come in order, and keep the order of memory of their parts."""

import threading
from functools import partial

import torch
from hypothesis import given
from hypothesis import strategies as some

from falcon_dvc.compute.prefetch import AHEAD, ahead_of, collated, prefetched, round_robin
from tests.support.slow_pictures import COUNT, batches_of


@given(size=some.integers(1, 12), ahead=some.integers(0, 5), workers=some.integers(1, 4), replicas=some.integers(1, 3))
def test_rows_come_in_order_whatever_runs_beside(size, ahead, workers, replicas):
    jobs = lambda rows: [partial(lambda row: (row, torch.tensor([row])), row) for row in reversed(rows)]  # noqa: E731
    networks = [lambda batch: batch.tolist()] * replicas
    found = list(round_robin(prefetched(batches_of(size), jobs, collated, ahead, workers), networks))
    assert [list(rows) for rows, _ in found] == [rows for _, rows in found]
    assert [row for _, rows in found for row in rows] == list(range(COUNT))


@given(ahead=some.integers(0, 2), workers=some.integers(1, 3))
def test_pieces_are_prepared_by_one_thread_each(ahead, workers):
    before = torch.get_num_threads()
    jobs = lambda rows: [torch.get_num_threads for _ in rows]  # noqa: E731
    found = [counts for _, counts in prefetched(batches_of(3), jobs, list, ahead, workers)]
    assert [count for counts in found for count in counts] == [1] * COUNT
    assert torch.get_num_threads() == before


def test_on_a_cpu_batches_are_joined_by_the_thread_that_computes():
    joined = lambda _: threading.get_ident()  # noqa: E731
    found = {ready for _, ready in prefetched(batches_of(3), lambda rows: [lambda: 0], joined, ahead_of("cpu"))}
    assert found == {threading.get_ident()}
    assert ahead_of("cuda") == AHEAD > 0


def test_batches_keep_the_order_of_memory_of_their_parts():
    parts = [(row, torch.zeros(1, 4, 4, 3).permute(0, 3, 1, 2)) for row in (1, 0)]
    assert collated(parts).is_contiguous(memory_format=torch.channels_last)
    assert collated([(row, part.contiguous()) for row, part in parts]).is_contiguous()
