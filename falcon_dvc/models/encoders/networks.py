"""Build networks by name from torchvision, timm or open_clip, or from a function of the user, with their preprocessing."""

import copy
import difflib
import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image
from torch import nn

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.encoders.preparation import Preparation
from falcon_dvc.models.encoders.random_weights import drawn_again, noise_pictures, seeded, set_running_statistics
from falcon_dvc.models.encoders.released_checkpoints import load_released

RESAMPLE = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}
# Released weights of these expect another standardisation, which the network applies with transform_input.
STANDARDISE_INSIDE = ("googlenet", "inception_v3")
IMAGENET = ("imagenet",)
HEADS = ("fc", "head", "heads", "classifier")  # common names of the classifier of a network


@dataclass
class Network:
    """A network and its properties.

    Attributes
    ----------
    module
        In evaluation mode, without gradients of its weights.
    preparation
        The preprocessing of images.
    classifiers
        Names of the modules that compute logits from features.
    prefix_tokens
        Tokens before those of the positions; None if not known.
    class_token
        Whether the first token is a class token and not a register; None if not known.
    width
        Number of features; None if not known.
    classes
        Names of the outputs of its classifier, or ``("imagenet",)``; None if not known.
    loaded
        Report of `load_released`; None without a checkpoint.
    untrained
        Whether its weights are random numbers.
    """

    module: nn.Module
    preparation: Preparation
    classifiers: tuple[str, ...] = ()
    prefix_tokens: int | None = None
    class_token: bool | None = None
    width: int | None = None
    classes: tuple[str, ...] | None = None
    loaded: dict[str, Any] | None = None
    untrained: bool = False


def build_network(spec: Any, param: str = "encoders") -> Network:
    """Build the network of an entry in the param ``encoders`` with its weights.

    Parameters
    ----------
    spec
        One of the schemas ``TorchvisionEncoder``, ``TimmEncoder``, ``OpenClipEncoder``, ``PythonEncoder``.
    param : str
        The name of the entry, for errors: ``encoders.NAME``.

    Raises
    ------
    UserError
        If the name or the weights are unknown, or the weights cannot be loaded or do not fit.
    """
    build, source = {
        "torchvision": (_torchvision, "weights"),
        "timm": (_timm, "weights"),
        "open_clip": (_open_clip, "pretrained"),
        "python": (_python, "weights"),
    }[spec.kind]
    with seeded(spec.seed):
        network = build(spec, param)
    network.untrained = getattr(spec, source) == "random"
    if getattr(spec, source) == "checkpoint":
        network.loaded = load_released(network.module, spec.checkpoint, network.classifiers, spec.part)
    network.preparation, network.classes = _overridden(network.preparation, spec), spec.classes or network.classes
    network.module.eval().requires_grad_(False)
    if network.untrained:
        # If the network does not take images of this size, `layers_of` says so.
        with suppress(RuntimeError, AssertionError, ValueError, TypeError, IndexError):
            set_running_statistics(network.module, network.preparation.batch(noise_pictures()))
    return network


def _overridden(preparation: Preparation, spec: Any) -> Preparation:
    """Replace the preprocessing by the values that the params set."""
    values = {key: getattr(spec, key) for key in ("size", "mean", "std") if getattr(spec, key) is not None}
    if spec.squash is not None or spec.crop is not None:
        values |= {"squash": bool(spec.squash), "share": spec.crop or 1.0}
    return replace(preparation, **values)


def _known(name: str, names: Sequence[str], param: str, what: str) -> str:
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=3) or list(names)[:3]
    raise UserError(f"{param}: {what} '{name}' is unknown; use for instance {', '.join(close)}")


def _fetched(fetch: Callable[[], Any], param: str, what: str) -> Any:
    """Call a function that may download weights; report its errors.

    Raises
    ------
    UserError
        If the function fails.
    """
    try:
        return fetch()
    except Exception as error:  # the clients of the hubs pass on the exceptions of their HTTP libraries
        reason = one_line(error)
        raise UserError(
            f"{param}: {what} could not be loaded ({type(error).__name__}: {reason}); without a network, put the weights "
            "into a file and name it as checkpoint, with weights (or pretrained) set to checkpoint"
        ) from error


def _sized(build: Callable[..., nn.Module], key: str, size: int | None) -> nn.Module:
    """Build a network for another input size, if its constructor takes one."""
    if size is not None:
        try:
            return build(**{key: size})
        except TypeError:
            pass  # convolutional networks accept any size
    return build()


def check_names(spec: Any, param: str = "encoders") -> None:
    """Check that the library knows the network of an entry and the weights that it names. Nothing is built or downloaded.

    Parameters
    ----------
    spec
        As for `build_network`, of kind torchvision, timm or open_clip.
    param : str
        The name of the entry, for errors.

    Raises
    ------
    UserError
        If the library does not know a name. The message offers close ones.
    """
    {"torchvision": _torchvision_weights, "timm": _check_timm, "open_clip": _open_clip_tag}[spec.kind](spec, param)


def _torchvision_weights(spec: Any, param: str) -> Any:
    """Return the released weights that the params name; None if they come from elsewhere."""
    from torchvision import models

    _known(spec.name, models.list_models(module=models), param, "torchvision's model")
    if spec.weights in ("checkpoint", "random"):
        return None
    released = models.get_model_weights(spec.name)
    return released[_known(spec.weights, list(released.__members__), param, f"weights of {spec.name}")]


def _torchvision(spec: Any, param: str) -> Network:
    from torchvision import models

    weights = _torchvision_weights(spec, param)
    # The first weights of a network are those of its paper. Most other checkpoints use the same preprocessing.
    described = weights or next(iter(models.get_model_weights(spec.name)))
    options = {"transform_input": True} if weights is not None and spec.name in STANDARDISE_INSIDE else {}
    module = _sized(
        lambda **size: models.get_model(spec.name, weights=None, **options, **size), "image_size", spec.size
    )
    if weights is not None:
        fetch = lambda: weights.get_state_dict(progress=False, check_hash=True, weights_only=True)  # noqa: E731
        module.load_state_dict(_fetched(fetch, param, f"{spec.name} {spec.weights}"))
    return Network(
        module,
        _torchvision_preparation(described.transforms()),
        _last_layer(module),
        prefix_tokens=1 if hasattr(module, "class_token") else None,
        classes=IMAGENET if weights is not None else None,
    )


def _torchvision_preparation(transforms: Any) -> Preparation:
    size, short = transforms.crop_size[0], transforms.resize_size[0]
    return Preparation(
        size,
        tuple(transforms.mean),
        tuple(transforms.std),
        share=size / short,
        resample=RESAMPLE[transforms.interpolation.value],
    )


def _last_layer(module: nn.Module) -> tuple[str, ...]:
    """Return the classifier of a network of torchvision: the last linear layer or, without one, the last convolution."""
    for kind in (nn.Linear, nn.Conv2d):
        names = [name for name, child in module.named_modules() if type(child) is kind]
        if names:
            return (names[-1],)
    return ()


def _check_timm(spec: Any, param: str) -> None:
    import timm

    name, _, tag = spec.name.partition(".")
    _known(name, timm.list_models(), param, "timm's model")
    if spec.weights != "pretrained":
        return
    released = timm.list_pretrained(f"{name}.*")
    if not released:
        raise UserError(
            f"{param}: timm has no pretrained weights of '{name}'; name a checkpoint, or set weights to random"
        )
    if tag:
        _known(spec.name, released, param, "timm's pretrained model")


def _timm(spec: Any, param: str) -> Network:
    import timm
    from timm.data import resolve_model_data_config

    _check_timm(spec, param)
    pretrained = spec.weights == "pretrained"

    def build(**size: Any) -> nn.Module:
        return timm.create_model(spec.name, pretrained=pretrained, **size)

    sized = lambda: _sized(build, "img_size", spec.size)  # noqa: E731
    module = _fetched(sized, param, f"pretrained weights of {spec.name}") if pretrained else sized()
    classifier = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    return Network(
        module,
        _timm_preparation(resolve_model_data_config(module)),
        (classifier,) if isinstance(classifier, str) else tuple(classifier),
        classes=IMAGENET if pretrained and getattr(module, "num_classes", 0) == 1000 else None,
        prefix_tokens=getattr(module, "num_prefix_tokens", None),
        class_token=_has_class_token(module),
        width=getattr(module, "num_features", None),
    )


def _has_class_token(module: nn.Module | None) -> bool | None:
    return module.cls_token is not None if hasattr(module, "cls_token") else None  # type: ignore[union-attr]


def _timm_preparation(config: dict[str, Any]) -> Preparation:
    return Preparation(
        config["input_size"][-1],
        tuple(config["mean"]),
        tuple(config["std"]),
        share=min(1.0, config["crop_pct"]),
        squash=config["crop_mode"] == "squash",
        resample=RESAMPLE.get(config["interpolation"], Image.Resampling.BICUBIC),
    )


def _open_clip_tag(spec: Any, param: str) -> str | None:
    """Return the tag of the released weights that the params name; None if they come from elsewhere."""
    import open_clip

    _known(spec.name, open_clip.list_models(), param, "open_clip's model")
    if spec.pretrained in ("checkpoint", "random"):
        return None
    return _known(spec.pretrained, _tags(spec.name), param, f"weights of {spec.name}")


def _open_clip(spec: Any, param: str) -> Network:
    import open_clip

    tag = _open_clip_tag(spec, param)

    def build() -> nn.Module:
        with _without_warnings():
            return open_clip.create_model(spec.name, pretrained=tag, pretrained_text=False, force_image_size=spec.size)

    module = _fetched(build, param, f"{spec.name} {tag or ''}".rstrip())
    trunk = getattr(module.visual, "trunk", None)
    return Network(
        module.visual,
        _open_clip_preparation(open_clip.get_model_preprocess_cfg(module)),
        prefix_tokens=getattr(trunk, "num_prefix_tokens", None) if trunk else _class_tokens(module.visual),
        class_token=_has_class_token(trunk),
        width=getattr(trunk, "num_features", None),
    )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence open_clip's warning of random weights: they were asked for, or a file replaces them afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _tags(name: str) -> list[str]:
    from open_clip import list_pretrained_tags_by_model

    return list_pretrained_tags_by_model(name)


def _class_tokens(visual: nn.Module) -> int | None:
    return 1 if hasattr(visual, "class_embedding") else None


def _open_clip_preparation(config: dict[str, Any]) -> Preparation:
    size = config.get("size", 224)
    return Preparation(
        size if isinstance(size, int) else size[0],
        tuple(config["mean"]),
        tuple(config["std"]),
        squash=config.get("resize_mode") == "squash",
        resample=RESAMPLE.get(config.get("interpolation", "bicubic"), Image.Resampling.BICUBIC),
    )


def _python(spec: Any, param: str) -> Network:
    module = _call_factory(spec.factory, param)
    if spec.weights == "random":
        module = drawn_again(module, spec.seed, param)
    preparation = _own_preparation(module, getattr(module, "preprocess", None), spec, param, spec.factory)
    return _described(module, preparation)


def _own_preparation(module: nn.Module, preprocess: Any, spec: Any, param: str, name: str) -> Preparation:
    """Return the preprocessing that a module brings, or that the spec describes."""
    settings = {key: getattr(spec, key) or getattr(module, key, None) for key in ("size", "mean", "std")}
    if preprocess is None and None in settings.values():
        missing = ", ".join(key for key, value in settings.items() if value is None)
        raise UserError(f"{param}: the network of {name} has no attribute `preprocess`; give {missing}")
    known: dict[str, Any] = {
        key: value if key == "size" else tuple(value) for key, value in settings.items() if value is not None
    }
    return Preparation(**known, squash=True, transform=preprocess)


def _described(module: nn.Module, preparation: Preparation) -> Network:
    """Describe a module by its attributes."""
    return Network(
        module,
        preparation,
        tuple(name for name, _ in module.named_children() if name in HEADS),
        prefix_tokens=getattr(module, "num_prefix_tokens", None),
    )


def wrapped(module: nn.Module, spec: Any, param: str) -> Network:
    """Describe a copy of a module in memory. The module itself keeps its mode and its gradients.

    Parameters
    ----------
    module
        For instance of torchvision or timm, or of the user.
    spec
        `preprocess` (from a PIL image to a tensor, or None), and ``size``, ``mean``, ``std``, ``crop``, ``squash`` as in
        the schema ``Network``. Preprocessing of torchvision's weights, and of timm's models, is read from the object.

    Raises
    ------
    UserError
        If the preprocessing is not known.
    """
    preprocess = spec.preprocess or getattr(module, "preprocess", None)
    preparation = _preset(module, preprocess) or _own_preparation(
        module, preprocess, spec, param, type(module).__name__
    )
    network = _described(copy.deepcopy(module), _overridden(preparation, spec))
    network.module.eval().requires_grad_(False)
    return network


def _preset(module: nn.Module, preprocess: Any) -> Preparation | None:
    """Return the preprocessing that torchvision or timm describe; None if neither does."""
    if hasattr(preprocess, "crop_size") and hasattr(preprocess, "resize_size"):
        return _torchvision_preparation(preprocess)
    if preprocess is None and hasattr(module, "pretrained_cfg"):
        from timm.data import resolve_model_data_config

        return _timm_preparation(resolve_model_data_config(module))
    return None


def _call_factory(factory: str, param: str) -> nn.Module:
    """Call the user's function that ``factory`` names. No other param can run code."""
    path, _, function = factory.partition(":")
    if path.partition(".")[0] in sys.stdlib_module_names:
        raise UserError(
            f"{param}: factory {factory} is of Python's own library; name a function that returns a network"
        )
    try:
        module = getattr(importlib.import_module(path), function)()
    except (Exception, SystemExit) as error:  # the user's code can raise any exception
        raise UserError(f"{param}: factory {factory} failed ({type(error).__name__}: {error}); correct it") from error
    if not isinstance(module, nn.Module):
        raise UserError(
            f"{param}: factory {factory} returned a {type(module).__name__}; it must return a torch.nn.Module"
        )
    return module
