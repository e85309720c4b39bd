"""Build networks by name from torchvision, timm or open_clip, or from a function of the user, with their preprocessing."""

import copy
import difflib
import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.encoders.own_networks import for_channels, in_float32, numbers, plain, side, takes_grey
from falcon_dvc.models.encoders.packaged import is_packaged, packaged_file
from falcon_dvc.models.encoders.preparation import Preparation
from falcon_dvc.models.encoders.random_weights import drawn_again, noise_pictures, seeded, set_running_statistics
from falcon_dvc.models.encoders.released_checkpoints import load_released, load_tensors
from falcon_dvc.models.encoders.timm_names import known_name, remark
from falcon_dvc.models.onednn import by_onednn
from falcon_dvc.models.open_clip import build as open_clip
from falcon_dvc.models.open_clip.weights import converted

RESAMPLE = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
}
# Released weights of these expect another standardisation, which the network applies with transform_input.
STANDARDISE_INSIDE = ("googlenet", "inception_v3")
IMAGENET = ("imagenet",)
FEW = 6  # names that an error lists in full
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
    content
        Of its checkpoint, by the names of the network, before it is loaded. None: the file is still to be read.
    remarks
        What differs from the names and sizes in the params, in one line each.
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
    content: Any = None
    remarks: tuple[str, ...] = ()


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
    if file := _file_of_weights(getattr(spec, source), spec, param):
        network.loaded = load_released(
            network.module, file, network.classifiers, spec.part, f"{param}.checkpoint", network.content
        )
        network.content = None
    network.preparation, network.classes = _overridden(network.preparation, spec), spec.classes or network.classes
    network.module.eval().requires_grad_(False)
    if network.untrained:
        # If the network does not take images of this size, `layers_of` says so.
        with suppress(RuntimeError, AssertionError, ValueError, TypeError, IndexError):
            set_running_statistics(network.module, network.preparation.batch(noise_pictures()))
    by_onednn(network.module)
    return network


def _file_of_weights(source: str, spec: Any, param: str) -> Any:
    """Return the file that the weights are read from: the checkpoint, or one of a package; None if there is none."""
    if is_packaged(source):
        return packaged_file(source, param)
    return spec.checkpoint if source == "checkpoint" else None


def _overridden(preparation: Preparation, spec: Any) -> Preparation:
    """Replace the preprocessing by the values that the params set."""
    values = {key: getattr(spec, key) for key in ("size", "mean", "std") if getattr(spec, key) is not None}
    if spec.squash is not None or spec.crop is not None:
        values |= {"squash": bool(spec.squash), "share": spec.crop or 1.0}
    return replace(preparation, **values)


def _known(name: str, names: Sequence[str], param: str, what: str) -> str:
    if name in names:
        return name
    few = list(names) if len(names) <= FEW else []
    close = few or difflib.get_close_matches(name.casefold(), names, n=3) or list(names)[:3]
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


def _sized(build: Callable[..., nn.Module], *arguments: dict[str, Any]) -> nn.Module:
    """Build a network with the first of the arguments for its size that its constructor takes."""
    for argument in arguments:
        try:
            return build(**argument)
        except TypeError:
            continue  # convolutional networks accept any size
    return build()


def _built(build: Callable[[], nn.Module], spec: Any, param: str) -> nn.Module:
    """Build a network without weights; report that it does not take the size.

    Raises
    ------
    UserError
        If the constructor fails.
    """
    try:
        return build()
    except Exception as error:  # constructors check their arguments by assertions and by exceptions of any kind
        size = "its own size" if spec.size is None else f"size {spec.size}"
        raise UserError(
            f"{param}: {spec.name} cannot be built for {size} ({one_line(error)}); correct size or name"
        ) from error


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
    {"torchvision": _torchvision_weights, "timm": known_name, "open_clip": open_clip.check_model}[spec.kind](
        spec, param
    )


def _torchvision_weights(spec: Any, param: str) -> Any:
    """Return the released weights that the params name; None if they come from elsewhere."""
    from torchvision import models

    _known(spec.name, models.list_models(module=models), param, "torchvision's model")
    if spec.weights in ("checkpoint", "random") or is_packaged(spec.weights):
        return None
    released = models.get_model_weights(spec.name)
    name = spec.weights.removeprefix(f"{released.__name__}.")
    return released[_known(name, list(released.__members__), param, f"weights of {spec.name}")]


def _torchvision(spec: Any, param: str) -> Network:
    from torchvision import models

    weights = _torchvision_weights(spec, param)
    described = weights or _described_weights(spec)
    preparation = _torchvision_preparation((described or next(iter(models.get_model_weights(spec.name)))).transforms())
    options = {"transform_input": True} if described is not None and spec.name in STANDARDISE_INSIDE else {}
    build = lambda **size: models.get_model(spec.name, weights=None, **options, **size)  # noqa: E731
    size = spec.size or preparation.size
    sized = lambda: _sized(build, {"image_size": size}, {"input_size": (size, size)})  # noqa: E731
    module = _built(sized, spec, param)
    return Network(
        module,
        preparation,
        _last_layer(module),
        prefix_tokens=1 if hasattr(module, "class_token") else None,
        classes=IMAGENET if weights is not None else None,
        remarks=_with_weights(module, weights, spec, param) if weights is not None else (),
    )


def _described_weights(spec: Any) -> Any:
    """Return torchvision's description of the checkpoint if the file has the name of released weights; else None."""
    from torchvision import models

    released = models.get_model_weights(spec.name) if spec.weights == "checkpoint" else ()
    return next((weights for weights in released if Path(weights.url).name == Path(spec.checkpoint).name), None)


def _with_weights(module: nn.Module, weights: Any, spec: Any, param: str) -> tuple[str, ...]:
    """Load released weights into a network of torchvision; return remarks."""
    fetch = lambda: weights.get_state_dict(progress=False, check_hash=True, weights_only=True)  # noqa: E731
    where = f"{param}: {spec.name} {spec.weights}"
    report = load_tensors(module, _fetched(fetch, param, f"{spec.name} {spec.weights}"), where, _last_layer(module))
    if report["missing"] or not report["classifier_loaded"]:
        raise UserError(f"{where}: torchvision's file lacks tensors of the network; remove it from torch's cache")
    return (f"computed for this size: {', '.join(report['computed'])}",) if report["computed"] else ()


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


def _timm(spec: Any, param: str) -> Network:
    import timm
    from timm.data import resolve_model_data_config

    name, pretrained = known_name(spec, param), spec.weights == "pretrained"
    build = lambda **size: timm.create_model(name, pretrained=pretrained, **size)  # noqa: E731
    sized = lambda: _sized(build, *([{"img_size": spec.size}] if spec.size else []))  # noqa: E731
    hub = pretrained or ":" in name
    module = _fetched(sized, param, f"pretrained weights of {name}") if hub else _built(sized, spec, param)
    classifier = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    renamed = remark(spec, param)
    return Network(
        module,
        _timm_preparation(resolve_model_data_config(module)),
        (classifier,) if isinstance(classifier, str) else tuple(classifier),
        classes=IMAGENET if pretrained and getattr(module, "num_classes", 0) == 1000 else None,
        prefix_tokens=getattr(module, "num_prefix_tokens", None),
        class_token=_has_class_token(module),
        width=getattr(module, "num_features", None),
        remarks=(renamed,) if renamed else (),
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


def _open_clip(spec: Any, param: str) -> Network:
    source = open_clip.source_of(spec, param)
    model = open_clip.built(source, param)
    from_file = spec.pretrained == "checkpoint"
    if not from_file:
        open_clip.fill(model, source, param)
    visual, trunk = model.visual, getattr(model.visual, "trunk", None)
    return Network(
        visual,
        _open_clip_preparation(visual.preprocess_cfg, param),
        prefix_tokens=getattr(trunk, "num_prefix_tokens", None) if trunk else _class_tokens(visual),
        class_token=_has_class_token(trunk),
        width=getattr(trunk, "num_features", None),
        content=_of_tower(model, source.content) if from_file else None,
    )


def _of_tower(model: nn.Module, content: Any) -> Any:
    """Return the content of a file by the names of a model; unchanged if it holds an image tower alone."""
    table = converted(model, content)
    return table if any(name.startswith("visual.") for name in table) else content


def _class_tokens(visual: nn.Module) -> int | None:
    return 1 if hasattr(visual, "class_embedding") else None


def _open_clip_preparation(config: dict[str, Any], param: str) -> Preparation:
    if config.get("resize_mode") == "longest":
        raise UserError(
            f"{param}: the network sees images with a border, which encoders lack; set squash: true or false"
        )
    size = config.get("size", 224)
    return Preparation(
        size if isinstance(size, int) else size[0],
        tuple(config["mean"]),
        tuple(config["std"]),
        squash=config.get("resize_mode") == "squash",
        resample=RESAMPLE.get(config.get("interpolation", "bicubic"), Image.Resampling.BICUBIC),
    )


def _python(spec: Any, param: str) -> Network:
    module = in_float32(plain(_call_factory(spec.factory, param)), param)
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
    size = side(settings.pop("size"), param) or Preparation.size
    known = {key: values for key, value in settings.items() if (values := numbers(value, key, param))}
    channels = 1 if preprocess is None and takes_grey(module, size) else 3
    per_channel: dict[str, Any] = {key: for_channels(values, channels, key, param) for key, values in known.items()}
    return Preparation(size, **per_channel, squash=True, transform=preprocess, channels=channels)


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
        For instance of torchvision or timm, or of the user. The copy is in float32.
    spec
        `preprocess` (from a PIL image to a tensor, or None), and ``size``, ``mean``, ``std``, ``crop``, ``squash`` as in
        the schema ``Network``. Preprocessing of torchvision's weights, and of timm's models, is read from the object.

    Raises
    ------
    UserError
        If the preprocessing is not known.
    """
    preprocess, name = spec.preprocess or getattr(module, "preprocess", None), type(module).__name__
    module = in_float32(copy.deepcopy(plain(module)), param)
    preparation = _preset(module, preprocess) or _own_preparation(module, preprocess, spec, param, name)
    network = _described(module, _overridden(preparation, spec))
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
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise UserError(f"{param}: factory {factory} failed ({reason}); {_fix(error, path)}") from error
    if not isinstance(module, nn.Module):
        raise UserError(f"{param}: factory {factory} returned {_named(module)}; it must return a torch.nn.Module")
    return module


def _fix(error: BaseException, path: str) -> str:
    """Say what to do about a factory that failed."""
    text = str(error)
    if isinstance(error, ModuleNotFoundError) and path.startswith(str(error.name)):
        return "put the module into the folder where the stages run (runs/NAME of a profile), or install it"
    if isinstance(error, TypeError) and "required positional argument" in text:
        return "name a function without arguments that returns the network"
    if "CUDA" in text or "NVIDIA" in text:
        return "build it on the CPU, with map_location='cpu' for its file; the param device says where it runs"
    return "correct it"


def _named(value: Any) -> str:
    """Name the kind of what is no network, and what is probably meant."""
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    if isinstance(value, dict) and any(isinstance(tensor, torch.Tensor) for tensor in value.values()):
        return "weights (a state_dict), and no network that they are loaded into"
    return f"a {type(value).__name__}"
