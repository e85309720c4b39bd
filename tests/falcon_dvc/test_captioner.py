"""The captioner: the search finds what it should, captions are one for each image and do not depend on the batch."""

import itertools
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from falcon_dvc.captioner import beam_search, load_captioner
from falcon_dvc.errors import UserError
from tests.support.tiny_models import pictures

START, END, WORDS = 3, 0, 4


def spec(**changes) -> SimpleNamespace:
    """The section generate_captions of params.yaml."""
    told = {"name": "coca_tiny", "pretrained": "checkpoint", "beams": 3, "max_length": 8, "batch_size": 7}
    return SimpleNamespace(**told | changes)


def table(seed: int):
    """A language with random probabilities for each picture and beginning."""

    def of_text(picture: int, text: list[int]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(hash((seed, picture, *text)) % 2**31)
        return torch.randn(WORDS, generator=generator).log_softmax(dim=0)

    def log_next(beams: int):
        return lambda texts: torch.stack([of_text(row // beams, text) for row, text in enumerate(texts.tolist())])

    return of_text, log_next


def mean_log_p(of_text, picture: int, text: tuple[int, ...]) -> float:
    beginnings = ([START, *text[:place]] for place in range(len(text)))
    return float(np.mean([of_text(picture, begun)[word] for begun, word in zip(beginnings, text, strict=True)]))


@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 3))
def test_a_search_with_enough_beams_finds_the_best_of_all_texts(seed, images, length):
    of_text, log_next = table(seed)
    beams = WORDS**length
    found = beam_search(log_next(beams), images, START, END, beams, length)
    texts = [text for size in range(1, length + 1) for text in itertools.product(range(WORDS), repeat=size)]
    complete = [text for text in texts if END not in text[:-1] and (text[-1] == END or len(text) == length)]
    for picture, row in enumerate(found.tolist()):
        best = max(complete, key=lambda text: mean_log_p(of_text, picture, text))
        assert tuple(row[: len(best)]) == best
        assert set(row[len(best) :]) <= {END}


@given(st.integers(0, 1000), st.integers(1, 6))
def test_one_beam_takes_the_most_probable_token_each_time(seed, length):
    of_text, log_next = table(seed)
    text = [START]
    while len(text) <= length and END not in text:
        text.append(int(of_text(0, text).argmax()))
    assert beam_search(log_next(1), 1, START, END, 1, length).tolist() == [text[1:]]


@given(st.integers(0, 200), st.integers(1, 5))
def test_a_search_does_not_depend_on_the_other_images(seed, beams):
    of_text, log_next = table(seed)
    ended = lambda row: [word for word in row if word != END]  # noqa: E731
    together = beam_search(log_next(beams), 4, START, END, beams, 5).tolist()
    shifted = lambda picture: lambda texts: torch.stack([of_text(picture, text) for text in texts.tolist()])  # noqa: E731
    alone = [beam_search(shifted(picture), 1, START, END, beams, 5).tolist()[0] for picture in range(4)]
    assert list(map(ended, together)) == list(map(ended, alone))


@pytest.mark.parametrize("beams", [1, 3])
def test_captions_are_one_for_each_picture_whatever_the_batch(beams, coca):
    some = pictures(10)
    captioner = load_captioner(spec(checkpoint=coca, beams=beams))
    together = captioner.captions(some)
    assert len(together) == 10 and len(set(together)) > 4
    for size in (1, 7):
        parts = [captioner.captions(some[start : start + size]) for start in range(0, 10, size)]
        assert list(itertools.chain.from_iterable(parts)) == together
    assert load_captioner(spec(checkpoint=coca, beams=beams)).captions(some) == together


def test_captions_hold_no_start_and_end(coca):
    captions = load_captioner(spec(checkpoint=coca)).captions(pictures(20))
    assert not any("<start_of_text>" in text or "<end_of_text>" in text for text in captions)
    assert any(captions)


def test_the_texts_are_what_the_models_own_logits_say(coca):
    """The greedy text, token by token, from the public forward pass of the whole text."""
    captioner = load_captioner(spec(checkpoint=coca, beams=1, max_length=5))
    model, tokenizer = captioner._model, captioner._tokenizer
    image = captioner._transform(Image.fromarray(pictures(1)[0]))[None]
    tokens = [tokenizer.sot_token_id]
    with torch.inference_mode():
        while len(tokens) <= 5 and tokenizer.eot_token_id not in tokens:
            tokens.append(int(model(image, torch.tensor([tokens]), output_labels=False)["logits"][0, -1].argmax()))
    expected = tokenizer.decode([token for token in tokens[1:] if token != tokenizer.eot_token_id])
    assert captioner.captions(pictures(1)) == [expected]


def test_no_package_beyond_open_clip_is_needed(coca, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert load_captioner(spec(checkpoint=coca)).captions(pictures(1))


def test_weights_may_be_a_file_of_torch_but_never_a_pickle(coca, tmp_path):
    from safetensors.torch import load_file

    tensors = load_file(coca)
    torch.save(tensors, tmp_path / "coca.pt")
    captions = [
        load_captioner(spec(checkpoint=str(path))).captions(pictures(3)) for path in (coca, tmp_path / "coca.pt")
    ]
    assert captions[0] == captions[1]
    torch.save({"state_dict": tensors, "code": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match=r"generate_captions: .*evil\.pt: not a file of tensors only"):
        load_captioner(spec(checkpoint=str(tmp_path / "evil.pt")))
    assert not Evil.ran


class Evil:
    """An object that shows whether it was unpickled."""

    ran = False

    def __reduce__(self):
        return setattr, (Evil, "ran", True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": "none.safetensors"}, "generate_captions: none.safetensors: not "),
        (
            {"name": "coca_huge"},
            "generate_captions: open_clip's model 'coca_huge' is unknown; use for instance coca_base",
        ),
        ({"pretrained": "no_tag"}, "generate_captions: open_clip has no released weights of coca_tiny; name a file"),
        ({"max_length": 13}, "generate_captions.max_length: 13 exceeds the context of 'coca_tiny'; use at most 12"),
    ],
)
def test_what_cannot_be_loaded_is_named(changes, message, coca):
    with pytest.raises(UserError) as error:
        load_captioner(spec(**{"checkpoint": coca} | changes))
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_a_model_that_writes_no_texts_is_refused(tmp_path, coca):
    import open_clip
    from safetensors.torch import save_file

    from tests.support.tiny_models import TINY_CLIP

    (tmp_path / "clip_tiny_no_texts.json").write_text(json.dumps(TINY_CLIP))
    open_clip.add_model_config(tmp_path / "clip_tiny_no_texts.json")
    save_file(open_clip.create_model("clip_tiny_no_texts").state_dict(), tmp_path / "clip.safetensors")
    with pytest.raises(UserError, match=r"generate_captions\.name: 'clip_tiny_no_texts' is not a captioner; use coca_"):
        load_captioner(spec(name="clip_tiny_no_texts", checkpoint=str(tmp_path / "clip.safetensors")))
