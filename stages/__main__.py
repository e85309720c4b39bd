"""The command line: ``python -m stages NAME``. Each command imports its stage only when it runs."""

import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from stages.common.errors import UserError

app = typer.Typer(
    add_completion=True, no_args_is_help=True, help="FALCON as a DVC pipeline: what do the features of an encoder see?"
)
Name = Annotated[str, typer.Argument(help="A key of params.yaml: of `encoders`, `train` or `transfers`.")]

# Stages of the whole run, and stages that run once for each key of a section of params.yaml.
ONCE = {
    "render_scenes": "Render the embedded world: images, their attributes, captions.",
    "train_clip": "Train the image-text encoder of the embedded world.",
    "collect_images": "List the readable images and divide them into probe and test.",
    "build_caption_index": "Clean and embed the caption corpus.",
    "parse_captions": "Find the words and noun phrases of every caption.",
    "claims": "Write reports/claims.md: each claim, what was measured, and whether it holds.",
    "report": "Write reports/index.html.",
}
KEYED = {
    "train_encoder": ("train", "Train one encoder of the embedded world."),
    "extract_activations": ("encoders", "Features and activation maps of all images."),
    "find_groups": ("encoders", "Highly, lowly activating and random images of features and groups."),
    "mine_crops": ("encoders", "Crop to where a group fires; embed the crops."),
    "score_concepts": ("encoders", "Concepts of each group: captions, words, scores, contrast."),
    "analyse_groups": ("encoders", "What groups add to single features."),
    "measure_explainability": ("encoders", "Share of features and groups that are interpretable."),
    "evaluate_concepts": ("encoders", "Concepts against the planted truth of the embedded world."),
    "evaluate_units": ("encoders", "Final-layer units against their class names."),
    "failures": ("encoders", "What the images that a classifier gets wrong have in common; repairs."),
    "transfer": ("transfers", "Carry concepts to an unseen space by a linear map."),
}


def _run(stage: str, *arguments: str) -> None:
    """Validate params.yaml, then hand over to the stage."""
    from stages.common.params import load_params

    params = load_params()
    importlib.import_module(f"stages.{stage}").run(params, *arguments)


def _add_once(stage: str, text: str) -> None:
    @app.command(stage, help=text)
    def command() -> None:
        _run(stage)


def _add_keyed(stage: str, section: str, text: str) -> None:
    @app.command(stage, help=text)
    def command(name: Name) -> None:
        from stages.common.params import load_params

        known = getattr(load_params(), section)
        if name not in known:
            raise UserError(f"params.yaml: {section} has no '{name}'; known are: {', '.join(known) or 'none'}")
        _run(stage, name)


for _stage, _text in ONCE.items():
    _add_once(_stage, _text)
for _stage, (_section, _text) in KEYED.items():
    _add_keyed(_stage, _section, _text)


_add_keyed("layers", "encoders", "List the layers of an encoder's network, with shapes; mark the default. No stage.")


@app.command()
def check() -> None:
    """Validate params.yaml before any work."""
    from stages.common.params import load_params

    load_params()


@app.command()
def verify() -> None:
    """Compare regenerated metrics and tables with the committed ones; name what is stale."""
    from stages.common.params import load_params
    from stages.verify import run

    stale = run(load_params())
    for line in stale:
        typer.echo(f"stale: {line}")
    if stale:
        raise typer.Exit(1)
    typer.echo("verified: metrics and tables agree with the committed ones")


@app.command("plots_page")
def plots_page() -> None:
    """Write .dvc/plots.html, around which `dvc plots` draws; nothing in it is loaded from the network. No stage."""
    from stages.plots_page import run

    typer.echo(run())


@app.command()
def profile(
    name: Annotated[str, typer.Argument(help="A file of profiles/, without .yaml.")],
    images: Annotated[str, typer.Option(help="Folder of images.")] = "",
    captions: Annotated[str, typer.Option(help="Caption corpus, one caption a line.")] = "",
) -> None:
    """Prepare runs/NAME: the same pipeline on params.yaml with the overlay profiles/NAME.yaml."""
    from stages.common.profiles import prepare

    typer.echo(prepare(name, images, captions))


@app.command()
def keep(name: Annotated[str, typer.Argument(help="A run: a folder of runs/.")]) -> None:
    """Copy metrics, tables and dvc.lock of runs/NAME to reports/NAME, to be committed."""
    from stages.common.kept import keep as keep_results

    typer.echo(keep_results(name))


study = typer.Typer(no_args_is_help=True, help="A human check: a blind rating sheet, and its answers as metrics.")
app.add_typer(study, name="study")


@study.command()
def make() -> None:
    """Write reports/study/sheet.html, for the raters, and key.json, which they must not see."""
    from stages.common.params import load_params
    from stages.study import KEY, SHEET
    from stages.study import make as make_sheet

    key = make_sheet(load_params())
    typer.echo(f"{SHEET}: {len(key.questions)} questions. Give raters this file alone; {KEY} says which list is whose.")


@study.command()
def read(
    answers: Annotated[list[Path], typer.Argument(help="Files that the sheet's download button saved, one a rater.")],
) -> None:
    """Write reports/metrics/study.json and reports/tables/study.csv from the raters' answers."""
    from stages.common.params import load_params
    from stages.study import read as read_answers

    metrics = read_answers(load_params(), answers)
    own = metrics["all"]["chosen"]["explanation"]
    typer.echo(
        f"{metrics['raters']} raters chose the feature's own words in {own['share']:.0%} of their answers "
        f"({own['interval_low']:.0%} to {own['interval_high']:.0%}; chance {metrics['chance']:.0%})."
    )


def reporting_errors(commands: typer.Typer, name: str) -> None:
    """Run a command; a user's error is one line and exit code 2."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        commands(arguments, prog_name=name)
    except UserError as error:
        if debug:
            raise
        typer.secho(f"error: {error}", fg="red", err=True)
        raise SystemExit(2) from None


def main() -> None:
    """The entry point."""
    reporting_errors(app, "python -m stages")


if __name__ == "__main__":
    main()
