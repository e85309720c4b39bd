"""What the driver of a cluster does, with a stand-in for Ray that computes at once (tests/pipeline/test_ray.py has a real one)."""

import socket
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.compute import ray_cluster
from falcon_dvc.compute.executor import Task
from falcon_dvc.compute.ray_cluster import AHEAD, OnRay
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import read_yaml, validated
from tests.support.paths import ROOT


class RayError(Exception):
    pass


class FakeRay:
    """Notes how many results wait to be fetched at most, and what each task takes."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, *nodes):
        self._nodes, self.waiting, self.most, self.options = nodes, 0, 0, None

    def nodes(self):
        return [{"Alive": True, "Resources": has} for has in self._nodes]

    def cluster_resources(self):
        return {key: sum(has.get(key, 0) for has in self._nodes) for key in ("CPU", "GPU")}

    def put(self, thing):
        return thing

    def get(self, reference):
        self.waiting -= 1
        if isinstance(reference, RayError):
            raise reference
        return reference

    def remote(self, function):
        def submit(*arguments):
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            return function(*arguments)

        def options(**needs):
            self.options = needs
            return SimpleNamespace(remote=submit)

        return SimpleNamespace(options=options)


def tasks_of(numbers):
    return (Task(f"captions {number}-{number}", (number,)) for number in numbers)


def doubled(number):
    return 2 * number


@given(st.lists(st.integers(), max_size=40), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 2))
def test_results_come_in_order_and_few_are_under_way(numbers, nodes, cpus):
    ray = FakeRay(*({"CPU": float(count)} for count in nodes), {"CPU": 2.0})
    assert list(OnRay(ray, "s", cpus).map(doubled, tasks_of(numbers))) == [2 * number for number in numbers]
    assert ray.most == min(len(numbers), AHEAD * sum(count // cpus for count in [*nodes, 2]))


def test_a_gpu_is_taken_where_there_is_one_and_it_is_of_use():
    ray = FakeRay({"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0})
    for accelerated, gpus, most in ((True, 1, 2), (False, 0, 16)):
        ray.most = 0
        list(OnRay(ray, "s", 1).map(doubled, tasks_of(range(99)), accelerated=accelerated))
        assert ray.options["num_gpus"] == gpus and ray.most == AHEAD * most
    list(OnRay(FakeRay({"CPU": 1.0}), "s", 1).map(doubled, tasks_of([1]), accelerated=True))


def test_a_shard_that_fits_no_node_is_an_error_and_no_endless_wait():
    with pytest.raises(UserError, match=r"^ray\.cpus: no node of the cluster has 4 processor cores"):
        next(OnRay(FakeRay({"CPU": 3.0}, {"CPU": 3.0}, {}), "s", 4).map(doubled, tasks_of([1])))


def failing(number):
    if number == 2:
        raise ValueError("no number")
    return number


def test_a_poisoned_shard_is_named():
    found = OnRay(FakeRay({"CPU": 4.0}), "score_concepts", 1).map(failing, tasks_of(range(4)))
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(UserError, match=r"^score_concepts: captions 2-2: ValueError: no number$") as raised:
        next(found)
    assert "in failing" in str(raised.value.__cause__), "the traceback of the node"


def refusing(number):
    raise UserError("the file is bad")


def test_what_was_meant_for_the_user_stays_as_it_is():
    with pytest.raises(UserError, match=r"^the file is bad$"):
        list(OnRay(FakeRay({"CPU": 1.0}), "s", 1).map(refusing, tasks_of([1])))


def test_a_shard_whose_process_dies_again_and_again_is_named(monkeypatch):
    monkeypatch.setattr(ray_cluster, "on_node", lambda *_: RayError("its worker\n was killed"))
    with pytest.raises(UserError, match=r"^s: captions 7-7: RayError: its worker was killed$"):
        list(OnRay(FakeRay({"CPU": 1.0}), "s", 1).map(doubled, tasks_of([7])))


def test_a_node_without_the_project_says_so(tmp_path):
    found = ray_cluster.on_node(str(tmp_path / "nowhere"), doubled, (1,))
    assert "nowhere: not on the node" in str(found.user_error) and "same path" in str(found.user_error)


def params_with(**ray):
    return validated({**read_yaml(ROOT / "params.yaml"), "executor": "ray", "ray": ray})


@pytest.mark.parametrize("address", ["nonsense", "http://a:1", "a b:1", "a:b", ":1", "a:1\n"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match="address"):
        params_with(address=address)


@pytest.mark.parametrize("address", ["", "10.0.0.1:6379", "head.cluster:6379", "ray://head:10001", "[::1]:6379"])
def test_addresses_of_clusters(address):
    assert params_with(address=address).ray.address == address


def closed_port():
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return some.getsockname()[1]


def test_nobody_at_the_address_is_one_line():
    port = closed_port()
    with pytest.raises(UserError, match=rf"^ray\.address: nothing answers at 127\.0\.0\.1:{port} "):
        ray_cluster._check_address(f"127.0.0.1:{port}")


def test_something_else_at_the_address_is_one_line(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_cluster, "SECONDS", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"^ray\.address: what answers at {address} is no cluster"):
            ray_cluster._check_address(address)
