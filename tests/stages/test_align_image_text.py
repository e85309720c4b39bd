"""An encoder learned from pairs finds captions of new images; pairs that cannot teach it are refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.models.image_text import aligned
from falcon_dvc.models.image_text.load import load_image_text
from falcon_dvc.models.scenes.checkpoints import save_encoder
from falcon_dvc.models.scenes.small_resnet import SmallResNet
from falcon_dvc.params.schema import AlignedImageText
from stages import align_image_text
from tests.support.coloured_squares import COLOURS, ColourWords, pictures, write_captioned_squares
from tests.support.stage_params import params_of

COUNT = 60


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Sixty images with two captions each, and four other images that are explained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(aligned, "SentenceEncoder", ColourWords)
    monkeypatch.setattr(aligned, "folder_digest", str)
    write_captioned_squares(tmp_path / "taught", COUNT)
    (tmp_path / "explained").mkdir()
    for number, picture in enumerate(pictures(COUNT + 4)[COUNT:]):
        Image.fromarray(picture).save(tmp_path / "explained" / f"{number:02}.png")
    explained = [f"{number:02}.png" for number in range(4)]
    write_table(
        paths.IMAGES, pd.DataFrame({"image": explained, "split": "probe", "label": "", "width": 32, "height": 32})
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_encoder("tower.safetensors", SmallResNet(8, [16, 24], {"object": list(COLOURS)}), {})
    return tmp_path


def write_pairs(names):
    lines = [
        f"{name}\ta {list(COLOURS)[place % 3]} {thing}" for place, name in enumerate(names) for thing in ("box", "tile")
    ]
    Path("taught/pairs.tsv").write_text("\n".join(["image\tcaption", *lines]))


def params(**changes):
    alignment = {
        "pairs": "taught/pairs.tsv", "images": "taught", "sentences": "folder", "conse": 0.0,
        "towers": [{"kind": "scenes", "checkpoint": "tower.safetensors"}],
    }  # fmt: skip
    return params_of(
        {
            "data": {"source": "images", "images": "explained"},
            "image_text": {"allow_synthetic": True},
            "alignments": {"own": alignment | changes},
        }
    )


def test_it_finds_the_captions_of_images_that_did_not_teach_it(project):
    summary = align_image_text.run(params(), "own")
    metrics = read_json(paths.metrics("alignment_own"))
    assert (metrics["images"], metrics["captions"], metrics["heldout_images"]) == (60, 120, 12)
    assert set(metrics["retrieval"]) == {"map"}
    encoder = load_image_text(AlignedImageText(kind="aligned", checkpoint=str(paths.alignment("own"))))
    cosine = (
        encoder.embed_images(pictures(COUNT + 4)[COUNT:])
        @ encoder.embed_texts([f"a {name} wall" for name in COLOURS]).T
    )
    assert cosine.argmax(axis=1).tolist() == [0, 1, 2, 0]
    assert summary.read == {"images": 60, "captions": 120}


def test_the_same_bytes_again_and_another_seed_splits_otherwise(project):
    align_image_text.run(params(), "own")
    first = paths.alignment("own").read_bytes()
    align_image_text.run(params(), "own")
    assert paths.alignment("own").read_bytes() == first
    align_image_text.run(params(seed=1), "own")
    assert paths.alignment("own").read_bytes() != first


def test_permuted_captions_teach_nothing(project):
    rng = np.random.default_rng(0)
    source = rng.normal(size=(90, 4))
    split = align_image_text.split_images(90, 0.7, 0.1, rng)
    targets = aligned.unit(source @ rng.normal(size=(4, 3)))
    found = {}
    for name, order in (("own", np.arange(90)), ("permuted", rng.permutation(90))):
        pairs = align_image_text.Pairs(source**2 * np.sign(source), targets, order)
        alignment, _ = align_image_text.learn(pairs, split, (0.001, 0.1, 10.0), 1.0)
        cosine = (alignment(pairs.features) * alignment.texts(targets)).sum(axis=1)[split.heldout]
        found[name] = cosine.mean()
    assert found["own"] > 0.9 and found["own"] > found["permuted"] + 0.5


def test_with_conse_all_three_are_measured(project):
    align_image_text.run(params(conse=0.5, top=1), "own")
    metrics = read_json(paths.metrics("alignment_own"))
    assert set(metrics["retrieval"]) == set(metrics["retrieval_without_hubs"]) == {"map", "conse", "both"}
    assert aligned.load_alignment(paths.alignment("own"))[1]["conse"] == 0.5


def test_explained_images_are_refused(project):
    picture = Image.open("taught/images/07.png").resize((45, 45))
    picture.save("explained/02.png")
    with pytest.raises(UserError, match=r"own\.pairs: 1 of its images .*\(images/07\.png is 02\.png\); remove them"):
        align_image_text.run(params(), "own")
    assert not paths.alignment("own").exists()


def test_images_that_cannot_be_read_are_counted(project, capsys):
    (project / "taught/images/03.png").write_text("no picture")
    (project / "taught/images/04.png").unlink()
    summary = align_image_text.run(params(), "own")
    assert summary.dropped == {"images": {"cannot be read": 2}} and summary.read["images"] == 60
    assert "skipped images/03.png" in capsys.readouterr().out


def test_names_that_start_from_another_folder_are_one_line(project):
    with pytest.raises(
        UserError, match=r"alignments\.own: 0 images of .* check that the names in the table start from"
    ):
        align_image_text.run(params(images="taught/images"), "own")
    write_pairs(["images/../../explained/00.png"] * 30)
    with pytest.raises(UserError, match="0 images of"):
        align_image_text.run(params(), "own")
