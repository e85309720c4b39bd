"""A real cluster of two nodes on this machine: the same bytes as one process, and what a dead node, a bad shard and Ctrl-C do."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from falcon_dvc.artifacts.formats import write_array
from falcon_dvc.compute import resume
from falcon_dvc.compute.executor import Local, PerProcess, Task
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.compute.resume import Checkpoint, resumable
from falcon_dvc.concepts.retrieval import write_index
from falcon_dvc.concepts.scoring import corpus as corpora
from falcon_dvc.concepts.scoring.corpus import Corpus
from falcon_dvc.concepts.scoring.explanation import Settings
from falcon_dvc.crops import embedding
from falcon_dvc.embeddings import UnitRows, open_embeddings
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import merge, read_yaml, validated
from stages import build_caption_index, collect_images, extract_activations, extract_references
from tests.support.image_sources import as_folder
from tests.support.paths import ROOT
from tests.support.ray_shards import Letters, Means, counted, images_and_means
from tests.support.sample_images import coloured
from trials.tiny import fingerprints

pytestmark = pytest.mark.skipif(not find_spec("ray"), reason="needs Ray, of the extra ray")
MADE = ("data/activations", "data/references")  # of the stages that pass images through encoders
SETTINGS = Settings(5, 20.0, "corpus", "off", 0.1, 0.5, 0.25, 0.5, 8)
# Without the processes that no test needs: they take as long to start as the others.
NODE = {
    "num_cpus": 1,
    "object_store_memory": 80_000_000,
    "include_dashboard": False,
    "include_log_monitor": False,
    "no_monitor": True,
}
SOON = {
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 4,
    "prestart_worker_first_driver": False,
}  # a dead node is given up after 4 seconds, not 15
LOCAL = Local("score_concepts")


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    folder = Path("/tmp") / f"falcon-test-{os.getpid()}"  # short: the path of a socket has at most 107 bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # so that the nodes find the functions of this file, too
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # or shards would wait for the tests beside them
        patch.setenv("RAY_TMPDIR", str(folder))
        (folder / "ray").mkdir(parents=True)
        found = Cluster(initialize_head=True, head_node_args={**NODE, "_system_config": SOON})
        found.add_node(**NODE)
        yield found
        found.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def params_with(changes):
    content = read_yaml(ROOT / "params.yaml")
    merge(content, changes)
    return validated(content)


@pytest.fixture(scope="module")
def on_ray(cluster):
    """The params that ask for it."""
    return {"executor": "ray", "ray": {"address": cluster.address}}


@pytest.fixture(scope="module")
def executor(on_ray):
    """One connection for all tests: later ones use it."""
    with executor_of(params_with(on_ray), "score_concepts") as found:
        yield found


# ---- Captions


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def plain(folder, texts):
    """Embeddings as `build_caption_index` writes them."""
    write_array(folder / "embeddings.npy", texts)
    return open_embeddings(folder / "embeddings.npy")


def given(folder, texts):
    """Embeddings that came in two files, of which some rows are captions."""
    halves = np.split((3 * texts).astype(np.float16), [len(texts) // 3])
    for number, half in enumerate(halves):
        write_array(folder / f"{number}.npy", half)
    arrays = [open_embeddings(folder / f"{number}.npy") for number in range(2)]
    return UnitRows(arrays, np.flatnonzero(np.arange(len(texts)) % 7))


def searched(folder, store, captions=600):
    """A corpus with copies of captions, and more crops than are compared together."""
    rng = np.random.default_rng(0)
    texts = unit(rng.normal(size=(captions // 2, 16)))[rng.integers(0, captions // 2, captions)]
    embeddings = store(folder, texts)
    ids = pd.DataFrame({"caption": np.cumsum(rng.integers(1, 4, len(embeddings)))})
    return Corpus(ids, embeddings, None, None, "m"), unit(rng.normal(size=(2100, 16)))


def same(one, other):
    return all(np.array_equal(vars(one)[name], vars(other)[name]) for name in vars(one))


@pytest.mark.parametrize(("store", "shards"), [(plain, 1), (plain, 3), (given, 17)])
def test_captions_are_those_of_one_process_to_the_last_bit(executor, tmp_path, monkeypatch, store, shards):
    corpus, crops = searched(tmp_path, store)
    monkeypatch.setattr(corpora, "CAPTIONS_AT_ONCE", -(-len(corpus.captions) // shards))
    monkeypatch.chdir(tmp_path)
    local = corpus.compared(crops, SETTINGS)
    assert same(local, corpus.compared(crops, SETTINGS, executor=executor))
    assert np.isfinite(local.log_total).all() and (local.captions >= 0).all()
    retrieved = replace(SETTINGS, normaliser="retrieved")
    assert same(corpus.captioned(crops, retrieved), corpus.captioned(crops, retrieved, executor=executor))


def test_what_one_process_began_a_cluster_goes_on_with(executor, tmp_path, monkeypatch):
    corpus, crops = searched(tmp_path, plain)
    monkeypatch.setattr(corpora, "CAPTIONS_AT_ONCE", 50)
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    note = Checkpoint.save

    def dying(part, finished, **kept):
        note(part, finished, **kept)
        if finished == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", dying)
        corpus.compared(crops, SETTINGS, Checkpoint(tmp_path / "part", "m"))
    part = Checkpoint(tmp_path / "part", "m")
    assert part.finished == 5
    assert same(corpus.compared(crops, SETTINGS, part, executor), corpus.compared(crops, SETTINGS))


def test_a_poisoned_shard_is_named(executor, tmp_path, monkeypatch):
    corpus, crops = searched(tmp_path, plain)
    monkeypatch.setattr(corpora, "CAPTIONS_AT_ONCE", 50)
    np.lib.format.open_memmap(tmp_path / "embeddings.npy", mode="r+")[470] = np.nan
    for some in (LOCAL, executor):
        with pytest.raises(UserError, match=r"^score_concepts: captions 450-499: ValueError: .* hold NaN or infinity$"):
            corpus.compared(crops, SETTINGS, executor=some)


# ---- Stages


def test_embeddings_of_captions_are_those_of_one_process(on_ray, executor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(write_index, "EMBEDDED_AT_ONCE", 32)
    monkeypatch.setattr(write_index, "ROWS_AT_ONCE", 64)
    (tmp_path / "c.txt").write_text("\n".join(f"a {number} cat and {number * number} dogs" for number in range(200)))
    found = []
    for changes in ({}, on_ray):
        build_caption_index.build(params_with({"data": {"captions": "c.txt"}, **changes}), PerProcess(Letters))
        found.append(fingerprints(tmp_path, ("data",)))
        shutil.rmtree(tmp_path / "data")
    assert found[0] == found[1] and "data/captions/embeddings.npy" in found[0]


def test_activations_are_those_of_one_process_to_the_byte(on_ray, executor, tmp_path, monkeypatch):
    import torch

    from falcon_dvc.models.scenes.checkpoints import save_encoder
    from falcon_dvc.models.scenes.small_resnet import SmallResNet

    torch.set_num_threads(1)  # as `ray.cpus` says: how many threads share a sum decides its last bits
    monkeypatch.chdir(tmp_path)
    save_encoder(Path("tiny.safetensors"), SmallResNet(stem=4, widths=(8, 12), heads={}), {})
    as_folder(Path("pictures"), {str(number): coloured(number) for number in range(20)})
    changes = {
        "data": {"source": "images", "images": "pictures"},
        "encoders": {"supervised": {"kind": "scenes", "checkpoint": "tiny.safetensors"}},
        "extract_activations": {"batch_size": 8},
        "measure_faithfulness": {"reference_encoders": 2},
    }
    collect_images.run(params_with(changes))
    found = []
    for where in ({}, on_ray):
        extract_activations.run(params_with({**changes, **where}), "supervised")
        extract_references.run(params_with({**changes, **where}), "supervised")
        found.append(fingerprints(tmp_path, MADE))
        for folder in MADE:
            shutil.rmtree(tmp_path / folder)
    assert found[0] == found[1] and len(found[0]) == 4


def test_embeddings_of_crops_are_those_of_one_process_to_the_byte(on_ray, executor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embedding, "_opened", images_and_means)
    as_folder(Path("pictures"), {str(number): coloured(number) for number in range(20)})
    changes = {"data": {"source": "images", "images": "pictures"}, "mine_crops": {"batch_size": 8}}
    collect_images.run(params_with(changes))
    rows, boxes = np.arange(60) % 20, np.array([[0, 0, 2 + number % 3, 3] for number in range(60)])
    found = []
    for where in ({}, on_ray):
        with resumable("test") as work:
            found.append(embedding.embed_crops(params_with({**changes, **where}), Means(), rows, boxes, work))
    np.testing.assert_array_equal(*found)
    assert len(np.unique(found[0], axis=0)) == 60


# ---- A node that dies; the last test of the cluster


def raylet_of(node):
    """The process that starts a node's processes of shards."""
    from ray._private import ray_constants

    return node.all_processes[ray_constants.PROCESS_TYPE_RAYLET][0].process.pid


def kill(raylet):
    """End a node and its shards; it is stopped first, or it would start other processes for them."""
    os.kill(raylet, signal.SIGSTOP)
    for pid in [*children(raylet), raylet]:
        os.kill(pid, signal.SIGKILL)


def children(parent):
    stats = ((int(path.name), path / "stat") for path in Path("/proc").iterdir() if path.name.isdigit())
    return [
        pid for pid, stat in stats if stat.exists() and int(stat.read_text().rpartition(")")[2].split()[1]) == parent
    ]


def shards(count):
    return (Task(f"images {number}-{number}", (number,)) for number in range(count))


def begun(folder):
    """The nodes that began each shard, in their order."""
    where = defaultdict(list)
    for line in (folder / "log").read_text().splitlines():
        number, parent = map(int, line.split())
        where[number].append(parent)
    return where


def start_processes(executor, raylet, folder):
    """Compute shards until this node takes part: its first process may start late on a busy machine."""
    folder.mkdir()
    for _ in range(60):
        list(executor.map(counted, shards(4), folder))
        if any(raylet in some for some in begun(folder).values()):
            return
    pytest.fail("the second node computes nothing")


def waits(raylet, folder, fetched):
    """Whether a shard that this node began is still to be fetched; it has a moment to begin with one."""
    for _ in range(10):
        if any(raylet in some for number, some in begun(folder).items() if number >= fetched):
            return True
        time.sleep(0.05)
    return False


def test_a_dead_node_costs_its_own_shards_again_and_no_others(cluster, executor, tmp_path):
    found, dead, raylet = [], False, raylet_of(next(iter(cluster.worker_nodes)))
    start_processes(executor, raylet, tmp_path / "before")
    for result in executor.map(counted, shards(30), tmp_path):
        found.append(int(result[0]))
        if len(found) >= 9 and not dead and waits(raylet, tmp_path, len(found)):
            kill(raylet)
            dead = True
    assert found == list(range(30)) and dead
    where = begun(tmp_path)
    times = Counter(map(len, where.values()))
    again = {number for number, some in where.items() if len(some) > 1}
    assert times[1] + times[2] == 30 and 1 <= len(again) <= 6, where
    assert all(some[0] == raylet for number, some in where.items() if number in again)
    assert all(some[-1] != raylet for number, some in where.items() if number in again)


# ---- A cluster that is started for a stage

# A shell's background jobs, and what they start, ignore Ctrl-C unless told otherwise.
SCRIPT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from falcon_dvc.compute.executor import Task
from falcon_dvc.compute.resolve import executor_of
from falcon_dvc.params.load import load_params
params = load_params(sys.argv[1]).model_copy(update={"executor": "ray"})
with executor_of(params, "s") as executor:
    import ray
    assert list(executor.map(abs, [Task("a", (-1,)), Task("b", (-2,))])) == [1, 2]
    print(ray._private.worker._global_node.get_session_dir_path(), flush=True)
    list(executor.map(time.sleep, [Task("c", (600,))]))
"""


def processes_of(session):
    """Processes that name a folder in their command."""
    commands = (path / "cmdline" for path in Path("/proc").iterdir() if path.name.isdigit())
    return [path.parent.name for path in commands if session.encode() in _read(path)]


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_ctrl_c_ends_the_cluster_of_a_stage(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(ROOT / "params.yaml")]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAY_prestart_worker_first_driver": "0",
        "RAY_worker_niceness": "0",
    }
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE
    ) as run:
        session = run.stdout.readline().strip()
        assert session, run.communicate()[1]
        assert len(processes_of(session)) >= 2
        run.send_signal(signal.SIGINT)
        try:
            assert run.wait(60) != 0
        finally:
            run.kill()  # or leaving the block waits for it
        assert "KeyboardInterrupt" in run.stderr.read()
    deadline = time.monotonic() + 20
    while processes_of(session) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(session) == [] and not Path(session).exists()
