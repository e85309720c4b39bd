"""What a user sees of bad input: one line that names the place and the fix, exit code 2, nothing half-written."""

import pytest

from tests.support.command_lines import assert_one_line, completed, falcon, own_images


@pytest.fixture
def folder(tmp_path):
    return own_images(tmp_path)


def test_good_params(folder):
    (folder / "pictures").mkdir()
    (folder / "captions.txt").touch()
    assert falcon(folder, "check").returncode == 0


@pytest.mark.parametrize(
    ("written", "instead", "words"),
    [
        ("contrast: combined", "contrst: relative", ("concepts.contrst", "unknown key", "did you mean 'contrast'")),
        ("contrast: combined", "contrast: priro", ("concepts.contrast", "priro")),
        ("top_k: 400 ", "top_k: forty ", ("find_groups.top_k", "forty")),
        ("threshold: 0.6 ", "threshold: 1.6 ", ("mine_crops.threshold", "1.6")),
        (
            "kind: scenes, checkpoint: models/supervised",
            "kind: resnet9000, checkpoint: x",
            ("encoders.supervised", "resnet9000"),
        ),
        (
            "{explained: supervised, unseen: simclr}",
            "{explained: supervised, unseen: simclear}",
            ("transfers", "simclear"),
        ),
        ("data:", "data: [", ("params.yaml", "not valid YAML")),
    ],
)
def test_params_typos(folder, written, instead, words):
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    assert written in text
    (folder / "params.yaml").write_text(text.replace(written, instead, 1), encoding="utf-8")
    assert_one_line(falcon(folder, "check"), "params.yaml", *words)


def test_no_params(tmp_path):
    assert_one_line(falcon(tmp_path, "check"), "params.yaml", "not found")


def test_completion(folder):
    import pandas as pd

    path = folder / "data/groups/simclr/groups.parquet"
    path.parent.mkdir(parents=True)
    pd.DataFrame({"group": ["f0", "f12", "gab"]}).to_parquet(path)
    assert completed(folder, "falcon explain s") == ["supervised:", "simclr:"]
    assert completed(folder, "falcon explain simclr:f") == ["simclr:f0", "simclr:f12"]
    assert completed(folder, "falcon layers s") == ["supervised", "simclr"]


def test_completion_is_silent_where_nothing_is(tmp_path):
    assert completed(tmp_path, "falcon explain s") == []
    (tmp_path / "params.yaml").write_text("[")
    assert completed(tmp_path, "falcon explain s") == []


def test_help_names_the_commands(folder):
    text = falcon(folder, "--help").stdout
    places = [text.index(name) for name in ("Look at results", "explain", "compare", "Check", "layers", "Other runs")]
    assert places == sorted(places)


def test_new_commands_fail_in_one_line(folder):
    assert_one_line(falcon(folder, "explain", "simclr:3"), "groups.parquet", "dvc repro")
    assert_one_line(falcon(folder, "find", "boat"), "parquet", "dvc repro")
    assert_one_line(falcon(folder, "report"), "reports/index.html", "dvc repro")
    assert_one_line(falcon(folder, "compare", "HEAD", "workspace"), "git")
