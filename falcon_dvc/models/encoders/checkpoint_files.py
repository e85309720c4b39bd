"""Read files of weights without running code: of safetensors and of torch, in one part or in several.

Files of torch are read with ``weights_only=True``. Released files often hold other values beside the tensors: the
command line, a configuration, numbers of NumPy. No class of these values is imported. An empty object takes the place
of each of them.
"""

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from falcon_dvc.errors import UserError, one_line
from falcon_dvc.models.encoders.pickled_objects import Unread, is_attack, stand_ins
from falcon_dvc.placeholders import START, existing, placeholder

OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number at the beginning of files of torch before version 1.6
LONGEST_HEADER = 100_000_000  # bytes of the header of a safetensors file
PACKED = {
    b"\x1f\x8b": ("packed with gzip", "unpack it (gunzip)"),
    b"\x28\xb5\x2f\xfd": ("packed with Zstandard", "unpack it (unzstd)"),
    b"\xfd7zXZ\0": ("packed with xz", "unpack it (unxz)"),
    b"BZh": ("packed with bzip2", "unpack it (bunzip2)"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it"),
    b"Rar!": ("a RAR archive", "unpack it"),
}
FOREIGN = {
    b"\x89HDF": "an HDF5 file (Keras, TensorFlow)",
    b"\x93NUMPY": "an array of NumPy",
    b"GGUF": "a GGUF file",
}
FOREIGN_SUFFIXES = {
    ".onnx": "an ONNX file",
    ".pb": "a file of TensorFlow",
    ".tflite": "a file of TensorFlow",
    ".msgpack": "a file of Flax",
    ".pkl": "a pickle that torch did not write (JAX, Detectron2)",
}
PORT = "name the weights as the network of PyTorch names them, and save them with safetensors.torch.save_file"
WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".tar", ".th", ".torch")
# What transformers, timm and open_clip write into a folder, the first before the others.
NAMES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")
ONE_OF_SEVERAL = re.compile(r"-\d+-of-0*(?!1\.)[1-9]\d*\.(safetensors|bin|pt|pth)$")


def read_checkpoint(path: str | Path, param: str = "") -> Any:
    """Read the tensors of a file, or of a folder that holds one model in one or several files.

    Parameters
    ----------
    path : path
        ``.safetensors``, or nested dictionaries in a file of torch. The content decides, not the suffix.
    param : str
        The param that names it, for the message if there is no such file.

    Returns
    -------
    dict or other content of the file
        Tensors by name, or nested dictionaries. `Unread` takes the place of objects that are no tensors and plain values.

    Raises
    ------
    UserError
        If the file is missing, damaged, no file of tensors, or needs code to be read.
    """
    path = existing(path, param)
    if ONE_OF_SEVERAL.search(path.name):
        raise UserError(f"{path}: is one of several parts of a model; name the folder that holds all of them")
    try:
        return _folder(path) if path.is_dir() else _file(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or one_line(error)}); allow it") from error


def pickled_networks(content: Any) -> list[str]:
    """Return where a file holds whole networks in place of tensors: "" for the file itself, or ``['model']``."""
    if isinstance(content, Unread):
        return [""] if content.is_network else []
    values = content.items() if isinstance(content, Mapping) else ()
    return [f"[{key!a}]" for key, value in values if isinstance(value, Unread) and value.is_network]


def refuse_network(path: str | Path, place: str = "") -> None:
    """Refuse a file that holds a whole network, and say how to convert it.

    Parameters
    ----------
    place : str
        Where it holds the network, as from `pickled_networks`.

    Raises
    ------
    UserError
        Always.
    """
    raise UserError(
        f"{path}: holds a whole network and not only its tensors (reading it could run code); where you trust it and its "
        "code is installed, convert it: "
        f"{_converted(path, f'torch.load({str(path)!a}, weights_only=False){place}.state_dict()')}"
    )


def _converted(path: str | Path, expression: str) -> str:
    """Return a line of Python that writes an expression into a new file beside the old one."""
    return f"torch.save({expression}, {str(Path(path).with_suffix('')) + '.tensors.pth'!a})"


def _folder(path: Path) -> Any:
    """Read the model that a folder holds."""
    names = sorted(file.name for file in path.iterdir() if file.is_file())
    index = [name for name in names if name.endswith(".index.json")]
    files = [name for name in names if name.endswith(WEIGHTS)]
    chosen = [name for name in NAMES if name in files] or files
    if index and not {"model.safetensors", "pytorch_model.bin"} & set(files):
        return _parts(path, max(index, key=lambda name: "safetensors" in name))
    if len(chosen) == 1 or (chosen and chosen[0] in NAMES):
        return _file(path / chosen[0])
    raise UserError(f"{path}: is a folder {_of_what(path, names, files)}")


def _of_what(path: Path, names: list[str], files: list[str]) -> str:
    """Describe a folder that holds no model, with the fix."""
    if ".metadata" in names:
        return (
            "of torch.distributed.checkpoint; convert it: "
            f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} {path}.pth"
        )
    if "data.pkl" in names or any(path.glob("*/data.pkl")):
        return "that was unpacked from a file of torch; download the file again and do not unpack it"
    if files:
        return f"with several files of weights ({', '.join(files[:4])}); name one of them"
    return f"without a file of weights ({', '.join(WEIGHTS)}); name the file"


def _parts(folder: Path, index: str) -> dict[str, Any]:
    """Read a model in several files, which an index lists."""
    try:
        names = sorted(set(json.loads((folder / index).read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{folder / index}: not an index of a model in parts; download it again") from error
    tensors: dict[str, Any] = {}
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise UserError(f"{folder}: lacks {name}, which {index} lists; download it")
        tensors |= _file(folder / name)
    return tensors


def _file(path: Path) -> Any:
    """Read a file by what it holds, whatever its suffix."""
    with path.open("rb") as file:
        start = file.read(START)
    instead = placeholder(start) if start else "is empty; download it again"
    if instead is not None:
        raise UserError(f"{path}: {instead}")
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST_HEADER:
        return _safetensors(path)
    if start.startswith(b"PK"):
        return _archive(path)
    if start[:1] == b"\x80" and OLD_TORCH in start[:32]:
        return _torch(path)
    return _other(path, start)


def _other(path: Path, start: bytes) -> Any:
    """Name what a file is that holds no tensors for torch; read it as a file of torch if it is unknown."""
    packed = next((words for mark, words in PACKED.items() if start.startswith(mark)), None)
    if start[257:262] == b"ustar":
        packed = "a tar archive", "unpack it (tar -xf)"
    if packed is not None:
        raise UserError(f"{path}: is {packed[0]}; {packed[1]} and name the file of weights")
    foreign = next((words for mark, words in FOREIGN.items() if start.startswith(mark)), None)
    foreign = foreign or (FOREIGN_SUFFIXES[".pkl"] if start[:1] == b"\x80" else None)
    foreign = foreign or FOREIGN_SUFFIXES.get(path.suffix.lower())
    if foreign is not None:
        raise UserError(
            f"{path}: is {foreign}, not a file of tensors only (reading it could run code); where you trust it, read it "
            f"with the library that wrote it, {PORT}"
        )
    _refuse_text(path, start)
    return _safetensors(path) if path.suffix == ".safetensors" else _torch(path)


def _refuse_text(path: Path, start: bytes) -> None:
    """Refuse a text: the answer of a server, an index, a configuration."""
    try:
        text = one_line(start[:200].decode("ascii"), 60)
    except UnicodeDecodeError:
        return
    if '"weight_map"' in text or path.name.endswith(".index.json"):
        raise UserError(f"{path}: is the index of a model in parts; name its folder")
    if text.isprintable():
        raise UserError(f"{path}: is a text that begins with {text!a}, not a file of weights; download it again")


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except SafetensorError as error:
        raise UserError(f"{path}: not a readable safetensors file ({one_line(error)}); download it again") from error


def _archive(path: Path) -> Any:
    """Read a file of torch, which is a zip archive; name other archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: not a readable file of torch ({one_line(error)}); download it again") from error
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends:
        tensors = f"torch.jit.load({str(path)!a}, map_location='cpu').state_dict()"
        raise UserError(
            f"{path}: is a TorchScript archive, which holds code and not only tensors; where you trust it, convert it: "
            f"{_converted(path, f'{{key: value for key, value in {tensors}.items() if value.is_floating_point()}}')}"
        )
    if "data.pkl" in ends:
        return _torch(path)
    raise UserError(f"{path}: is {_of_archive(names, ends)}")


def _of_archive(names: list[str], ends: set[str]) -> str:
    """Describe a zip archive that is no file of torch, with the fix."""
    if "archive_format" in ends:
        return "an archive of torch.export; convert it: torch.save(torch.export.load(FILE).state_dict, NEW)"
    if names and all(name.endswith(".npy") for name in names):
        return (
            "an archive of NumPy (.npz; JAX), not a file of torch; for Google's ViTs, timm converts it: "
            "torch.save(timm.create_model(NAME, checkpoint_path=FILE).state_dict(), NEW)"
        )
    shown = ", ".join(ascii(name)[1:-1] for name in names[:3]) or "nothing"
    return (
        f"a zip archive of other files ({one_line(shown)}), not a file of torch; unpack it and name the file of weights"
    )


def _torch(path: Path) -> Any:
    """Read a file of torch. Objects that are no tensors and plain values are replaced by `Unread`."""
    try:
        return _loaded(path, {})
    except pickle.UnpicklingError:
        pass
    replaced = stand_ins(path)
    attack = next((name for name in replaced if is_attack(name)), None)
    if attack is not None:
        raise UserError(
            f"{path}: not a file of tensors only (reading it could run code): it calls {attack!a}, which no weights need; "
            "do not use it, download it from its authors"
        )
    return _without_objects(path, replaced)


def _without_objects(path: Path, replaced: dict[str, type]) -> Any:
    """Read a file of torch that names objects; each gets a stand-in."""
    try:
        content = _loaded(path, replaced)
    except pickle.UnpicklingError as error:
        if any(name.startswith("torch.nn.modules.") for name in replaced):
            refuse_network(path)
        raise UserError(
            f"{path}: not a file of tensors only (reading it could run code); where you trust it, convert it: "
            f"{_converted(path, f'torch.load({str(path)!a}, weights_only=False)')}"
        ) from error
    if isinstance(content, Unread) and content.is_network:
        refuse_network(path)
    return content


def _loaded(path: Path, replaced: Mapping[str, type]) -> Any:
    """Read a file of torch with ``weights_only=True``; names that the reader does not know are looked up in `replaced`."""
    known: list[Any] = [(stand_in, name) for name, stand_in in replaced.items()]
    # Torch would read a path that ends with .safetensors by its name.
    with path.open("rb") as file, torch.serialization.safe_globals(known):
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, OSError):
            raise
        except Exception as error:  # torch's reader raises anything on a damaged file: RuntimeError, IndexError, ...
            reason = one_line(str(error).strip().split("\n")[0])
            raise UserError(f"{path}: not a readable file of torch ({reason}); download it again") from error
