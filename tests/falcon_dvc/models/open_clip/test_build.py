"""Networks of open_clip compute what open_clip's own function computes, whatever file holds their weights."""

import json
import zipfile
from pathlib import Path
from unittest import TestCase

import numpy as np
import open_clip
import pytest
import torch
from open_clip import pretrained
from pydantic import TypeAdapter
from safetensors.torch import save_file

from falcon_dvc.captioner import load_captioner
from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.image_text.load import load_image_text
from falcon_dvc.params.schema import EncoderSpec, GenerateCaptions, ImageTextSpec
from tests.support.tiny_models import TINY_CLIP, TINY_COCA, known, pictures

NAME, TEXTS, IMAGES = "pair_tiny", ["a red cat", "snow"], pictures(3)
OPENAI = {"input_resolution": 32, "context_length": 8, "vocab_size": 49408}
SIGLIP = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "interpolation": "bilinear", "resize_mode": "squash"}


class Letters(open_clip.SimpleTokenizer):
    """A token for each of the first letters."""

    def __init__(self, context_length, **_options):
        self.context_length = context_length

    def __call__(self, texts):
        return torch.tensor([[ord(letter) % 60 for letter in text.ljust(8)[:7]] + [63] for text in texts])


@pytest.fixture(scope="module", autouse=True)
def quick_tokenizer():
    """open_clip's own tokenizer takes half a second to build, and its vocabulary as long to initialise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("open_clip.factory.SimpleTokenizer", Letters)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def plain(folder):
    """The network with GELU."""
    known(folder, NAME, TINY_CLIP)
    torch.manual_seed(0)
    network = open_clip.create_model(NAME).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)  # so that both activations differ
    return network


@pytest.fixture(scope="module")
def weights(plain):
    return {key: tensor.contiguous() for key, tensor in plain.state_dict().items()}


@pytest.fixture(scope="module")
def quick(plain, weights):
    """The network with the same weights and QuickGELU."""
    network = open_clip.create_model(NAME, force_quick_gelu=True).eval()
    network.load_state_dict(weights)
    return network


@pytest.fixture
def releases(monkeypatch, folder, weights):
    """Two releases of the network that differ, as those of ViT-B-32 do."""
    save_file(weights, folder / "release.safetensors")
    file = {"file": str(folder / "release.safetensors")}
    listed = {"openai": pretrained._pcfg(quick_gelu=True, **file), "laion2b": pretrained._slpcfg(**SIGLIP, **file)}
    monkeypatch.setitem(pretrained._PRETRAINED, NAME, listed)


def image_text(**given):
    return load_image_text(TypeAdapter(ImageTextSpec).validate_python({"kind": "open_clip", "name": NAME, **given}))


def encoder(**given):
    spec = TypeAdapter(EncoderSpec).validate_python({"kind": "open_clip", "name": NAME, **given})
    return load_encoder(spec, param="encoders.x")


def cosines(found, network, transform=None):
    """Return the smallest cosine of an image-text encoder with open_clip's, over texts and images."""
    from PIL import Image

    transform = transform or open_clip.image_transform(32, is_train=False)
    with torch.inference_mode():
        texts = network.encode_text(open_clip.get_tokenizer(NAME)(TEXTS), normalize=True).numpy()
        batch = torch.stack([transform(Image.fromarray(image)) for image in IMAGES])
        images = network.encode_image(batch, normalize=True).numpy()
    return min((found.embed_texts(TEXTS) * texts).sum(1).min(), (found.embed_images(IMAGES) * images).sum(1).min())


def prefixed(prefix, weights):
    return {f"{prefix}{key}": tensor for key, tensor in weights.items()}


def saved(content, path):
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return str(path)


def scripted(weights, path, **numbers):
    """Write a TorchScript archive with these names, as OpenAI published its networks."""
    root = torch.nn.Module()
    for key, tensor in {**weights, **{name: torch.tensor(value) for name, value in numbers.items()}}.items():
        *inside, name = key.split(".")
        module = root
        for part in inside:
            if not hasattr(module, part):
                module.add_module(part, torch.nn.Module())
            module = getattr(module, part)
        module.register_buffer(name, tensor)
    torch.jit.script(root).save(str(path))
    return str(path)


FORMATS = {
    "safetensors": lambda weights, folder: saved(weights, folder / "x.safetensors"),
    "a file of torch": lambda weights, folder: saved(weights, folder / "x.pt"),
    "a checkpoint of open_clip's training": lambda weights, folder: saved(
        {"epoch": 3, "name": "run", "state_dict": prefixed("module.", weights), "optimizer": {"state": {}}}, folder / "x.pt"
    ),
    "a compiled network": lambda weights, folder: saved({"state_dict": prefixed("_orig_mod.", weights)}, folder / "x.pt"),
    "prefixes of Lightning": lambda weights, folder: saved({"state_dict": prefixed("model.clip.", weights)}, folder / "x.ckpt"),
    "half precision": lambda weights, folder: saved({k: v.half() for k, v in weights.items()}, folder / "x.safetensors"),
    "bfloat16": lambda weights, folder: saved({k: v.bfloat16() for k, v in weights.items()}, folder / "x.pt"),
    "TorchScript": lambda weights, folder: scripted(weights, folder / "x.pt"),
    "position_ids of old transformers": lambda weights, folder: saved(
        {**weights, "text.transformer.embeddings.position_ids": torch.arange(8)}, folder / "x.pt"
    ),
    "a logit scale in a list": lambda weights, folder: saved(
        {**weights, "logit_scale": weights["logit_scale"].reshape(1)}, folder / "x.safetensors"
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_gives_the_embeddings_of_its_network(form, plain, weights, tmp_path):
    file = FORMATS[form](weights, tmp_path)
    least = 0.999 if form in ("half precision", "bfloat16") else 0.999999
    assert cosines(image_text(pretrained="checkpoint", checkpoint=file), plain) > least
    assert encoder(checkpoint=file).description["checkpoint"]["missing"] == []


OF_OPENAI = {
    "its tag": lambda weights, folder: {"pretrained": "openai"},
    "its tag as OpenAI writes it": lambda weights, folder: {"pretrained": "OpenAI"},
    "its TorchScript archive": lambda weights, folder: {"pretrained": scripted(weights, folder / "x.pt", **OPENAI)},
    "a converted archive": lambda weights, folder: {
        "pretrained": saved({**weights, **{k: torch.tensor(v) for k, v in OPENAI.items()}}, folder / "x.pt")
    },
    "a file with its name": lambda weights, folder: {"pretrained": saved(weights, folder / "pair-openai.safetensors")},
    "a param": lambda weights, folder: {"pretrained": saved(weights, folder / "x.safetensors"), "quick_gelu": True},
}


@pytest.mark.parametrize("where", OF_OPENAI)
@pytest.mark.usefixtures("releases")
def test_openais_weights_are_used_with_quick_gelu(where, quick, plain, weights, tmp_path):
    given = OF_OPENAI[where](weights, tmp_path)
    found = image_text(**given)
    assert cosines(found, quick) > 0.999999 > cosines(found, plain)
    assert found.fingerprint.endswith(":quickgelu")
    if "." in given["pretrained"]:
        given = {**given, "pretrained": "checkpoint", "checkpoint": given["pretrained"]}
    tower = encoder(**given, pooling="cls")
    with torch.inference_mode():
        expected = quick.visual(tower.prepare(IMAGES)).numpy()
    np.testing.assert_allclose(tower.activations(IMAGES)[0] @ quick.visual.proj.detach().numpy(), expected, atol=1e-4)


@pytest.mark.usefixtures("releases")
def test_the_captioner_uses_the_activation_of_its_release(folder, monkeypatch):
    name = known(folder, "coca_releases", TINY_COCA)
    state = open_clip.create_model(name).state_dict()  # open_clip leaves some tensors as they are in memory
    save_file({key: torch.zeros_like(tensor) for key, tensor in state.items()}, folder / "coca.safetensors")
    release = pretrained._pcfg(quick_gelu=True, file=str(folder / "coca.safetensors"))
    monkeypatch.setitem(pretrained._PRETRAINED, name, {"openai": release})
    told = {"encoders": [], "kind": "coca", "name": name, "beams": 1, "max_length": 4, "batch_size": 2}
    for given in (
        {"pretrained": "openai"},
        {"pretrained": "checkpoint", "checkpoint": str(folder / "coca.safetensors")},
    ):
        captioner = load_captioner(GenerateCaptions(**told, **given))
        assert any(type(module).__name__ == "QuickGELU" for module in captioner._model.modules())


@pytest.mark.usefixtures("releases")
def test_the_preprocessing_is_that_of_the_release_and_params_replace_it(plain, weights, tmp_path):
    file = saved(weights, tmp_path / "laion2b.safetensors")
    own = open_clip.image_transform(32, is_train=False, **SIGLIP)
    assert cosines(image_text(pretrained=file), plain, own) > 0.999999
    assert cosines(image_text(pretrained="laion2b"), plain, own) > 0.999999
    tower = encoder(checkpoint=file)
    assert (tower.description["mean"], tower.field(40, 20)) == ([0.5] * 3, (0, 0, 40, 20))
    given = {"mean": [0, 0, 0], "std": [1, 1, 1], "squash": False, "interpolation": "bicubic"}
    replaced = open_clip.image_transform(32, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert cosines(image_text(pretrained=file, **given), plain, replaced) > 0.999999


def test_another_size_resizes_the_position_embeddings(weights, tmp_path):
    file = saved(weights, tmp_path / "x.safetensors")
    assert image_text(pretrained=file, size=48).prepare(IMAGES[:1]).shape == (1, 3, 48, 48)
    assert encoder(checkpoint=file, size=48).prepare(IMAGES[:1]).shape == (1, 3, 48, 48)


def repository(folder, weights, **preprocessing):
    """Write a folder as open_clip's ``push_to_hf_hub`` does."""
    folder.mkdir()
    config = {"model_cfg": {**TINY_CLIP, "quick_gelu": True}, "preprocess_cfg": {**SIGLIP, **preprocessing}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path, weights):
    """A hub with one repository."""
    files = repository(tmp_path / "repository", weights)

    def fetch(repo_id, filename, **_options):
        if repo_id != "org/tiny" or not (files / filename).is_file():
            raise ConnectionError("no route\nto host")
        return str(files / filename)

    monkeypatch.setattr(pretrained, "hf_hub_download", fetch)
    return {"hf-hub": "hf-hub:org/tiny", "local-dir": f"local-dir:{files}"}


@pytest.mark.parametrize("kind", ["hf-hub", "local-dir"])
def test_a_repository_brings_its_weights_activation_and_preprocessing(kind, hub, quick):
    found = image_text(name=hub[kind])
    assert cosines(found, quick, open_clip.image_transform(32, is_train=False, **SIGLIP)) > 0.999999
    assert encoder(name=hub[kind]).description["mean"] == [0.5] * 3


def test_a_file_can_replace_the_weights_of_a_repository(hub, weights, quick, tmp_path):
    changed = {**weights, "text_projection": -weights["text_projection"]}
    found = image_text(name=hub["hf-hub"], pretrained="checkpoint", checkpoint=saved(changed, tmp_path / "x.pt"))
    assert (found.embed_texts(TEXTS) * image_text(name=hub["hf-hub"]).embed_texts(TEXTS)).sum(1).max() < -0.999999


def transformers_names(weights, folder):
    names = ("vision_model.encoder.layers.0.self_attn.q_proj.weight", "text_model.final_layer_norm.weight")
    return saved({name: torch.ones(2) for name in names}, folder / "x.safetensors")


def without_stem(weights):
    return {name: tensor for name, tensor in weights.items() if name != "visual.conv1.weight"}


def archive_of_zip(weights, folder):
    with zipfile.ZipFile(folder / "x.pt", "w") as archive:
        archive.writestr("x/constants.pkl", b"")
    return str(folder / "x.pt")


class Code:
    def __reduce__(self):
        return exec, ("1",)  # print may be another function: Ray replaces it


REFUSED = {
    "no such file": (lambda weights, folder: {"pretrained": "none/clip.pt"}, "pretrained none/clip.pt: no such file"),
    "no such checkpoint": (
        lambda weights, folder: {"pretrained": "checkpoint", "checkpoint": "none.pt"}, "image_text: none.pt: not ",
    ),
    "an unknown tag": (lambda weights, folder: {"pretrained": "opena1"}, "'opena1' is unknown; use for instance openai"),
    "a tag of another network": (
        lambda weights, folder: {"pretrained": "datacomp1b"}, "is a release of ViT-L-14-CLIPA",
    ),
    "a network that is unknown": (
        lambda weights, folder: {"name": "ViT-B32", "pretrained": "openai"}, "model 'ViT-B32' is unknown; use for instance ViT-B-32",
    ),
    "a file that can be two releases": (
        lambda weights, folder: {"pretrained": saved(weights, folder / "x.pt")}, "x.pt: releases of pair_tiny differ",
    ),
    "names of transformers": (
        lambda weights, folder: {"pretrained": transformers_names(weights, folder), "quick_gelu": True}, "names of transformers",
    ),
    "TorchScript of another network": (
        lambda weights, folder: {"pretrained": scripted({"a.weight": torch.ones(2)}, folder / "x.pt")},
        "a TorchScript archive that holds 0 of the 62 tensors of pair_tiny (first missing: ",
    ),
    "TorchScript that is damaged": (
        lambda weights, folder: {"pretrained": archive_of_zip(weights, folder)}, "convert it: torch.save(torch.jit.load(FILE)",
    ),
    "a tensor that is missing": (
        lambda weights, folder: {"pretrained": saved(without_stem(weights), folder / "openai.pt")},
        "holds 61 of the 62 tensors of pair_tiny (first missing: 'visual.conv1.weight')",
    ),
    "a tensor of another network": (
        lambda weights, folder: {"pretrained": saved({**weights, "visual.more": torch.ones(1)}, folder / "openai.pt")},
        "'visual.more' belongs to another network",
    ),
    "a tensor of another shape": (
        lambda weights, folder: {"pretrained": saved({**weights, "visual.proj": torch.ones(64, 8)}, folder / "openai.pt")},
        "'visual.proj' has another shape",
    ),
    "values that are not finite": (
        lambda weights, folder: {"pretrained": saved({**weights, "visual.proj": torch.full((64, 16), torch.inf)}, folder / "openai.pt")},
        "values that are not finite",
    ),
    "a pointer of Git LFS": (lambda weights, folder: {"pretrained": pointer(folder)}, "Git LFS"),
    "a whole network": (
        lambda weights, folder: {"pretrained": saved(torch.nn.Linear(2, 2), folder / "openai.pt")}, "convert it",
    ),
    "a whole network in a dictionary": (
        lambda weights, folder: {"pretrained": saved({"model": torch.nn.Linear(2, 2)}, folder / "openai.pt")}, "convert it",
    ),
    "code": (lambda weights, folder: {"pretrained": saved({"a": Code()}, folder / "openai.pt")}, "not a file of tensors only"),
    "Google's SigLIP": (lambda weights, folder: {"pretrained": npz(folder)}, "openai.npz: "),
    "an unknown repository": (lambda weights, folder: {"name": "hf-hub:org/none"}, "cannot load hf-hub:org/none"),
    "no folder": (lambda weights, folder: {"name": "local-dir:none"}, "no file open_clip_config.json in this folder"),
    "a folder as checkpoint": (
        lambda weights, folder: {"pretrained": "checkpoint", "checkpoint": str(folder / "repository")}, "write name: local-dir:",
    ),
    "a tag with a repository": (
        lambda weights, folder: {"name": "hf-hub:org/tiny", "pretrained": "openai"}, "leave pretrained out",
    ),
}  # fmt: skip


def pointer(folder):
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 605157884\n"
    (folder / "openai.safetensors").write_text(text)
    return str(folder / "openai.safetensors")


def npz(folder):
    np.savez(folder / "openai.npz", a=np.ones(1))
    return str(folder / "openai.npz")


@pytest.mark.parametrize("problem", REFUSED)
@pytest.mark.usefixtures("releases", "hub")
def test_what_cannot_be_loaded_is_named_in_one_line(problem, weights, tmp_path, capsys):
    make, message = REFUSED[problem]
    with pytest.raises(UserError) as error:
        image_text(**make(weights, tmp_path))
    assert message in str(error.value) and str(error.value).startswith("image_text: ") and "\n" not in str(error.value)
    assert "run" not in capsys.readouterr().out


@pytest.mark.usefixtures("hub")
def test_a_folder_without_weights_is_named(tmp_path):
    (tmp_path / "repository" / "open_clip_model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights in this folder"):
        image_text(name=f"local-dir:{tmp_path / 'repository'}")


@pytest.mark.parametrize(
    ("name", "tower"),
    [
        ("xlm-roberta-base-ViT-B-32", {"hf_model_name": "xlm-roberta-base", "hf_tokenizer_name": "xlm-roberta-base"}),
        ("ViT-B-16-SigLIP", {"hf_tokenizer_name": "timm/ViT-B-16-SigLIP"}),
    ],
)
def test_what_another_text_tower_needs_is_named(name, tower, folder, weights, tmp_path, monkeypatch):
    def missing(*_args, **_options):
        raise OSError("not in the cache\nand no network")

    monkeypatch.setattr("open_clip.factory.HFTokenizer", missing)
    monkeypatch.setattr("open_clip.factory.CustomTextCLIP", missing)
    tiny = known(folder, f"tiny-{name}", {**TINY_CLIP, "text_cfg": {**TINY_CLIP["text_cfg"], **tower}})
    with pytest.raises(
        UserError, match=f"{tower['hf_tokenizer_name']} of Hugging Face, which needs the package transfor"
    ):
        image_text(name=tiny, pretrained=saved(weights, tmp_path / "x.pt"))


def test_nothing_warns_of_random_weights_if_a_file_is_given(weights, tmp_path):
    with TestCase().assertNoLogs(level="WARNING"):
        image_text(pretrained=saved(weights, tmp_path / "x.pt"))
        encoder(checkpoint=saved(weights, tmp_path / "x.pt"))


@pytest.mark.usefixtures("releases")
def test_the_settings_of_a_file_are_printed_once(weights, tmp_path, capsys):
    file = Path(saved(weights, tmp_path / "pair-openai.pt"))
    for _ in range(2):
        image_text(pretrained=str(file))
    printed = capsys.readouterr().err
    assert printed.count(f"image_text: {file}: as openai: QuickGELU, mean (0.48145466, ") == 1
