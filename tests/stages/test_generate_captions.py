"""Captions generated for the crops are a corpus: line by line the crops', read by the stages that read any other."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_json, read_table, write_array, write_table
from falcon_dvc.concepts.scoring.corpus import read_corpus
from falcon_dvc.params.load import merge, read_yaml, validated
from stages import build_caption_index, generate_captions, parse_captions
from tests.support.paths import ROOT
from tests.support.tiny_models import pictures
from tests.support.word_corpus import Words

BOXES = [[0, 0, 20, 20], [0, 0, 36, 40], [0, 0, 20, 20], [4, 4, 30, 30], [0, 0, 20, 20]]
IMAGES = ["i2", "i0", "i2", "i1", "i0"]


@pytest.fixture
def crops(tmp_path, monkeypatch):
    """Five crops of three images, the first and third of them the same."""
    monkeypatch.chdir(tmp_path)
    images = [f"i{row}" for row in range(3)]
    table = pd.DataFrame({"image": images, "split": "probe", "label": "", "width": 40, "height": 40})
    write_table(paths.IMAGES, table)
    write_table(paths.SCENES / "attributes.parquet", table[["image", "split"]])
    write_array(paths.SCENES / "images.npy", np.stack([np.resize(picture, (40, 40, 3)) for picture in pictures(3)]))
    boxes = pd.DataFrame(BOXES, columns=["left", "top", "right", "bottom"])
    write_table(paths.crops("supervised") / "crops.parquet", boxes.assign(image=IMAGES, group="f1"))


def params_of(**settings):
    content = read_yaml(ROOT / "params.yaml")
    merge(content, {"data": {"captions": "data/generated"}, "generate_captions": settings})
    return validated(content)


def lines(name="supervised"):
    return paths.generated(name).read_text(encoding="utf-8").split("\n")


@pytest.fixture
def sees(monkeypatch):
    """A captioner that writes down the height of what it sees, or what it is told to."""
    seen = []

    def captioner(write=lambda picture: f"a\u2028thing \nof  {picture.shape[0]} pixels "):
        def captions(batch):
            seen.append(len(batch))
            return [write(picture) for picture in batch]

        monkeypatch.setattr("falcon_dvc.captioner.load_captioner", lambda *_: SimpleNamespace(captions=captions))
        return seen

    return captioner


@pytest.mark.usefixtures("crops")
def test_line_i_is_about_row_i_and_equal_crops_are_seen_once(sees):
    seen = sees()
    generate_captions.run(params_of(batch_size=3), "supervised")
    assert lines() == [f"a thing of {height} pixels" for height in (20, 40, 20, 26, 20)] + [""]
    assert seen == [3, 1]
    counts = {"crops": 5, "different_crops": 4, "captions": 5, "different": 3, "empty": 0}
    counts["dropped_share"] = {"crops": 0.0}
    assert read_json(paths.metrics("generated_supervised")) == counts


@pytest.mark.usefixtures("crops")
def test_a_crop_without_a_caption_keeps_its_line(sees):
    sees(lambda picture: "" if picture.shape[0] == 40 else "x")
    generate_captions.run(params_of(), "supervised")
    assert lines() == ["x", "", "x", "x", "x", ""]
    metrics = read_json(paths.metrics("generated_supervised"))
    assert metrics["empty"] == 1 and metrics["dropped_share"] == {"crops": 0.2}


def test_captions_of_crops_are_a_corpus(crops, coca, monkeypatch):
    settings = {"name": "coca_tiny", "pretrained": "checkpoint", "checkpoint": coca, "max_length": 8}
    params = params_of(encoders=["supervised", "simclr"], batch_size=2, **settings)
    write_table(paths.crops("simclr") / "crops.parquet", read_table(paths.crops("supervised") / "crops.parquet")[::-1])
    for name in ("supervised", "simclr"):
        generate_captions.run(params, name)
    assert lines("simclr")[:5] == lines()[:5][::-1] and len(set(lines())) > 2
    monkeypatch.setattr(build_caption_index, "load_image_text", lambda *_: Words())
    build_caption_index.run(params)
    parse_captions.run(params)
    captions, corpus = read_table(paths.CAPTIONS / "captions.parquet"), read_corpus()
    assert len(captions) == len(read_array(paths.CAPTIONS / "embeddings.npy")) == len(set(lines()) - {""})
    assert read_json(paths.CAPTIONS / "index.json")["files"] == [
        "data/generated/simclr.txt",
        "data/generated/supervised.txt",
    ]
    # The file and the row of a caption say which crop it was made for.
    written = {0: lines("simclr"), 1: lines("supervised")}
    assert [written[file][row] for file, row in zip(captions["file"], captions["row"], strict=True)] == list(
        captions["text"]
    )
    assert corpus is not None


def test_whoever_is_captioned_is_an_encoder():
    with pytest.raises(
        ValueError, match=r"generate_captions\.encoders names the encoder 'moco'; known are: supervised"
    ):
        params_of(encoders=["moco"])
