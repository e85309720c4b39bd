"""Bad checkpoints of every kind, loaded as the stages load them: one line that names the file; code in them never runs."""

import io
import json
import pickle
import resource
import zipfile
from argparse import Namespace
from functools import cache
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save

from falcon_dvc.models.encoders.checkpoint_files import read_checkpoint
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.image_text.load import load_image_text
from falcon_dvc.models.scenes.checkpoints import CLIP_FORMAT, ENCODER_FORMAT, load_encoder_checkpoint
from falcon_dvc.models.scenes.small_clip import build_clip, build_tokenizer
from falcon_dvc.models.scenes.small_resnet import SmallResNet
from falcon_dvc.params.schema import EncoderSpec, ImageTextSpec
from tests.support.damage import assert_readable_or_one_line
from tests.support.outcomes import Read, Refused, Row, assert_refused, each
from tests.support.own_networks import small
from tests.support.pickles import Explodes

CLIP = {
    "image_size": 32,
    "embedding": 16,
    "width": 6,
    "layers": [1, 1, 1],
    "text_width": 32,
    "text_layers": 1,
    "context": 8,
}
STATE = {name: tensor.clone() for name, tensor in small().state_dict().items()}


def torch_file(content: object, **options: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def with_pickle(content: bytes) -> bytes:
    """A file of torch whose pickle is replaced."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(torch_file(STATE))) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else old.read(name))
    return file.getvalue()


def changed(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**STATE, name: tensor}


def without(name: str) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in STATE.items() if key != name}


def inside(depth: int) -> dict:
    content: dict = STATE
    for _ in range(depth):
        content = {"model": content}
    return content


def in_itself() -> dict:
    content: dict = {"weights": torch.zeros(2)}
    content["self"] = content
    return content


NAN = torch.full((4, 3, 3, 3), torch.nan)
ONE_NUMBER = torch.zeros(1).expand(100_000, 100_000)  # four bytes that claim forty gigabytes
NO_CODE = Refused(
    r"x\.pt: not a file of tensors only \(reading it could run code\); where you trust it, convert it: torch\.save"
)
ATTACK = Refused(
    r"x\.pt: not a file of tensors only \(reading it could run code\): it calls '\w+\.system'.*do not use it"
)
PICKLE = Refused(
    r"x\.\w+: is a pickle that torch did not write .* \(reading it could run code\); where you trust it, read it"
)
TEXT = Refused(r"x\.\w+: is a text that begins with '.*', not a file of weights; download it again")
NO_TORCH = Refused(r"x\.pt: not a readable file of torch \(.*\); download it again|x\.pt: not a file of tensors only")
FEW = Refused(r"x\.pt: holds \d of the encoder's 4 tensors .*; set the architecture and part of this file")
RELEASED = [
    Row("a whole file", ("x.pt", torch_file(STATE)), Read(4)),
    Row("no file", ("x.pt", None), Refused(r"^encoders\.x\.checkpoint: x\.pt: not found; give the path of an existing file")),
    Row("zero bytes", ("x.pt", b""), Refused(r"x\.pt: is empty; download it again")),
    Row("HTML", ("x.pt", b"<!DOCTYPE html><title>404</title>"), Refused(r"x\.pt: is a web page, not the file itself; download")),
    Row("a pointer of Git LFS", ("x.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), Refused(r"x\.pt: is a pointer of Git LFS, .*git lfs pull")),
    Row("half of a file", ("x.pt", torch_file(STATE)[: len(torch_file(STATE)) // 2]), NO_TORCH),
    Row("a file without its end", ("x.pt", torch_file(STATE)[:-10]), NO_TORCH),
    Row("half of an old file", ("x.pt", torch_file(STATE, _use_new_zipfile_serialization=False)[:-40]), NO_TORCH),
    Row("code in a pickle", ("x.pt", pickle.dumps(Explodes())), PICKLE),
    Row("code in an old file", ("x.pt", torch_file({"state_dict": STATE, "x": Explodes()}, _use_new_zipfile_serialization=False)), ATTACK),
    Row("code beside weights", ("x.pt", torch_file({"state_dict": STATE, "x": Explodes()})), ATTACK),
    Row("code in place of the weights", ("x.pt", with_pickle(pickle.dumps(Explodes()))), NO_CODE),
    Row("code named .safetensors", ("x.safetensors", pickle.dumps(Explodes())), PICKLE),
    Row("a whole network", ("x.pt", torch_file(small())), Refused(r"x\.pt: holds a whole network.*\.state_dict\(\), 'x\.tensors\.pth'\)")),
    Row("a pickle that ends at once", ("x.pt", with_pickle(b".")), NO_TORCH),
    Row("a pickle of junk", ("x.pt", with_pickle(bytes(range(256)))), NO_TORCH),
    Row("safetensors named .pt", ("x.pt", save(STATE)), Read(4)),
    Row("a file of torch named .safetensors", ("x.safetensors", torch_file(STATE)), Read(4)),
    Row("an empty archive", ("x.pt", b"PK\x05\x06" + bytes(18)), Refused(r"x\.pt: is a zip archive of other files \(nothing\)")),
    Row("an archive of something else", ("x.pt", with_pickle(b"")), NO_TORCH),
    Row("no dictionary", ("x.pt", torch_file([1, 2])), FEW),
    Row("an empty dictionary", ("x.pt", torch_file({})), FEW),
    Row("one tensor", ("x.pt", torch_file(torch.zeros(3))), FEW),
    Row("a dictionary in itself", ("x.pt", torch_file(in_itself())), FEW),
    Row("a dictionary nested too deep", ("x.pt", torch_file(inside(30))), FEW),
    Row("a dictionary nested", ("x.pt", torch_file(inside(9))), Read(4)),
    Row("keys that are no text", ("x.pt", torch_file({1: torch.zeros(2), None: STATE})), FEW),
    Row("foreign keys", ("x.pt", torch_file({f"other{name}": tensor for name, tensor in STATE.items()})), FEW),
    Row("keys of a million letters", ("x.pt", torch_file({"a." * 100_000 + "0.weight": torch.zeros(2)})), FEW),
    Row("keys more than needed", ("x.pt", torch_file({**STATE, "queue": torch.zeros(2)})), Read(4)),
    Row("a key less", ("x.pt", torch_file(without("0.bias"))), Refused(r"holds 3 of the encoder's 4 tensors .*first missing: '0\.bias'")),
    Row("another shape", ("x.pt", torch_file(changed("0.weight", torch.zeros(4, 3, 5, 5)))), Refused(r"holds 3 of the encoder's 4 tensors .*'0\.weight'")),
    Row("NaN", ("x.pt", torch_file(changed("0.weight", NAN))), Refused(r"x\.pt: holds values that are not finite; use another checkpoint")),
    Row("a tensor of one number and forty gigabytes", ("x.pt", torch_file({**STATE, "huge": ONE_NUMBER})), Read(4)),
    Row("half precision", ("x.pt", torch_file({name: tensor.half() for name, tensor in STATE.items()})), Read(4)),
    Row("whole numbers", ("x.pt", torch_file({name: tensor.int() for name, tensor in STATE.items()})), Refused(r"x\.pt: '0\.weight' holds torch\.int32.*use another checkpoint")),
    Row("complex numbers", ("x.pt", torch_file({name: tensor.cfloat() for name, tensor in STATE.items()})), Refused(r"x\.pt: '0\.weight' holds torch\.complex64")),
    Row("a sparse tensor", ("x.pt", torch_file(changed("0.bias", STATE["0.bias"].to_sparse()))), Refused(r"x\.pt: '0\.bias' .*sparse")),
    Row("a quantised tensor", ("x.pt", torch_file(changed("0.bias", torch.quantize_per_tensor(STATE["0.bias"], 0.1, 0, torch.qint8)))), Refused(r"x\.pt: ")),
    Row("a folder", ("x.pt", "folder"), Refused(r"x\.pt: is a folder without a file of weights")),
]  # fmt: skip


@cache
def state_of_resnet() -> dict[str, torch.Tensor]:
    return SmallResNet(4, (4, 6), {}).state_dict()


@cache
def state_of_clip() -> dict[str, torch.Tensor]:
    return build_clip(**CLIP, vocabulary=len(IDS)).state_dict()


def own(format: str = ENCODER_FORMAT, config: object = None, tensors: dict | None = None, **more: str) -> bytes:
    """A checkpoint of the project's kind with metadata and tensors of one's own."""
    config = {"stem": 4, "widths": [4, 6], "heads": {}} if config is None else config
    tensors = state_of_resnet() if tensors is None else tensors
    return save(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        {"format": json.dumps(format), "config": json.dumps(config), **more},
    )


def resnet(**changes: object) -> bytes:
    return own(config={"stem": 4, "widths": [4, 6], "heads": {}, **changes})


def of_resnet(**changes: torch.Tensor) -> bytes:
    return own(tensors={**state_of_resnet(), **changes})


LARGER = Refused(
    r"x\.safetensors: the checkpoint's configuration describes a larger model than the file holds|x\.safetensors: the checkpoint's configuration does not describe a model"
)
NO_MODEL = Refused(r"x\.safetensors: the checkpoint's configuration does not describe a model")
NO_FIT = Refused(r"x\.safetensors: the weights do not fit the model that the file describes")
OF_SCENES = [
    Row("zero bytes", b"", Refused(r"x\.safetensors: not a readable safetensors checkpoint")),
    Row("a file of torch", torch_file(STATE), Refused("not a readable safetensors checkpoint")),
    Row("no metadata", save(STATE), Refused(f"not a {ENCODER_FORMAT} checkpoint .*; name one that this project trained")),
    Row("another format", own(CLIP_FORMAT), Refused(f"not a {ENCODER_FORMAT} checkpoint .its format is '{CLIP_FORMAT}'")),
    Row("metadata that are no JSON", save(STATE, {"format": "x", "config": "{"}), Refused("not a readable safetensors checkpoint")),
    Row("metadata nested too deep", save(STATE, {"format": "[" * 100_000}), Refused("not a readable safetensors checkpoint")),
    Row("a configuration that is a list", own(config=[1]), Refused(f"not a {ENCODER_FORMAT} checkpoint")),
    Row("a configuration with a foreign key", resnet(depth=3), NO_MODEL),
    Row("a configuration of text", resnet(stem="four"), NO_MODEL),
    Row("a configuration of fractions", resnet(stem=4.5), NO_MODEL),
    Row("a configuration below zero", resnet(stem=-4), NO_MODEL),
    Row("no stages", resnet(widths=[]), NO_MODEL),
    Row("heads that are a list", resnet(heads=[1]), NO_MODEL),
    Row("a head named as a method", resnet(heads={"keys": ["a"]}), NO_MODEL),
    Row("a giant stem", resnet(stem=10**9), LARGER),
    Row("giant stages", resnet(widths=[10**6, 10**6]), LARGER),
    Row("wide stages", resnet(widths=[10**4, 10**4]), LARGER),
    Row("a million stages", resnet(widths=[4] * 10**6), LARGER),
    Row("a number that no machine holds", resnet(stem=10**30), LARGER),
    Row("foreign keys", own(tensors=STATE), LARGER),
    Row("a key more", of_resnet(more=torch.zeros(2)), NO_FIT),
    Row("another shape", of_resnet(**{"stem.0.weight": torch.zeros(4, 3, 7, 7)}), NO_FIT),
    Row("another width", resnet(stem=8), LARGER),
    Row("NaN", of_resnet(**{"stem.1.bias": torch.full((4,), torch.nan)}), Refused("holds values that are not finite; train the model again")),
    Row("one tensor of many", own(tensors={"stem.0.weight": torch.zeros(2)}), LARGER),
]  # fmt: skip


IDS = torch.unique(build_tokenizer(8)(["a cat"])).int()


def clip(tensors: dict | None = None, **changes: object) -> bytes:
    """A checkpoint of an image-text encoder."""
    given = {**state_of_clip(), "token_ids": IDS, **(tensors or {})}
    return own(CLIP_FORMAT, {**CLIP, **changes}, given)


NO_TOKENS = Refused(r"x\.safetensors: the token embedding does not fit open_clip's vocabulary; train the model again")
OF_CLIP = [
    Row("an encoder's checkpoint", own(), Refused(f"not a {CLIP_FORMAT} checkpoint")),
    Row("a token beyond the vocabulary", clip({"token_ids": torch.tensor([10**6] * 4).int()}), NO_TOKENS),
    Row("a token below zero", clip({"token_ids": torch.tensor([-1] * 4).int()}), NO_TOKENS),
    Row("fewer tokens than rows", clip({"token_ids": torch.tensor([1]).int()}), NO_TOKENS),
    Row("a token embedding of three dimensions", clip({"token_embedding.weight": torch.zeros(4, 2, 2)}), NO_TOKENS),
    Row("a wide token embedding", clip({"token_embedding.weight": torch.zeros(4, 10**6)}), Refused(NO_TOKENS.words + "|" + NO_FIT.words)),
    *(Row(f"a giant {name}", clip(**{name: 10**9}), LARGER) for name in ("image_size", "embedding", "width", "text_width", "text_layers", "context")),
    Row("giant layers", clip(layers=[10**9, 1, 1]), LARGER),
    Row("text heads that do not divide", clip(text_width=33), Refused(r"x\.safetensors: ")),
    Row("NaN in a tower", clip({"logit_scale": torch.tensor(torch.nan)}), Refused("holds values that are not finite")),
]  # fmt: skip


@pytest.fixture(autouse=True)
def within_bounds(tmp_path, monkeypatch):
    """Nothing explodes here, and nothing takes the memory of a giant."""
    monkeypatch.chdir(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert not Path("exploded").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2_000_000  # kilobytes


def placed(name, content):
    if content == "folder":
        Path(name).mkdir()
    elif content is not None:
        Path(name).write_bytes(content)
    return name


@each(RELEASED)
def test_released_checkpoints(row):
    given = {"kind": "python", "factory": "tests.support.own_networks:small", "weights": "checkpoint"}
    spec = TypeAdapter(EncoderSpec).validate_python({**given, "checkpoint": placed(*row.make)})
    if isinstance(row.expected, Refused):
        assert_refused(row.expected.words, lambda: load_encoder(spec, param="encoders.x"))
    else:
        encoder = load_encoder(spec, param="encoders.x")
        assert encoder.description["checkpoint"]["tensors_loaded"] == row.expected.value
        assert (
            torch.equal(encoder._network.module[0].bias, STATE["0.bias"].to(encoder._network.module[0].bias.dtype))
            or row.name == "half precision"
        )


@each(OF_SCENES)
def test_checkpoints_of_the_rendered_world(row):
    spec = TypeAdapter(EncoderSpec).validate_python({"kind": "scenes", "checkpoint": placed("x.safetensors", row.make)})
    assert_refused(row.expected.words, lambda: load_encoder(spec, param="encoders.x"))


@each(OF_CLIP)
def test_checkpoints_of_image_text_encoders(row):
    spec = TypeAdapter(ImageTextSpec).validate_python(
        {"kind": "open_clip", "checkpoint": placed("x.safetensors", row.make)}
    )
    assert_refused(row.expected.words, lambda: load_image_text(spec))


def test_the_makers_make_good_checkpoints():
    load_encoder(
        TypeAdapter(EncoderSpec).validate_python({"kind": "scenes", "checkpoint": placed("x.safetensors", own())})
    )
    load_image_text(
        TypeAdapter(ImageTextSpec).validate_python({"kind": "open_clip", "checkpoint": placed("x.safetensors", clip())})
    )


FUZZED = {
    "a file of torch": ("x.pt", torch_file(STATE), read_checkpoint),
    "an old file of torch": ("x.pt", torch_file(STATE, _use_new_zipfile_serialization=False), read_checkpoint),
    "a file with objects": ("x.pt", torch_file({"state_dict": STATE, "args": Namespace(lr=0.1)}), read_checkpoint),
    "safetensors": ("x.safetensors", save(STATE), read_checkpoint),
    "an encoder": ("x.safetensors", own(), load_encoder_checkpoint),
}


@pytest.mark.parametrize("kind", FUZZED)
@pytest.mark.filterwarnings("ignore")
def test_damaged_checkpoints(kind, tmp_path):
    name, content, read = FUZZED[kind]
    assert_readable_or_one_line(tmp_path / name, content, read)
