"""What the stage refuses before it runs an encoder."""

from types import SimpleNamespace

import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_table
from falcon_dvc.errors import UserError
from stages import extract_activations


def test_an_encoder_of_one_feature_is_refused_before_any_pass(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(extract_activations, "open_images", lambda *_: [])
    monkeypatch.setattr(extract_activations, "load_encoder", lambda *_: SimpleNamespace(width=1))
    write_table(paths.IMAGES, pd.DataFrame({"image": ["a"], "width": [8], "height": [8]}))
    params = SimpleNamespace(data=None, encoders={"e": None})
    with pytest.raises(UserError, match=r"encoders\.e: gives one feature.*encoders\.e\.layer"):
        extract_activations.run(params, "e")
    assert not paths.activations("e").exists()
