"""Which images are explained and which are held out, whatever the source."""

import re

import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.errors import UserError
from falcon_dvc.params.schema import Params
from stages import collect_images
from tests.support.image_sources import as_folder, as_list, data, every_source
from tests.support.sample_images import DAMAGED, coloured


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    """The outputs go to a folder of their own."""
    monkeypatch.chdir(tmp_path)


def run(data) -> StageSummary:
    return collect_images.run(Params.model_construct(data=data, seed=0))


def collected(data) -> dict[str, str]:
    """Run the stage; give the split of each image."""
    run(data)
    table = read_table(paths.IMAGES)
    assert list(table.columns) == ["image", "split", "label", "width", "height"]
    return dict(zip(table["image"], table["split"], strict=True))


@every_source
def test_a_share_is_held_out_of_every_source(tmp_path, make):
    pictures = {f"{red:02}": coloured(red) for red in range(10)}
    splits = list(collected(make(tmp_path / "all", pictures, heldout=0.3)).values())
    assert splits == list(collected(as_folder(tmp_path / "folder", pictures, heldout=0.3)).values())
    assert sorted(splits) == ["probe"] * 7 + ["test"] * 3


def test_the_splits_of_the_source_win(tmp_path):
    data = as_list(tmp_path / "all", {"a": coloured(1), "b": coloured(2), "c": DAMAGED}, heldout=0.9)
    (tmp_path / "all" / "images.csv").write_text("image,split\nb.jpg,test\nc.jpg,test\na.jpg,probe\n")
    assert collected(data) == {"a.jpg": "probe", "b.jpg": "test"}
    assert read_json(paths.metrics("images")) == {
        "images": 2,
        "probe": 1,
        "test": 1,
        "skipped": 1,
        "grey": 2,
        "dropped_share": {"images": 0.3333},
        "dropped_more_than_1_percent": 1,
    }


def test_poor_images_are_said_in_a_line_each(tmp_path):
    (tmp_path / "pictures").mkdir()
    as_folder(tmp_path / "pictures" / "cats", {"a": coloured(1), "b": coloured(2), "c": coloured(1), "d": DAMAGED})
    said = run(data("images", tmp_path / "pictures", heldout=0.4)).lacking
    expected = (
        "1 of 4 images cannot be read",
        "only 2 images can explain features, .* lower data.heldout, which holds out 1",
        "1 of 3 images repeat another one",
        "3 of 3 images are grey-scale",
        "all images are of one class",
    )
    assert len(said) == len(expected)
    assert all(re.match(words, sentence) for words, sentence in zip(expected, said, strict=True)), said


@pytest.mark.parametrize("make", [as_folder, as_list])
def test_nothing_but_copies_of_one_image_is_refused(tmp_path, make):
    with pytest.raises(UserError, match=r"data\.images: all 3 images in .* are identical"):
        run(make(tmp_path / "same", dict.fromkeys("abc", coloured(1))))
    assert not paths.IMAGES.exists()
