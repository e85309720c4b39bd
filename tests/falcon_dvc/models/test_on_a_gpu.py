"""Networks on a GPU, pretended on the CPU: every tensor is on the device of its network, and the results are those of the CPU."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from falcon_dvc.artifacts.formats import read_json
from falcon_dvc.compute import device
from falcon_dvc.models.bases.basis import Basis
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.image_text.load import OpenClip
from falcon_dvc.models.scenes.checkpoints import save_encoder
from falcon_dvc.models.scenes.small_resnet import SmallResNet
from falcon_dvc.params.load import merge, read_yaml, validated
from falcon_dvc.params.schema import EncoderSpec
from stages import collect_images, extract_activations, extract_references
from tests.support.image_sources import as_folder
from tests.support.paths import ROOT
from tests.support.pretended_gpu import on_gpu, pretended_gpu
from tests.support.sample_images import coloured
from trials.tiny import fingerprints

RESNET = {"kind": "torchvision", "name": "resnet18", "weights": "random", "layer": "layer2"}
CLIP = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


@pytest.fixture(autouse=True)
def told_anew():
    yield
    device._say.cache_clear()


def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]


def on_both(run):
    """What a function of the device returns on the CPU, and on the GPU."""
    expected = run("cpu")
    with pretended_gpu() as followed:
        found = run("cuda")
    assert followed.calls > 10, "the network is on the GPU"
    return expected, found


def same(one, other):
    return all(np.array_equal(first, second) for first, second in zip(one, other, strict=True) if first is not None)


def cut_to_clip(images):
    return torch.stack([torch.from_numpy(one[:32, :32].copy()).permute(2, 0, 1) / 255 for one in images])


def encoder(place, **given):
    spec = TypeAdapter(EncoderSpec).validate_python({**RESNET, **given})
    return load_encoder(spec, place, "encoders.e")


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_an_encoder(pooling):
    assert same(*on_both(lambda place: encoder(place, pooling=pooling).activations(pictures())))


@pytest.mark.parametrize("activation", ["relu", "topk", "jumprelu"])
def test_an_encoder_with_a_basis(activation):
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (128, 40), "bias": (40,), "decoder": (40, 128), "offset": (128,)}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    basis = Basis(**tensors, activation=activation, k=3, threshold=torch.full((40,), 0.1))

    def run(place):
        from falcon_dvc.models.encoders.hooked import HookedEncoder

        network = HookedEncoder(TypeAdapter(EncoderSpec).validate_python(RESNET), place, "encoders.e", basis=basis)
        batch = network.prepare(pictures())
        features, maps, _ = network.forward_sparse(batch)
        return (
            *network.forward_measured(batch),
            features.toarray() if hasattr(features, "toarray") else features,
            maps.values.toarray(),
        )

    assert same(*on_both(run))


def test_an_image_text_encoder():
    import open_clip

    torch.manual_seed(0)
    model = open_clip.CLIP(**CLIP).eval()

    def run(place):
        tokenizer = open_clip.get_tokenizer("ViT-B-32", context_length=8)
        found = OpenClip(model, tokenizer, cut_to_clip, "random", place)
        return found.embed_images(pictures()), found.embed_texts(["a red cat", "a dog"])

    assert same(*on_both(run))


def test_the_stages_that_pass_images_through_encoders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_encoder(Path("tiny.safetensors"), SmallResNet(stem=4, widths=(8, 12), heads={}), {})
    as_folder(Path("pictures"), {str(number): coloured(number) for number in range(20)})
    content = read_yaml(ROOT / "params.yaml")
    merge(
        content,
        {
            "data": {"source": "images", "images": "pictures"},
            "encoders": {"supervised": {"kind": "scenes", "checkpoint": "tiny.safetensors"}},
            "extract_activations": {"batch_size": 8},
            "measure_faithfulness": {"reference_encoders": 2},
        },
    )
    collect_images.run(validated(content))

    def run(place):
        params = validated({**content, "device": place})
        extract_activations.run(params, "supervised")
        extract_references.run(params, "supervised")
        found = fingerprints(tmp_path, ("data/activations", "data/references"))
        assert read_json(Path("reports/metrics/activations_supervised.json"))["features"] == 12
        shutil.rmtree("data/activations")
        shutil.rmtree("data/references")
        return found

    expected, found = on_both(run)
    assert found == expected and len(found) == 4


def test_mistakes_that_a_gpu_refuses_are_refused():
    layer = torch.nn.Linear(4, 2)
    with pretended_gpu():
        layer.to("cuda")
        with pytest.raises(RuntimeError, match="same device"):
            layer(torch.zeros(3, 4))
        result = layer(torch.zeros(3, 4, device="cuda"))
        assert result.device.type == "cuda" and result.is_cuda and on_gpu(result)
        with pytest.raises(TypeError, match="numpy"):
            result.detach().numpy()
        assert result.detach().cpu().numpy().shape == (3, 2)
