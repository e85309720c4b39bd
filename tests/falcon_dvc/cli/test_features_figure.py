"""The picture of README.md: one row for each kind of attribute that a feature names rightly, small, the same bytes each time."""

import io

import pytest
from PIL import Image

from falcon_dvc.cli import features_figure
from falcon_dvc.errors import UserError
from tests.support.paths import ROOT
from tests.support.report_artifacts import make_params, write_artefacts


def test_a_row_for_each_kind_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = make_params()
    write_artefacts(params)
    first = features_figure.run(params, tmp_path / "a.png").read_bytes()
    assert features_figure.run(params, tmp_path / "b.png").read_bytes() == first
    width, height = Image.open(io.BytesIO(first)).size
    assert height % features_figure.ROW == 0 and 0 < height <= len(features_figure.KINDS) * features_figure.ROW
    assert width == features_figure.LEFT + features_figure.CROPS * (features_figure.SIDE + features_figure.GAP)


def test_without_results_it_says_what_makes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="dvc repro"):
        features_figure.run(make_params(), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_the_committed_one_is_small():
    content = (ROOT / "docs/features.png").read_bytes()
    assert len(content) < 250_000 and Image.open(io.BytesIO(content)).height == 4 * features_figure.ROW
