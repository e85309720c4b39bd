"""Which images are explained and which are held out, whatever the source."""

import re

import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_table
from falcon_dvc.artifacts.summary import StageSummary
from falcon_dvc.errors import UserError
from falcon_dvc.params.schema import Params
from stages import collect_images
from stages.collect_images import OTHER_FORMATS
from tests.support.image_sources import as_folder, as_list, as_shards, data, every_source
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
def test_nothing_but_copies_of_one_image_is_said_beside_what_is_skipped(tmp_path, make, capsys):
    summary = run(make(tmp_path / "same", {**dict.fromkeys("abc", coloured(1)), "d": DAMAGED}, heldout=0.0))
    assert any(re.match("all 3 images are identical, .* data.images", line) for line in summary.lacking)
    assert any(re.match("only 3 images .* add images to data.images$", line) for line in summary.lacking)
    assert "skipped d.jpg: " in capsys.readouterr().out and summary.dropped["images"] == {
        "cannot be read": 1,
        OTHER_FORMATS: 0,
    }


def test_what_looks_like_a_picture_is_named_and_counted(tmp_path, capsys):
    given = as_folder(tmp_path / "phone", {"a": coloured(1), "b": coloured(2)})
    for name in ("1.HEIC", "2.heif", "d/3.hif", "x.jxl", "x.tar.gz", "notes.txt"):
        (tmp_path / "phone" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "phone" / name).touch()
    summary = run(given)
    assert summary.read == {"images": 6} and summary.dropped["images"] == {"cannot be read": 0, OTHER_FORMATS: 4}
    assert read_json(paths.metrics("images"))["skipped"] == 4
    assert capsys.readouterr().out.splitlines() == [
        "skipped 3 files (1.HEIC, 2.heif, d/3.hif): HEIF is not read; save as JPEG or PNG",
        "skipped x.jxl: JPEG XL is not read; save as JPEG or PNG",
        "note: x.tar.gz: archives are not opened; unpack them, or set data.source to webdataset for .tar files",
    ]
    with pytest.raises(UserError, match=r"^data\.images: 3 files \(1\.HEIC, .*HEIF is not read; save as JPEG or PNG"):
        run(given.model_copy(update={"unreadable": "fail"}))


def test_packed_shards_are_named_and_counted(tmp_path, capsys):
    given = as_shards(tmp_path / "shards", {"a": coloured(1), "b": coloured(2)})
    for name in ("1.tar.gz", "2.TGZ", "3.tar.zst", "4.zip"):
        (tmp_path / "shards" / name).touch()
    summary = run(given)
    assert summary.read == {"images": 2, "other files with images": 4}
    assert summary.dropped["other files with images"] == {OTHER_FORMATS: 4}
    assert capsys.readouterr().out.splitlines() == [
        "skipped 2 files (1.tar.gz, 2.TGZ): packed files are not read; unpack with `gzip -d`",
        "skipped 3.tar.zst: packed files are not read; unpack with `zstd -d`",
        "skipped 4.zip: packed files are not read; unpack with `unzip`, then set data.source to images",
    ]
