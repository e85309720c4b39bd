"""Run one stage of ``dvc.yaml``: ``python -m stages NAME [KEY]``.

DVC calls this program. Users call ``falcon``.
"""

from falcon_dvc.warm import delegate

if __name__ == "__main__":
    delegate("stages")  # before anything is imported that takes long

import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from falcon_dvc.cli.errors import reporting_errors
from falcon_dvc.cli.pipeline import Stage, read_stages
from falcon_dvc.errors import UserError

PIPELINE = Path(__file__).parents[1] / "dvc.yaml"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="A stage of dvc.yaml.")],
    key: Annotated[str | None, typer.Argument(help="What it runs for: an encoder, or a pair of encoders.")] = None,
) -> None:
    """Run one stage of dvc.yaml on params.yaml, and print what it read, dropped and wrote."""
    from falcon_dvc.artifacts.summary import lines
    from falcon_dvc.compute.resume import exclusive
    from falcon_dvc.params.load import load_params

    stage, params = _known(name), load_params()
    keys = _keys(stage, params, key)
    with exclusive("-".join([name, *keys])):
        summary = importlib.import_module(f"stages.{name}").run(params, *keys)
    for line in lines(" ".join([name, *keys]), summary):
        typer.echo(line, err=True)


def _known(name: str) -> Stage:
    stages = read_stages(PIPELINE)
    if name not in stages:
        raise UserError(f"{name}: no stage of dvc.yaml; known are: {', '.join(stages)}")
    return stages[name]


def _keys(stage: Stage, params: object, key: str | None) -> list[str]:
    """Check the key against the params that dvc.yaml names for the stage."""
    known = stage.keys(params)
    if known is None and key is None:
        return []
    if known is None:
        raise UserError(f"{stage.name} {key}: this stage runs once; leave {key} out")
    if key not in known:
        raise UserError(f"params.yaml: {stage.section} has no '{key or ''}'; known are: {', '.join(known) or 'none'}")
    return [key]


def main() -> None:
    """Run the command line."""
    if "--help" in sys.argv:
        typer.echo("\n".join(f"  {stage.name:24}{stage.description}" for stage in read_stages(PIPELINE).values()))
    reporting_errors(app, "python -m stages")


if __name__ == "__main__":
    main()
