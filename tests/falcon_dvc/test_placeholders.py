"""Files that stand in the place of others are named wherever the project reads files of users."""

import io
from pathlib import Path

import pytest
from PIL import Image

from falcon_dvc.captions.formats import open_captions
from falcon_dvc.cli.recipe.request import class_names
from falcon_dvc.embeddings import open_embeddings
from falcon_dvc.errors import UserError
from falcon_dvc.images.open import list_source
from falcon_dvc.models.encoders.heads import read_head
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.image_text.load import load_image_text
from falcon_dvc.params.feature_file import read_feature_file
from falcon_dvc.params.inputs import check_inputs
from falcon_dvc.params.load import merge
from falcon_dvc.placeholders import placeholder
from tests.support.stage_params import params_of

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><title>Sign in</title>"
INSTEAD = {"a pointer of Git LFS": LFS, "a web page": PAGE}


def captions(path):
    return open_captions(params_of({"data": {"captions": path}}).data)


def pictures(source, images, **more):
    data = {"source": source, "images": images, "captions": "captions.txt", **more}
    return list_source(params_of({"image_text": {"allow_synthetic": True}, "data": data}).data)


def encoder(path):
    return load_encoder(params_of({"encoders": {"simclr": {"kind": "scenes", "checkpoint": path}}}).encoders["simclr"])


def image_text(path):
    return load_image_text(params_of({"image_text": {"kind": "open_clip", "checkpoint": path}}).image_text)


READERS = {
    "captions": ("c.txt", captions),
    "a table of captions": ("c.csv", captions),
    "a parquet file of captions": ("c.parquet", captions),
    "a folder of captions": ("corpus/part2.parquet", lambda path: captions("corpus")),
    "captions of LAION": ("corpus/metadata/metadata_0.parquet", lambda path: captions("corpus")),
    "embeddings": ("e.npy", open_embeddings),
    "embeddings as safetensors": ("e.safetensors", open_embeddings),
    "a picture": ("i/a.jpg", lambda path: pictures("images", "i")),
    "a shard": ("i/00000.tar", lambda path: pictures("webdataset", "i")),
    "a table of pictures": ("i.parquet", lambda path: pictures("parquet", path)),
    "a list": ("i/list.csv", lambda path: pictures("list", "i", list="list.csv")),
    "a head": ("h.npz", read_head),
    "a head of torch": ("h.pth", read_head),
    "an encoder of this project": ("x.safetensors", encoder),
    "an image-text encoder of this project": ("x.safetensors", image_text),
    "features": ("f.txt", lambda path: read_feature_file(Path(path))),
    "class names": ("names.txt", class_names),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("what", INSTEAD)
@pytest.mark.parametrize("name", READERS)
def test_every_reader_names_what_lies_in_a_file_s_place(name, what):
    path, read = READERS[name]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(INSTEAD[what])
    with pytest.raises(UserError, match=f"{Path(path).name}.*is {what}.*, not the file itself") as stop:
        read(path)
    assert "\n" not in str(stop.value)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"data": {"captions": "x"}}, "data.captions"),
        (
            {"encoders": {"simclr": {"kind": "timm", "name": "test_resnet", "checkpoint": "x"}}},
            "encoders.simclr.checkpoint",
        ),
        ({"image_text": {"kind": "open_clip", "checkpoint": "x"}}, "image_text.checkpoint"),
        ({"encoders": {"simclr": {"checkpoint": "folder"}}}, "encoders.simclr.checkpoint"),
    ],
)
def test_the_check_before_all_stages_names_the_param(changes, param, folder):
    (folder / "folder").mkdir()
    for name in ("x", "folder/model.safetensors"):
        (folder / name).write_bytes(LFS)
    for name in ("c.txt", "y"):
        (folder / name).write_bytes(b"a cat\n")
    good = {"images": "folder", "captions": "c.txt"}
    encoders = {key: {"checkpoint": "y"} for key in ("supervised", "simclr")} | {
        "untrained_1": None,
        "untrained_2": None,
    }
    given = {"worlds": [], "train": {"supervised": None, "simclr": None}, "data": good, "encoders": encoders}
    given |= {"image_text": {"checkpoint": "y", "allow_synthetic": True}}
    merge(given, changes)
    with pytest.raises(UserError, match=rf"^params\.yaml: {param}: .*is a pointer of Git LFS.*git lfs pull"):
        check_inputs(params_of(given))


def test_a_missing_file_of_this_project_is_named_with_its_param():
    with pytest.raises(UserError, match=r"^encoders\.checkpoint: x\.safetensors: not found; give the path"):
        encoder("x.safetensors")
    with pytest.raises(UserError, match=r"^image_text\.checkpoint: x\.safetensors: not found"):
        image_text("x.safetensors")
    with pytest.raises(UserError, match=r"^encoders\.head: h\.npz: not found"):
        read_head("h.npz")


def test_a_picture_among_others_is_left_out_with_the_reason(folder):
    (folder / "i").mkdir()
    Image.new("RGB", (4, 4)).save("i/a.png")
    Path("i/b.png").write_bytes(LFS)
    found = pictures("images", "i", unreadable="skip")
    assert (
        len(found.table) == 1
        and "b.png: cannot be decoded (not an image in a known format: is a pointer of Git LFS" in found.skipped[0]
    )


def test_other_files_are_none():
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    for start in (
        b"",
        b"a cat\n",
        b"version 2 of a caption\n",
        b"caption\n<html>\n",
        picture.getvalue(),
        b"PK\x03\x04",
        b"outs",
    ):
        assert placeholder(start) is None
