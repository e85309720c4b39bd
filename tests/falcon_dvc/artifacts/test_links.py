"""Links into the cache of this DVC project are followed, wherever it lies; all other links out of a folder are named and refused."""

import re
from pathlib import Path

import numpy as np
import pytest

from falcon_dvc.artifacts.links import leads_out, where_to
from falcon_dvc.captions.formats import open_captions, open_given
from falcon_dvc.errors import UserError
from falcon_dvc.images.listing import list_images
from tests.support.caption_files import data as captions
from tests.support.caption_files import rows_for, texts_of
from tests.support.image_sources import as_list, as_shards, as_structs
from tests.support.sample_images import coloured

HASHED = "files/md5/ab/" + "c" * 30


def project(folder: Path, cache: str = "") -> Path:
    """A DVC project; return its cache."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text(f"[cache]\n    dir = {cache}\n" if cache else "")
    return folder / ".dvc" / (cache or "cache")


def link(place: Path, cached: Path) -> None:
    """Move a file into a cache and leave a link, as DVC does with ``cache.type symlink``."""
    cached.parent.mkdir(parents=True)
    place.rename(cached)
    place.symlink_to(cached)


@pytest.mark.parametrize("cache", ["", "../../shared", "../elsewhere/cache"])
def test_a_link_into_the_own_cache_is_followed(tmp_path, monkeypatch, cache):
    cached = project(tmp_path / "p", cache) / HASHED
    (tmp_path / "p" / "images").mkdir()
    (tmp_path / "p" / "images" / "a.png").write_bytes(coloured(1))
    link(tmp_path / "p" / "images" / "a.png", cached)
    monkeypatch.chdir(tmp_path / "p")
    assert list_images("images", "fail").table["image"].tolist() == ["a.png"]


def test_a_run_with_a_profile_follows_links_into_the_cache_that_it_shares(tmp_path, monkeypatch):
    cached = project(tmp_path / "p") / HASHED
    project(tmp_path / "p" / "runs" / "mine", "../../../.dvc/cache")
    (tmp_path / "p" / "images").mkdir()
    (tmp_path / "p" / "images" / "a.png").write_bytes(coloured(1))
    link(tmp_path / "p" / "images" / "a.png", cached)
    monkeypatch.chdir(tmp_path / "p" / "runs" / "mine")
    assert list_images("../../images", "fail").table["image"].tolist() == ["a.png"]


@pytest.mark.parametrize("make", [as_list, as_structs, as_shards], ids=lambda make: make.__name__)
def test_every_source_follows_them(tmp_path, monkeypatch, make):
    from falcon_dvc.images.open import list_source

    cached = project(tmp_path) / "files" / "md5"
    given = make(tmp_path / "data", {"a": coloured(1)})
    files = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    for number, file in enumerate(file for file in files if file.is_file()):
        link(file, cached / f"{number:02}" / ("d" * 30))
    monkeypatch.chdir(tmp_path)
    assert len(list_source(given).table) == 1


def test_captions_and_their_embeddings_follow_them(tmp_path, monkeypatch):
    cached = project(tmp_path) / "files" / "md5"
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.txt").write_text("a boat\n")
    np.save(corpus / "e.npy", rows_for("a boat"))
    link(corpus / "a.txt", cached / "aa" / ("0" * 30))
    link(corpus / "e.npy", cached / "bb" / ("0" * 30))
    monkeypatch.chdir(tmp_path)
    assert texts_of(corpus) == ["a boat"]
    given = captions(corpus, caption_embeddings="e.npy")
    assert open_given(given, open_captions(given), lambda: rows_for("a boat").shape[1]) is not None


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("other/.dvc/cache/" + HASHED, r"cache\.type hardlink,copy` and `dvc checkout --relink"),
        ("p/.dvc/cache/../../secret.png", "leads out of the folder$"),
        ("p/.dvc/config", "leads out of the folder$"),
        ("p/.dvc/cache/secret.png", "leads out of the folder$"),
    ],
)
def test_other_links_are_refused(tmp_path, monkeypatch, target, words):
    project(tmp_path / "p")
    (tmp_path / "p" / ".dvc" / "cache").mkdir()
    (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / target).write_bytes(coloured(1))
    images = tmp_path / "p" / "images"
    images.mkdir()
    (images / "a.png").symlink_to(tmp_path / target)
    monkeypatch.chdir(tmp_path / "p")
    assert leads_out(images / "a.png", images)
    with pytest.raises(UserError, match="leads out of the folder") as stop:
        list_images("images", "fail")
    assert re.search(words, str(stop.value).partition("; remove")[0]), stop.value
    assert bool(where_to(images / "a.png")) == ("relink" in words)


def test_a_folder_from_others_cannot_declare_a_cache(tmp_path, monkeypatch):
    project(tmp_path / "images", str(tmp_path / "secrets"))
    secret = tmp_path / "secrets" / HASHED
    secret.parent.mkdir(parents=True)
    secret.write_bytes(coloured(1))
    (tmp_path / "images" / "a.png").symlink_to(secret)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="leads out of the folder"):
        list_images("images", "skip")
