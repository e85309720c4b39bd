"""What large runs take, worked out from measured rates."""

import pytest

from benchmarks import scale
from benchmarks.scale import Machine, Step
from falcon_dvc.artifacts.formats import read_json


def test_a_stage_takes_the_longest_of_computing_reading_and_gathering():
    machine = Machine(cores=10, memory_gb=64, network_gb=1, store_gb=5, price=1)
    computing = Step("a", 36_000 * 10, 10, 1, None, 1)
    assert computing.hours(1, machine) == 10 and computing.hours(8, machine) == 10 / 8
    assert Step("a", 1, 36_000, 1, None, 1).hours(1, machine) == 10, "one node's network"
    assert Step("a", 1, 36_000, 1, None, 1).hours(64, machine) == 2, "the file system of all"
    assert Step("a", 1, 1, 36_000, None, 1).hours(64, machine) == 10, "what comes back to one process"


def test_a_stage_without_shards_gains_nothing_from_more_nodes():
    alone = Step("a", 2 * 3600, 0, 0, 2, 1)
    assert alone.hours(1, Machine()) == alone.hours(64, Machine()) == 1


def test_a_table_says_what_does_not_fit():
    text = "\n".join(scale.rows("Title", [Step("`a`", 3600, 1, 1, 2, 65), Step("`b`", 3600, 1, 1, 2, 63)], Machine()))
    assert text.count("does not fit") == 1 and "65 GB **(does not fit)**" in text


def test_the_committed_tables_are_of_the_committed_rates():
    page = scale.PAGE.read_text(encoding="utf-8")
    found = page.split(scale.BEGIN)[1].split(scale.END)[0].strip()
    assert found == scale.tables().strip()


def test_the_page_on_imagenet_tells_the_committed_rates():
    page = (scale.ROOT / "docs" / "imagenet.md").read_text(encoding="utf-8")
    encoded = read_json(scale.FOLDER / "rates.json")["per_second"]
    stages = read_json(scale.ROOT / "reports" / "reliability" / "load.json")["stages"]
    search = read_json(scale.FOLDER / "speed.json")["captions"]["ours"]["seconds"]
    assert f"{encoded['resnet50 (torchvision), features and maps']:.1f} images a second" in page
    assert f"{encoded['ViT-B-32 (open_clip), images']:.1f} crops a second" in page
    assert f"{stages['parse_captions']['seconds']:.0f} s a million captions" in page
    assert f"{search:.1f} s for 1000 crops and a million captions" in page


@pytest.mark.parametrize("nodes", scale.NODES)
def test_twice_the_rate_is_half_the_time_of_what_computes(nodes):
    machine = Machine(network_gb=1e9, store_gb=1e9)
    one, other = (Step("a", seconds, 1, 1, None, 1).hours(nodes, machine) for seconds in (2e6, 1e6))
    assert one == pytest.approx(2 * other)
