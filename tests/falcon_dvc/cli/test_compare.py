"""Two revisions compared: from git, from DVC's cache, from an experiment, from the working tree."""

import base64
import hashlib
import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from falcon_dvc.cli import compare
from falcon_dvc.compare.revisions import open_revision
from falcon_dvc.errors import UserError
from tests.support import revision_artifacts as made


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder, before = tmp_path_factory.mktemp("repository"), Path.cwd()
    os.chdir(folder)
    try:
        made.make_repository()
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def inside(repository, monkeypatch):
    monkeypatch.chdir(repository)
    return repository


@pytest.fixture
def copy(repository, tmp_path, monkeypatch):
    """A copy of the repository that a test may spoil."""
    shutil.copytree(repository, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def sides(old, new):
    return open_revision(old), open_revision(new)


def shade(uri):
    """Grey level in the middle of the crop of a picture."""
    picture = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")
    return int(np.asarray(picture)[20, 20, 0])


def test_two_commits(inside):
    found = compare.compare(sides("one", "two"), 50)
    assert [(some.name, some.old, some.new) for some in found.params] == [("concepts.contrast", "relative", "prior")]
    assert [(some.label, some.verdict) for some in found.metrics] == [("features", "bare"), ("all top1", "noise")]
    (encoder,) = found.encoders
    (change,) = encoder.changes
    assert (change.group, change.first_changed, change.close) == ("f0", True, True)
    assert (encoder.same, encoder.appeared, encoder.gone) == (1, ["f2"], [])
    assert found.lacking == []


@pytest.mark.parametrize(("old", "new", "shades"), [("one", "two", (60, 200)), ("workspace", "one", (200, 60))])
def test_pictures_of_both_revisions(inside, old, new, shades):
    found = compare.compare(sides(old, new), 50)
    pictures = found.encoders[0].changes[0].pictures
    assert [len(some) for some in pictures] == [2, 2]
    assert [shade(some[0]) for some in pictures] == pytest.approx(shades, abs=3)


def test_an_experiment_by_name_and_by_reference(inside):
    found = compare.compare(sides("one", "trial"), 50)
    (change,) = found.encoders[0].changes
    assert change.new[0].concept == "ship" and change.close is False
    assert shade(change.pictures[1][0]) == pytest.approx(120, abs=3)
    assert {some.label: some.verdict for some in found.metrics}["all top1"] == "beyond"
    (reference,) = [str(path.relative_to(".git")) for path in Path(".git/refs/exps").rglob("trial")]
    assert compare.compare(sides("one", reference), 0).encoders[0].changes[0].new[0].concept == "ship"


def fingerprint(folder):
    """Every file of the working tree, git's index too, and its content."""
    passed = {"tmp", "compare"}
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not passed & set(path.relative_to(folder).parts)
    }


def test_nothing_but_the_page_is_written(inside):
    before = fingerprint(inside)
    compare.run("one", "two")
    assert fingerprint(inside) == before
    assert not list((inside / ".dvc/tmp").glob("compare-*"))


def test_same_bytes(inside, tmp_path):
    pages = [tmp_path / name / "index.html" for name in "ab"]
    printed = [compare.run("one", "trial", page) for page in pages]
    assert pages[0].read_bytes() == pages[1].read_bytes()
    assert printed[0] == printed[1] == pages[0].with_suffix(".md").read_text(encoding="utf-8")


def test_nothing_to_draw(inside, tmp_path):
    compare.run("one", "two", tmp_path / "page.html", features=0)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "data:image" not in page and "1 more, which changed less" in page


def test_the_same_revision_twice(inside):
    found = compare.compare(sides("two", "workspace"), 50)
    assert not found.params and not found.metrics and not found.encoders[0].changes


def forget(copy, pattern):
    """Take files of some name out of the working tree and out of the cache."""
    contents = {hashlib.md5(path.read_bytes()).hexdigest() for path in copy.glob(pattern)}
    assert contents
    for content in contents:
        (copy / ".dvc/cache/files/md5" / content[:2] / content[2:]).unlink()


def test_pictures_that_the_cache_lacks(copy):
    forget(copy, "data/crops/first/crops.parquet")
    found = compare.compare(sides("one", "two"), 50)
    old, new = found.encoders[0].changes[0].pictures
    assert len(old) == 2 and new == []
    (line,) = found.lacking
    assert line.startswith("two (") and "dvc fetch --all-commits data/images.parquet data/crops/first" in line


def test_intervals_that_the_cache_lacks(copy):
    forget(copy, "data/concepts/first/concepts.parquet")
    found = compare.compare(sides("one", "two"), 50)
    assert found.encoders[0].changes[0].close is None
    assert "data/concepts/first" in found.lacking[0]


def test_no_cache_at_all(copy):
    shutil.rmtree(copy / ".dvc/cache")
    found = compare.compare(sides("one", "trial"), 50)
    assert len(found.lacking) == 2 and found.encoders[0].changes[0].pictures == ([], [])
    assert "params changed: 1" in compare.run("one", "trial", copy / "page.html")


def test_damaged_artefacts_cost_the_pictures_only(copy):
    (copy / "data/crops/first/crops.parquet").write_bytes(b"no table")
    found = compare.compare(sides("one", "workspace"), 50)
    assert "cannot be drawn" in found.lacking[0]
    assert found.encoders[0].changes[0].pictures[1] == []


def test_another_checkpoint(copy):
    lock = {
        "cmd": "x",
        "deps": [{"path": "models/first.safetensors", "md5": "a" * 32}, {"path": "a.py", "md5": "b" * 32}],
    }
    stage = "stages:\n  extract_activations:\n    foreach: [first]\n    do:\n      cmd: x\n      deps: [models/first.safetensors]\n"
    for content in ("a", "b"):
        lock["deps"][0]["md5"] = content * 32
        (copy / "dvc.yaml").write_text(stage)
        made.YAML().dump({"schema": "2.0", "stages": {"extract_activations@first": lock}}, copy / "dvc.lock")
        made.git("add", "dvc.yaml", "dvc.lock")
        made.git("commit", "-q", "-m", content)
    (encoder,) = compare.compare(sides("HEAD~1", "HEAD"), 0).encoders
    assert encoder.inputs == ["models/first.safetensors"]
    assert "need not mean the same feature" in compare.run("HEAD~1", "HEAD", copy / "page.html")


def test_an_encoder_of_one_revision_only(copy):
    text = (copy / "params.yaml").read_text().replace("first:", "second:")
    (copy / "params.yaml").write_text(text)
    shutil.copy(copy / "reports/tables/first_concepts.csv", copy / "reports/tables/second_concepts.csv")
    found = compare.compare(sides("two", "workspace"), 50)
    assert {some.name: some.missing for some in found.encoders}["second"][0].startswith("two")


@pytest.mark.parametrize("name", ["nosuch", "HEAD~99", "--help", "one..two", "$(true)", "x" * 300, "refs/exps/none"])
def test_revisions_that_do_not_exist(inside, name):
    with pytest.raises(UserError, match="there is no revision"):
        compare.run(name, "two")


def test_no_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="run it in a git checkout of the project"):
        compare.run("HEAD", "workspace")
    made.git("init", "-q")
    with pytest.raises(UserError, match="no DVC repository here; run compare in the project's root"):
        compare.run("workspace", "workspace")


def test_no_git(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made.Repo.init(no_scm=True)
    with pytest.raises(UserError, match="git"):
        compare.run("HEAD", "workspace")


def test_no_results(copy):
    made.git("rm", "-rq", "reports")
    made.git("commit", "-q", "-m", "no results")
    with pytest.raises(UserError, match=re.escape("HEAD has no reports/metrics/*.json")):
        compare.run("one", "HEAD")


def test_broken_files(copy):
    (copy / "reports/metrics/evaluation_first.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        compare.run("one", "workspace")
    (copy / "params.yaml").write_text("a: [")
    with pytest.raises(UserError, match="not valid YAML"):
        compare.run("one", "workspace")


def test_a_page_by_another_name(inside):
    with pytest.raises(UserError, match=r"ending in \.html"):
        compare.run("one", "two", Path("page.md"))


def test_folder_of_pictures_under_dvc(copy):
    """Pictures of the user's own that DVC tracks are those of the revision."""
    pictures = copy / "pictures"
    for tag, level in (("three", 30), ("four", 220)):
        pictures.mkdir(exist_ok=True)
        for row in range(4):
            Image.new("RGB", (32, 32), (level,) * 3).save(pictures / f"probe-{row:05d}.png")
        made.write_run("prior" if tag == "three" else "relative", level, {"f0": f"{tag}:0.50"})
        _use_pictures([f"probe-{row:05d}.png" for row in range(4)])
        with made.Repo(".") as repo:
            repo.add([*made.TRACKED, "pictures"])
        made.git("add", "-A", ".")
        made.git("commit", "-q", "-m", tag)
        made.git("tag", tag)
    shutil.rmtree(pictures)
    found = compare.compare(sides("three", "four"), 5)
    assert found.lacking == []
    assert [shade(some[0]) for some in found.encoders[0].changes[0].pictures] == pytest.approx((30, 220), abs=3)


def _use_pictures(names):
    """Let the run be about a folder of pictures."""
    text = Path("params.yaml").read_text().replace("source: scenes", "source: images")
    Path("params.yaml").write_text(text.replace("images: data/scenes", "images: pictures"))
    table = made.pd.DataFrame({"image": names, "split": "probe", "label": "", "width": 32, "height": 32})
    made.write_table(made.paths.IMAGES, table)
    crops = made.pd.read_parquet("data/crops/first/crops.parquet")
    made.write_table(Path("data/crops/first/crops.parquet"), crops.assign(image=crops["image"] + ".png"))
