"""Files between stages that were damaged or exchanged: the stage that reads them names the file and says how to mend it.

And empty everything: the first stage that comes to nothing says so.
"""

import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from falcon_dvc.artifacts.formats import read_array, write_array, write_table
from falcon_dvc.concepts.scoring.corpus import read_corpus
from falcon_dvc.evaluation.whole_images import read_whole_images
from stages import (
    build_caption_index,
    collect_images,
    decide_explained,
    find_groups,
    measure_faithfulness,
    parse_captions,
    score_concepts,
)
from tests.support.outcomes import Refused, Row, assert_refused, each
from tests.support.pickles import Explodes
from tests.support.sample_images import coloured
from tests.support.stage_params import params_of
from tests.support.word_corpus import CAPTIONS, Words, crops, write_groups, write_image_captions

IMAGES, FEATURES = "data/images.parquet", "data/activations/e/features.npy"
GROUPS, CROPS, EMBEDDINGS = "data/groups/e/groups.parquet", "data/crops/e/crops.parquet", "data/crops/e/embeddings.npy"
TEXTS, VECTORS, INDEX, MENTIONS = (
    "data/captions/captions.parquet",
    "data/captions/embeddings.npy",
    "data/captions/index.json",
    "data/mentions.parquet",
)
ACTIVATIONS, REFERENCES = "data/groups/e/activations.npy", "data/references/e.npy"
FAITHFULNESS = "data/faithfulness/e.parquet"
OF_IMAGES, WEIGHTS, VECTORS_OF_WORDS, WORDS_OF_IMAGES = (
    f"data/image_captions/{name}" for name in ("captions.npy", "weights.npy", "words.npy", "words.parquet")
)
PICTURES = "data/image_embeddings/embeddings.npy"
SETTINGS = {
    "measure_faithfulness": {"bootstrap": 10},
    "data": {"source": "images", "images": "images", "captions": "c.txt"},
    "find_groups": {"rule": "top_k", "top_k": 6, "min_images": 4},
    "concepts": {"ranking": "score"},
    "encoders": {"e": {"kind": "scenes", "checkpoint": "c"}},
}


def of_groups():
    find_groups.run(params_of(SETTINGS), "e")


def of_concepts():
    score_concepts.run(params_of(SETTINGS), "e")


def of_mentions():
    parse_captions.run(params_of(SETTINGS))


def of_faithfulness():
    measure_faithfulness.run(params_of(SETTINGS), "e")


def of_verdicts():
    only = dict.fromkeys(("supervised", "simclr", "untrained_1", "untrained_2"))
    without = {
        "train": {"supervised": None, "simclr": None},
        "failures": {"encoders": []},
        "ablate_features": {"encoders": []},
    }
    pairs = {"transfers": {"supervised_to_simclr": None, "simclr_to_supervised": None}}
    decide_explained.run(params_of(SETTINGS | {"encoders": only | SETTINGS["encoders"]} | without | pairs))


def of_whole_images():
    """What `evaluate_concepts` reads beside."""
    read_whole_images(read_corpus())


def of_images():
    collect_images.run(params_of(SETTINGS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Artefacts as the stages leave them."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "images").mkdir()
        for number in range(20):
            (folder / "images" / f"{number:02}.png").write_bytes(coloured(number))
        of_images()
        write_array(FEATURES, np.random.default_rng(0).random((20, 8), dtype=np.float32))
        (folder / "c.txt").write_text("\n".join(CAPTIONS))
        build_caption_index.build(params_of(SETTINGS), Words)
        of_mentions()
        write_groups(crops())
        of_concepts()
        write_image_captions()
        write_array(ACTIVATIONS, read_array(FEATURES))
        write_array(REFERENCES, np.random.default_rng(0).random((2, 10, 8), dtype=np.float32))
        of_faithfulness()
    return folder


def cut(path: Path) -> None:
    """The first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def gone(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def text(path: Path) -> None:
    path.write_text("<<<<<<< HEAD\n")


def zeroed(path: Path) -> None:
    """As a crash of the machine leaves what was not yet on the disk."""
    path.write_bytes(bytes(path.stat().st_size))


def without(*columns: str):
    return lambda path: write_table(path, pd.read_parquet(path).drop(columns=list(columns)))


def rows(start: int, end: int):
    return lambda path: write_table(path, pd.read_parquet(path).iloc[start:end])


def array(change):
    def damage(path: Path) -> None:
        file = io.BytesIO()
        np.save(file, change(np.load(path)), allow_pickle=True)
        path.write_bytes(file.getvalue())

    return damage


def pickled(path: Path) -> None:
    np.save(path, np.array([Explodes()], dtype=object), allow_pickle=True)


def tabled(change):
    """A parquet file whose table is another."""
    return lambda path: pq.write_table(change(pq.read_table(path)), path)


def refused(name: str, words: str = "") -> Refused:
    """The line must name the file and the command that makes it again."""
    return Refused(rf"{name}.*{words}.*dvc repro")


ROWS = [
    # What `find_groups` reads.
    *(Row(f"images.parquet {damage.__name__}", (of_groups, IMAGES, damage), refused(IMAGES)) for damage in (cut, emptied, gone, folder, text, zeroed)),
    Row("images.parquet without a column", (of_groups, IMAGES, without("split")), refused(IMAGES, "no column 'split'")),
    Row("images.parquet of fewer rows", (of_groups, IMAGES, rows(0, 15)), refused(FEATURES, "20 rows.* 15 in data/images.parquet")),
    Row("images.parquet of no rows", (of_groups, IMAGES, rows(0, 0)), refused(FEATURES, "20 rows.* 0 in data/images.parquet")),
    *(Row(f"features.npy {damage.__name__}", (of_groups, FEATURES, damage), refused(FEATURES)) for damage in (cut, emptied, gone, folder, text, zeroed, pickled)),
    Row("features.npy of fewer rows", (of_groups, FEATURES, array(lambda a: a[:9])), refused(FEATURES, "9 rows.* 20 in data/images.parquet")),
    Row("features.npy of more rows", (of_groups, FEATURES, array(lambda a: np.vstack([a, a]))), refused(FEATURES, "40 rows.* 20 in data/images.parquet")),
    Row("features.npy of one dimension", (of_groups, FEATURES, array(np.ravel)), refused(FEATURES, r"float32 of shape \(160,\), not rows of numbers")),
    Row("features.npy of three dimensions", (of_groups, FEATURES, array(lambda a: a[:, :, None])), refused(FEATURES, r"float32 of shape \(20, 8, 1\)")),
    Row("features.npy of text", (of_groups, FEATURES, array(lambda a: a.astype(str))), refused(FEATURES, "not rows of numbers")),
    # What `score_concepts` reads.
    *(Row(f"{path} {damage.__name__}", (of_concepts, path, damage), refused(path)) for path in (GROUPS, CROPS, EMBEDDINGS, TEXTS, VECTORS, INDEX, MENTIONS) for damage in (cut, gone)),
    Row("groups.parquet without a column", (of_concepts, GROUPS, without("group")), refused(GROUPS, "no column 'group'")),
    Row("crops.parquet without a column", (of_concepts, CROPS, without("role")), refused(CROPS, "role")),
    Row("crops.parquet of fewer rows", (of_concepts, CROPS, rows(0, 9)), refused(EMBEDDINGS, "40 rows.* 9 in data/crops/e/crops.parquet")),
    Row("embeddings.npy of fewer rows", (of_concepts, EMBEDDINGS, array(lambda a: a[:9])), refused(EMBEDDINGS, "9 rows.* 40 in")),
    Row("embeddings.npy of another width", (of_concepts, EMBEDDINGS, array(lambda a: a[:, :5])), refused(EMBEDDINGS, "width 5")),
    Row("captions.parquet without a column", (of_concepts, TEXTS, without("caption")), refused(TEXTS, "caption")),
    Row("captions.parquet of fewer rows", (of_concepts, TEXTS, rows(0, 9)), Refused("data/captions: 9 captions but 192 embeddings; run .dvc repro")),
    Row("mentions.parquet without a column", (of_concepts, MENTIONS, without("concept")), refused(MENTIONS, "concept")),
    Row("mentions.parquet of numbers", (of_concepts, MENTIONS, tabled(lambda t: t.set_column(2, "concept", pa.array(range(len(t)))))), refused(MENTIONS, "concept")),
    Row("index.json that is a list", (of_concepts, INDEX, lambda path: path.write_text("[]")), refused(INDEX)),
    Row("index.json without a key", (of_concepts, INDEX, lambda path: path.write_text("{}")), refused(INDEX, "image_text")),
    Row("index.json nested too deep", (of_concepts, INDEX, lambda path: path.write_text("[" * 100_000)), refused(INDEX)),
    Row("index.json in UTF-16", (of_concepts, INDEX, lambda path: path.write_text("{}", encoding="utf-16")), refused(INDEX)),
    *(Row(f"captions.parquet {damage.__name__}, parsed", (of_mentions, TEXTS, damage), refused(TEXTS)) for damage in (cut, gone)),
    Row("captions.parquet without a text, parsed", (of_mentions, TEXTS, without("text")), refused(TEXTS, "text")),
    # What `measure_faithfulness` reads, `evaluate_concepts` of whole images, and `decide_explained`.
    *(Row(f"{path} {damage.__name__}", (of_faithfulness, path, damage), refused(path)) for path in (OF_IMAGES, WEIGHTS, REFERENCES, ACTIVATIONS) for damage in (cut, gone, pickled)),
    *(Row(f"{path} {damage.__name__}", (of_whole_images, path, damage), refused(path)) for path in (PICTURES, VECTORS_OF_WORDS, WORDS_OF_IMAGES) for damage in (cut, gone)),
    *(Row(f"{path} of fewer rows", (of_whole_images, path, array(lambda a: a[:9])), refused(path, "9 rows.* 20 in data/images.parquet")) for path in (OF_IMAGES, WEIGHTS, PICTURES)),
    Row("captions of images of one dimension", (of_faithfulness, OF_IMAGES, array(np.ravel)), refused(OF_IMAGES, "not rows of numbers")),
    Row("captions of images that the corpus lacks", (of_faithfulness, OF_IMAGES, array(lambda a: a + 9999)), refused(OF_IMAGES, "a caption that is not in data/captions")),
    Row("weights of other captions", (of_faithfulness, WEIGHTS, array(lambda a: a[:, :2])), refused(WEIGHTS, r"shape \(20, 2\), but captions.npy \(20, 3\)")),
    Row("words.npy of fewer words", (of_whole_images, VECTORS_OF_WORDS, array(lambda a: a[:3])), refused(VECTORS_OF_WORDS, "3 rows, but .* in data/image_captions/words.parquet")),
    Row("words.npy of another encoder", (of_whole_images, VECTORS_OF_WORDS, array(lambda a: a[:, :3])), refused(VECTORS_OF_WORDS, "rows of width 3, but those of images")),
    Row("words.parquet without a column", (of_whole_images, WORDS_OF_IMAGES, without("concept")), refused(WORDS_OF_IMAGES, "no column 'concept'")),
    Row("words.parquet of another corpus", (of_whole_images, WORDS_OF_IMAGES, tabled(lambda t: t.set_column(0, "concept", pa.array([999] * len(t))))), refused(WORDS_OF_IMAGES, "a concept that is not in data/mentions.parquet")),
    Row("references of other images", (of_faithfulness, REFERENCES, array(lambda a: a[:, :9])), refused(REFERENCES, r"shape \(2, 9, 8\), not copies x 10 held-out images and 8 features")),
    Row("references of other features", (of_faithfulness, REFERENCES, array(lambda a: a[:, :, :7])), refused(REFERENCES, r"shape \(2, 10, 7\), not copies x")),
    Row("references of one copy alone", (of_faithfulness, REFERENCES, array(lambda a: a[0])), refused(REFERENCES, "not copies x")),
    Row("references of text", (of_faithfulness, REFERENCES, array(lambda a: a.astype(str))), refused(REFERENCES, "not copies x")),
    Row("activations.npy of fewer rows", (of_faithfulness, ACTIVATIONS, array(lambda a: a[:9])), refused(ACTIVATIONS, "9 rows.* 20 in data/images.parquet")),
    *(Row(f"faithfulness {damage.__name__}", (of_verdicts, FAITHFULNESS, damage), refused(FAITHFULNESS)) for damage in (cut, emptied, gone)),
    *(Row(f"faithfulness without {column}", (of_verdicts, FAITHFULNESS, without(column)), refused(FAITHFULNESS, column)) for column in ("group", "kind", "pearson", "level")),
    # Empty everything.
    Row("no group", (of_concepts, GROUPS, rows(0, 0)), refused(GROUPS, "lacks groups that have crops")),
    Row("no mention", (of_concepts, MENTIONS, rows(0, 0)), refused(MENTIONS, "no concept")),
    Row("no caption", (of_concepts, TEXTS, rows(0, 0)), Refused("data/captions: 0 captions but 192 embeddings; run .dvc repro")),
    Row("no image to explain", (of_groups, IMAGES, lambda path: write_table(path, pd.read_parquet(path).assign(split="test"))), Refused("encoders.e: no image is explained, all are held out; lower data.heldout")),
    Row("one image to explain", (of_groups, IMAGES, lambda path: write_table(path, pd.read_parquet(path).assign(split=["probe"] + ["test"] * 19))), Refused("encoders.e: only 1 of the images can explain features, fewer than find_groups.min_images \\(4\\); add")),
    Row("no features", (of_groups, FEATURES, array(lambda a: a[:, :0])), refused(FEATURES, "no feature")),
    Row("features that never fire", (of_groups, FEATURES, array(np.zeros_like)), Refused("encoders.e: all 8 features are constant on the 10 explained images")),
    Row("a folder without images", (of_images, "images", lambda path: (shutil.rmtree(path), path.mkdir())), Refused("data.images: no images under images .*; point data.images at")),
    Row("a folder of broken images", (of_images, "images", lambda path: [emptied(one) for one in path.iterdir()]), Refused("data.images: none of the 20 images in images can be read .*; point data.images at")),
]  # fmt: skip


@each(ROWS)
def test_artefacts(row, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    stage, path, damage = row.make
    damage(Path(path))
    before = snapshot()
    assert_refused(row.expected.words, stage)
    assert snapshot() == before
    assert not Path("exploded").exists()


def snapshot() -> dict[str, bytes]:
    """Every file here: a stage that stops leaves all as it was."""
    return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}
