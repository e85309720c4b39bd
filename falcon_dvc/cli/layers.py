"""List the layers of a network from which features can be read, with the shapes of their outputs for one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from falcon_dvc.cli.errors import require_encoder
from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from falcon_dvc.models.encoders.default_layer import Choice
    from falcon_dvc.models.encoders.layers import Layer
    from falcon_dvc.params.schema import Params

WIDEST = 1000  # characters


def run(params: Params, name: str) -> None:
    """Print a table of the layers of the encoder `name`.

    Raises
    ------
    UserError
        If there is no such encoder, its kind has only one layer, or the network cannot be built.
    """
    from rich.console import Console

    require_encoder(params, name)
    layers, choice = _layers(params, name)
    table, console = _table(layers, choice.layer), Console()
    # The user copies the names: a narrow terminal may break lines, but the table must not.
    unbounded = console.options.update(max_width=WIDEST)
    console.width = max(console.width, console.measure(table, options=unbounded).maximum)
    console.print(table)
    if choice.remark:
        typer.echo(f"encoders.{name}: {choice.remark}", err=True)


def _layers(params: Params, name: str) -> tuple[list[Layer], Choice]:
    """List the layers in the order in which they finish, and choose the default: the one before the classifier."""
    from falcon_dvc.models.encoders.classifiers import NETWORKS
    from falcon_dvc.models.encoders.hooked import default, layers_of
    from falcon_dvc.models.encoders.networks import build_network

    spec, param = params.encoders[name], f"encoders.{name}"
    if spec.kind not in NETWORKS:
        raise UserError(f"{param}: kind {spec.kind} has one layer; layers can be chosen for {', '.join(NETWORKS)}")
    network = build_network(spec, param)
    layers = layers_of(network, param=param)
    return layers, default(layers, network, param=param)


def _table(layers: list[Layer], chosen: Layer) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("layer", "module", "output of one image", "what it is", "pooling", box=box.SIMPLE)
    for layer in layers:
        mark = " (default)" if layer is chosen else ""
        shape = " x ".join(map(str, layer.shape))
        cells = (layer.name + mark, layer.kind, shape, _description(layer), _poolings(layer))
        table.add_row(*map(Text, cells), style="bold" if mark else "")
    return table


def _description(layer: Layer) -> str:
    extra = f", {layer.prefix} before those of positions" if layer.prefix else ""
    return f"{layer.layout}{extra}"


def _poolings(layer: Layer) -> str:
    """List the poolings that fit a layer; ``cls`` also needs a class token, which the shape does not show."""
    of_positions = ["mean", "max"] if layer.grid else []
    return ", ".join(of_positions + (["cls"] if layer.layout == "tokens" and layer.prefix else []))
