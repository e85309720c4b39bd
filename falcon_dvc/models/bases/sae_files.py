"""Read the file or folder of a sparse autoencoder, whose format is found from its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases import prisma, saelens
from falcon_dvc.models.bases.overcomplete import is_overcomplete, read_overcomplete
from falcon_dvc.models.bases.released import Release
from falcon_dvc.models.bases.sae_v import read_sae_v
from falcon_dvc.models.encoders.checkpoint_files import read_checkpoint
from falcon_dvc.models.encoders.pickled_objects import Unread
from falcon_dvc.placeholders import beginning, refuse_placeholders

FORMATS = (
    "a folder of SAELens (cfg.json, sae_weights.safetensors), a file of Prisma (*.pt beside config.json), a file of SAE-V "
    "(sae.pt), or a state dict of overcomplete"
)
OF_TORCH = (".pt", ".pth", ".bin", ".safetensors")


def read_sae(path: Path, asked: Any = None) -> Release:
    """Read a sparse autoencoder.

    Parameters
    ----------
    path : Path
        File or folder.
    asked : object, optional
        With `activation`, `k`, `threshold` and `normalise`: each replaces what the file says, unless it is None.

    Raises
    ------
    UserError
        If it is no such file, is damaged, or needs code to be read.
    """
    file = _file_of(path) if path.is_dir() else path
    refuse_placeholders([file])
    release = read_sae_v(file) if beginning(file).startswith(b"{") else _of_tensors(file)
    return _replaced(release, asked) if asked is not None else release


def _file_of(folder: Path) -> Path:
    """Find the file of the weights in a folder.

    Raises
    ------
    UserError
        If there is none, or more than one.
    """
    names = sorted(file.name for file in folder.iterdir() if file.suffix in OF_TORCH)
    preferred = [name for name in (saelens.WEIGHTS, "sae.pt") if name in names] or names
    if not preferred:
        raise UserError(f"{folder}: holds no file of a sparse autoencoder; name {FORMATS}")
    if len(names) > 1 and preferred == names:
        raise UserError(f"{folder}: holds several files ({', '.join(names[:4])}); name one of them")
    return folder / preferred[0]


def _of_tensors(path: Path) -> Release:
    content = read_checkpoint(path)
    tensors = _tensors(path, content)
    if is_overcomplete(tensors):
        return read_overcomplete(path, tensors)
    if not {"W_enc", "W_dec"} & set(tensors):
        held = ", ".join(sorted(tensors)[:6]) or "no tensors"
        raise UserError(f"{path}: is no sparse autoencoder (it holds {held}); name {FORMATS}")
    if (path.parent / saelens.CONFIG).exists():
        return saelens.read_saelens(path, tensors)
    return prisma.read_prisma(path, tensors)


def _tensors(path: Path, content: Any) -> dict[str, Tensor]:
    """Return the state dict of a file's content.

    Raises
    ------
    UserError
        If the file holds a configuration as an object, which only unpickling reads.
    """
    objects = (
        [key for key, value in content.items() if isinstance(value, Unread)] if isinstance(content, Mapping) else [""]
    )
    if objects:
        raise UserError(
            f"{path}: holds an object ({objects[0] or 'the whole file'}) that is read by running code; where you trust it, "
            "convert it beside the file: saved = torch.load(FILE, weights_only=False); saved['cfg'].save_config('config.json'); "
            "torch.save(saved['state_dict'], 'NEW.pt')"
        )
    inner = content.get("state_dict", content)
    return {str(name): value for name, value in inner.items() if isinstance(value, Tensor)}


def _replaced(release: Release, asked: Any) -> Release:
    """Replace what a file says by what the params say."""
    changes: dict[str, Any] = {}
    if asked.normalise is not None:
        changes["normalisation"] = asked.normalise
    if asked.k is not None:
        changes |= {"k": asked.k, "activation": release.activation if release.activation.startswith("topk") else "topk"}
    if asked.threshold is not None:
        count = len(release.tensors.get("b_enc", ()))
        changes |= {
            "activation": "jumprelu",
            "tensors": {**release.tensors, "threshold": torch.full((count,), asked.threshold)},
        }
    if asked.activation is not None:
        changes["activation"] = asked.activation
    known = [] if {"activation"} & set(changes) and release.layout == "overcomplete" else release.remarks
    return replace(release, **changes, remarks=known)
