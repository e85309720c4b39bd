"""Command line of the studies, which studies/dvc.yaml calls: ``python -m worlds STAGE [WORLD]``."""

import importlib
from typing import Annotated

import typer

from falcon_dvc.cli.errors import reporting_errors

app = typer.Typer(
    no_args_is_help=True, help="Studies over several synthetic data sets ('worlds'); `make study` runs them."
)
STAGES = {
    "train_world": "Render a world and train its encoders.",
    "measure_world": "Explain the encoders of a world and its controls; measure what every method gets right.",
    "plant_cooccurrence": "Plant co-occurrences in a world; measure which contrast removes their words.",
    "plant_dictionary": "Explain a sparse dictionary with known directions, and a random one.",
    "plant_units": "Explain units that respond to several things, or to two things only together.",
}
Key = Annotated[str, typer.Argument(help="A key of `worlds` in studies/params.yaml.")]


# Each command imports its stage when it runs, so that the command line starts fast.
def _add(stage: str, text: str) -> None:
    @app.command(stage, help=text)
    def command(key: Key) -> None:
        importlib.import_module(f"worlds.{stage}").run(key)


@app.command("check_params", help="Check both files of params.")
def check_params() -> None:
    from worlds.check_params import run

    run()


@app.command(help="Shares over all worlds, with intervals.")
def summarise() -> None:
    from worlds.summarise import run

    run()


for _stage, _text in STAGES.items():
    _add(_stage, _text)


if __name__ == "__main__":
    reporting_errors(app, "python -m worlds")
