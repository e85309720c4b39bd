"""The command that lists layers: names to be copied, shapes, and which one is the default."""

import pytest
from pydantic import TypeAdapter

from falcon_dvc.cli import layers
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import load_params
from falcon_dvc.params.schema import EncoderSpec
from tests.support.paths import ROOT


def params_with(**spec):
    entry = TypeAdapter(EncoderSpec).validate_python(spec)
    return load_params(ROOT / "params.yaml").model_copy(update={"encoders": {"mine": entry}})


@pytest.mark.parametrize(
    ("spec", "default", "others"),
    [
        (
            {"kind": "timm", "name": "test_vit", "weights": "random", "size": 64},
            ("norm", "17 x 64", "tokens, 1 before", "mean, max, cls"),
            [("blocks.4.mlp.fc1", "17 x 192"), ("patch_embed.proj", "64 x 4 x 4"), ("head", "1000")],
        ),
        (
            {"kind": "timm", "name": "test_resnet", "weights": "random", "size": 64},
            ("layer4", "96 x 2 x 2", "map", "mean, max"),
            [("fc", "1000", "vector")],
        ),
    ],
)
def test_the_table_names_layers_with_shapes_and_marks_one(spec, default, others, capsys):
    layers.run(params_with(**spec), "mine")
    lines = capsys.readouterr().out.splitlines()
    (marked,) = [line for line in lines if "(default)" in line]
    assert marked.split()[:2] == [default[0], "(default)"] and all(part in marked for part in default)
    for name, *parts in others:
        (line,) = [line for line in lines if name in line.split()]
        assert all(part in line for part in parts)


def test_an_unknown_layer_in_params_does_not_hide_the_list(capsys):
    layers.run(params_with(kind="timm", name="test_resnet", weights="random", size=64, layer="layr4"), "mine")
    assert "layer4 (default)" in capsys.readouterr().out


def test_a_kind_with_one_layer_says_so():
    with pytest.raises(UserError, match=r"encoders\.mine: kind scenes has one layer"):
        layers.run(params_with(kind="scenes", checkpoint="x"), "mine")
