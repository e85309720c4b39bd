"""Work that a killed stage leaves is taken up if everything that it was made of is the same, and is never in the way."""

import multiprocessing
import os
import signal

import numpy as np
import pytest

from falcon_dvc.compute import resume as module
from falcon_dvc.compute.resume import Checkpoint, digest_of, exclusive, resumable
from falcon_dvc.errors import UserError

ROWS = 7


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder, in which every step is written down."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "SECONDS", 0.0)
    return tmp_path


def compute(part, stop=ROWS):
    """Fill in the rows that are not finished; which ones."""
    squares, rows = part.array("squares.npy", (ROWS,), np.int64), range(part.finished, stop)
    for row in rows:
        squares[row] = row**2
        part.save(row + 1, total=squares[: row + 1].sum(keepdims=True))
    return list(rows)


def test_steps_that_are_finished_are_not_done_again():
    with pytest.raises(RuntimeError), resumable("stage") as work:
        compute(work.checkpoint("squares", {"of": 2}), 4)
        raise RuntimeError
    with resumable("stage") as work:
        part = work.checkpoint("squares", {"of": 2})
        assert part.saved["total"].tolist() == [14]
        assert compute(part) == [4, 5, 6]
        part.move("squares.npy", module.paths.DATA / "squares.npy")
    assert np.load("data/squares.npy").tolist() == [row**2 for row in range(ROWS)]
    assert os.listdir("data") == ["squares.npy"]


def test_arrays_that_are_complete_are_given_though_no_step_was_left_to_open_them():
    def both(part):
        for name in ("features.npy", "maps.npy"):
            part.array(name, (1,), np.int64)[:] = 5

    part = Checkpoint(module.FOLDER / "part", "0")
    both(part)
    part.save(1)
    again = Checkpoint(module.FOLDER / "part", "0")
    again.array("features.npy", (1,), np.int64)
    again.save(1)
    last = Checkpoint(module.FOLDER / "part", "0")
    assert last.finished == 1 and last.arrays == ("features.npy", "maps.npy")
    for name in last.arrays:
        last.move(name, module.paths.DATA / name)
        assert np.load(module.paths.DATA / name).tolist() == [5]


def die_after(stop):
    with resumable("stage") as work:
        compute(work.checkpoint("squares", {}), stop)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_leaves_what_it_finished():
    process = multiprocessing.get_context("fork").Process(target=die_after, args=(5,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with resumable("stage") as work:
        assert compute(work.checkpoint("squares", {})) == [5, 6]


@pytest.mark.parametrize("change", ["value", "file", "path", "code", "array", "state"])
def test_other_work_is_thrown_away(change, here, monkeypatch):
    (here / "input").write_text("a")

    def part(value=0):
        return Checkpoint(module.FOLDER / "part", digest_of({"value": value, "file": "input"}, [here / "other"]))

    compute(part(), 4)
    value = 1 if change == "value" else 0
    if change == "file":
        (here / "input").write_text("ab")
    if change == "path":
        (here / "other").mkdir()
        (here / "other" / "new").touch()
    if change == "code":
        monkeypatch.setattr(module, "_code_and_versions", lambda: ["another"])
    if change == "array":
        (module.FOLDER / "part" / "squares.npy").unlink()
    if change == "state":
        (module.FOLDER / "part" / module.STATE).write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    assert part(value).finished == 0
    assert compute(part(value)) == list(range(ROWS))


def test_the_same_work_has_the_same_digest(here):
    (here / "folder").mkdir()
    for name in ("x", "y"):
        (here / "folder" / name).write_text(name)
    assert digest_of({"images": "folder"}) == digest_of({"images": "folder"}) != digest_of({"images": "another"})


def test_steps_are_written_down_now_and_then_only(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 3600.0)
    part = Checkpoint(module.FOLDER / "part", "0")
    compute(part)
    assert not (module.FOLDER / "part" / module.STATE).exists()
    part.save(ROWS, at_once=True)
    assert Checkpoint(module.FOLDER / "part", "0").finished == ROWS


def hold(name, ready, end):
    with exclusive(name):
        ready.set()
        end.wait()


def test_a_stage_runs_once_at_a_time_and_a_kill_frees_it():
    context = multiprocessing.get_context("fork")
    ready, end = context.Event(), context.Event()
    process = context.Process(target=hold, args=("find_groups-net", ready, end))
    process.start()
    ready.wait()
    with (
        pytest.raises(UserError, match="find_groups-net is being run by another process"),
        exclusive("find_groups-net"),
    ):
        pass
    with exclusive("find_groups-other"):
        pass
    process.kill()
    process.join()
    with exclusive("find_groups-net"):
        pass
    assert os.listdir("data") == []


def test_a_folder_that_cannot_be_written_to_is_one_line(here):
    (here / "data").write_text("a file")
    with pytest.raises(UserError, match="lock: cannot be written"), exclusive("stage"):
        pass
