"""Workers of the stage end with it, also if it is killed."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor

from stages.render_scenes import _end_with_parent


def start_workers(connection):
    with ProcessPoolExecutor(2, initializer=_end_with_parent) as pool:
        for _ in range(2):
            pool.submit(time.sleep, 0.01)
        connection.send(list(pool._processes))
        time.sleep(60)


def running(process):
    """Whether a process is there and no zombie."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_end_when_the_stage_is_killed():
    here, there = multiprocessing.Pipe()
    stage = multiprocessing.get_context("fork").Process(target=start_workers, args=(there,))
    stage.start()
    workers = here.recv()
    assert len(workers) == 2 and all(running(worker) for worker in workers)
    os.kill(stage.pid, signal.SIGKILL)
    stage.join()
    end = time.monotonic() + 10
    while any(running(worker) for worker in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(running(worker) for worker in workers)
