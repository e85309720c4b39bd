"""Load the joint image-text encoder, which maps images and texts to unit vectors of one space."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32
from PIL import Image

from falcon_dvc.compute.device import computing_in
from falcon_dvc.errors import UserError
from falcon_dvc.images.decode import resized
from falcon_dvc.models.image_text.base import PARAM, ImageTextEncoder, Picture, sha256
from falcon_dvc.placeholders import existing

if TYPE_CHECKING:
    import torch

    from falcon_dvc.models.open_clip.build import Source

IMAGE_BATCH = 64
TEXT_BATCH = 256


class OpenClip:
    """A CLIP of the open_clip family.

    Parameters
    ----------
    model : open_clip.model.CLIP
        Or another model with ``encode_image`` and ``encode_text``.
    tokenizer : callable
        From a list of texts to token ids.
    preprocess : callable
        From a list of images of any size to one batch of the model's input.
    fingerprint : str
        Kind, names and weights.
    device : str
        Where it runs.
    preprocessing : str
        Description of `preprocess`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Callable[[list[str]], "torch.Tensor"],
        preprocess: Callable[[Sequence[Picture]], "torch.Tensor"],
        fingerprint: str,
        device: str = "cpu",
        preprocessing: str = "",
    ) -> None:
        self._model = model.eval().float().to(device)
        self._tokenizer, self._preprocess, self._device = tokenizer, preprocess, device
        self.fingerprint, self.preprocessing = fingerprint, preprocessing
        self.dim = self.embed_texts(["a"]).shape[1]

    def embed_images(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images dim"]:
        """Return unit rows, one for each image of any size."""
        return self.embed_prepared(self.prepare(images))

    def prepare(self, images: Sequence[Picture]) -> "torch.Tensor":
        """Make the model's input from one or more images, on the CPU."""
        return self._preprocess(images)

    def embed_prepared(self, batch: "torch.Tensor") -> Float32[np.ndarray, "images dim"]:
        """Return the embeddings, as `embed_images`, of prepared images."""
        return self._embedded(self._model.encode_image, batch.split(IMAGE_BATCH))

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """Return unit rows, one for each text."""
        return self._embedded(self._model.encode_text, map(self._tokenizer, _batches(texts, TEXT_BATCH)))

    def _embedded(self, encode: Callable, batches: "Iterable[torch.Tensor]") -> Float32[np.ndarray, "items dim"]:
        """Run a tower over batches; return unit rows."""
        import torch

        with torch.inference_mode():
            rows = [encode(batch.to(self._device, non_blocking=True), normalize=False).float() for batch in batches]
            return torch.nn.functional.normalize(torch.cat(rows), dim=1).cpu().numpy()


class InPrecision:
    """An image-text encoder whose networks compute in half precision. Its embeddings are float32.

    Parameters
    ----------
    encoder : ImageTextEncoder
        The encoder, in single precision.
    precision : {"bfloat16", "float16"}
        Precision of the operations that torch's autocast considers safe.
    device : str
        Where it runs.
    """

    def __init__(self, encoder: ImageTextEncoder, precision: str, device: str = "cpu") -> None:
        self._encoder, self._precision, self._device = encoder, precision, device
        self.dim, self.preprocessing = encoder.dim, encoder.preprocessing
        self.fingerprint = f"{encoder.fingerprint}:{precision}"

    def embed_images(self, images: Sequence[Picture]) -> Float32[np.ndarray, "images dim"]:
        """Return unit rows, one for each image of any size."""
        return self._embedded(self._encoder.embed_images, images)

    def prepare(self, images: Sequence[Picture]) -> "torch.Tensor":
        """Make the network's input from one or more images, on the CPU; safe to call from several threads."""
        return self._encoder.prepare(images)

    def embed_prepared(self, batch: "torch.Tensor") -> Float32[np.ndarray, "images dim"]:
        """Return the embeddings, as `embed_images`, of prepared images."""
        return self._embedded(self._encoder.embed_prepared, batch)

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """Return unit rows, one for each text."""
        return self._embedded(self._encoder.embed_texts, texts)

    def _embedded(self, embed: Callable, items: Any) -> Float32[np.ndarray, "items dim"]:
        """Embed in half precision; raise if a number exceeds its range."""
        with computing_in(self._precision, self._device):
            rows = embed(items)
        if not np.isfinite(rows).all():
            raise UserError(
                f"{PARAM}.precision: in {self._precision} the network gives numbers that are not finite; use float32"
            )
        return rows


def _batches(items: Sequence, size: int) -> Iterator[list]:
    """Yield consecutive batches of a sequence."""
    return (list(items[start : start + size]) for start in range(0, len(items), size))


def load_image_text(spec: Any, device: str = "cpu") -> ImageTextEncoder:
    """Load the joint image-text encoder, in its precision.

    Parameters
    ----------
    spec
        The param ``image_text``: kind and precision. With kind open_clip, either checkpoint alone (written by the stage
        train_clip), or name and pretrained (see `falcon_dvc.models.open_clip.build.source_of`). With kind conse: top,
        classifier, sentences. With kind aligned: checkpoint (written by the stage align_image_text).
    device : str
        Where it runs, for instance "cpu" or "cuda".

    Raises
    ------
    UserError
        If the kind is unknown, or weights or packages are missing.
    """
    encoder = _in_float32(spec, device)
    return encoder if spec.precision == "float32" else InPrecision(encoder, spec.precision, device)


def _in_float32(spec: Any, device: str) -> ImageTextEncoder:
    """Load an encoder of the given kind."""
    if spec.kind == "open_clip":
        if spec.name is None:
            return _own_clip(spec.checkpoint, device)
        return _published_clip(spec, device)
    if spec.kind == "conse":
        from falcon_dvc.models.image_text.conse import ConSE

        return ConSE(spec.top, device, spec.classifier, spec.sentences)
    if spec.kind == "aligned":
        from falcon_dvc.models.image_text.aligned import Aligned

        return Aligned(spec.checkpoint, spec.read_towers, device)
    raise UserError(f"{PARAM}: kind {spec.kind!r} is unknown; use open_clip, conse or aligned")


def _own_clip(checkpoint: str, device: str) -> OpenClip:
    """Load the CLIP that this project trained. It sees the whole image, scaled to its input size."""
    from falcon_dvc.models.image_text.faster_tower import faster
    from falcon_dvc.models.onednn import by_onednn
    from falcon_dvc.models.scenes.checkpoints import load_clip
    from falcon_dvc.models.scenes.small_clip import prepare
    from falcon_dvc.models.scenes.small_resnet import unit_images

    model, tokenizer = load_clip(existing(checkpoint, f"{PARAM}.checkpoint"))
    side = _side(model.visual)
    model.visual = faster(model.visual)
    by_onednn(model)

    def preprocess(images: Sequence[Picture]) -> "torch.Tensor":
        return prepare(unit_images(np.stack([resized(image, side) for image in images])))

    seen = f"the whole image, squashed to {side} x {side}"
    return OpenClip(model, tokenizer, preprocess, f"open_clip:{sha256(checkpoint)}", device, seen)


def _side(tower: Any) -> int:
    """Return the input size of an image tower; open_clip stores it as a number or as a pair."""
    return tower.image_size if isinstance(tower.image_size, int) else tower.image_size[0]


def _published_clip(spec: Any, device: str) -> OpenClip:
    """Load a published CLIP from a file of weights or by its name or tag (from open_clip's cache or the network)."""
    from falcon_dvc.models.onednn import by_onednn  # imports torch, which takes two seconds
    from falcon_dvc.models.open_clip.build import loaded, tokenizer_of

    model, transform, source = loaded(spec, PARAM)
    by_onednn(model)
    return composed(model, transform, tokenizer_of(source.name, PARAM), _fingerprint(source), device)


def _fingerprint(source: "Source") -> str:
    """Describe name, weights and activation of a published CLIP."""
    from falcon_dvc.models.open_clip.build import scheme

    weights = source.tag or (sha256(source.file) if source.file else "random")
    name = "repository" if scheme(source.name) else source.name  # the weights do not depend on the folder's path
    return ":".join(["open_clip", name, weights, *(["quickgelu"] if source.settings.quick_gelu else [])])


def composed(
    model: Any, transform: Callable[[Image.Image], "torch.Tensor"], tokenizer: Callable, fingerprint: str, device: str
) -> OpenClip:
    """Compose an image-text encoder of the three parts that open_clip returns.

    Parameters
    ----------
    model, tokenizer
        As `OpenClip` takes them.
    transform
        From a PIL image to the model's input.
    """
    import torch

    def preprocess(images: Sequence[Picture]) -> "torch.Tensor":
        return torch.stack([transform(Image.fromarray(image)) for image in images])

    return OpenClip(model, tokenizer, preprocess, fingerprint, device, " ".join(str(transform).split()))
