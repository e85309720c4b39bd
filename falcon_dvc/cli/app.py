"""The command line ``falcon``. Each command imports its module only when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from falcon_dvc.cli.errors import reporting_errors
from falcon_dvc.errors import UserError

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Look at the results of the pipeline, check them, prepare other runs. `dvc repro` runs the pipeline.",
    epilog="An error is one line; with --debug, before or after the command, it comes with its traceback.",
)
LOOK, CHECK, RUNS, PROJECT = "Look at results", "Check", "Other runs", "Maintain the project"


def _keys(section: str) -> list[str]:
    """Keys of a section of params.yaml, for the shell's completion: quick, and silent whatever is wrong."""
    try:
        from falcon_dvc.params.load import read_yaml

        return [str(key) for key in read_yaml(Path("params.yaml")).get(section) or {}]
    except Exception:
        return []


def _complete_encoder(incomplete: str) -> list[str]:
    return [key for key in _keys("encoders") if key.startswith(incomplete)]


def _complete_target(incomplete: str) -> list[str]:
    """``ENCODER:`` first, then the ids of its features and groups."""
    encoder, colon, feature = incomplete.partition(":")
    if not colon:
        return [f"{key}:" for key in _complete_encoder(encoder)]
    return [f"{encoder}:{group}" for group in _groups(encoder) if group.startswith(feature)]


def _groups(encoder: str) -> list[str]:
    """Ids of an encoder's features and groups; none if they are not known."""
    try:
        import pyarrow.parquet as pq

        from falcon_dvc import paths

        table = pq.read_table(paths.groups(encoder) / "groups.parquet", columns=["group"])
        return [str(group) for group in table["group"].to_pylist()]
    except Exception:
        return []


Encoder = Annotated[str, typer.Option(help="Only features of this encoder.", autocompletion=_complete_encoder)]
Target = Annotated[
    str,
    typer.Argument(
        metavar="ENCODER:FEATURE",
        help="A feature's number, or the id of a feature or group: simclr:3, simclr:g3fa09c1e.",
        autocompletion=_complete_target,
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Open the page of the report in the browser.")]


@app.command(rich_help_panel=LOOK)
def explain(target: Target, open_it: Open = False) -> None:
    """Print a feature's or group's concepts, scores, captions and measurements; --open shows its page instead."""
    from falcon_dvc.cli.explain import run
    from falcon_dvc.params.load import load_params

    run(load_params(), target, open_it)


@app.command(rich_help_panel=LOOK)
def find(
    words: Annotated[list[str], typer.Argument(help="All of them must match: 'striped boat'. Synonyms count.")],
    encoder: Encoder = "",
    top: Annotated[int, typer.Option(min=1, help="Features that are listed, at most.")] = 20,
) -> None:
    """List the features whose concepts match, best score first."""
    from falcon_dvc.cli.find import run
    from falcon_dvc.params.load import load_params

    run(load_params(), " ".join(words), encoder or None, top)


@app.command(rich_help_panel=LOOK)
def compare(
    old: Annotated[str, typer.Argument(metavar="REV_A", help="A commit, branch, tag, experiment, or `workspace`.")],
    new: Annotated[str, typer.Argument(metavar="REV_B", help="The same.")],
    out: Annotated[Path, typer.Option(help="The page; the Markdown is written beside it.")] = Path(
        "reports/compare/index.html"
    ),
    features: Annotated[int, typer.Option(min=0, help="Changed features that are shown with pictures, at most.")] = 50,
) -> None:
    """Compare two revisions: params, metrics (what is noise?), concepts, with pictures from both."""
    from falcon_dvc.cli.compare import run

    typer.echo(run(old, new, out, features), nl=False)
    typer.echo(f"Page: {out}", err=True)


@app.command(rich_help_panel=LOOK)
def report() -> None:
    """Open the report in the browser, and print its address."""
    from falcon_dvc.cli import terminal

    typer.echo(terminal.open_page(terminal.report()))


@app.command(rich_help_panel=CHECK)
def check() -> None:
    """Validate params.yaml before any work."""
    from falcon_dvc.params.load import load_params

    load_params()


@app.command(rich_help_panel=CHECK)
def verify() -> None:
    """Compare regenerated metrics and tables with the committed ones, dvc.lock with the committed inputs; name what is stale."""
    from falcon_dvc.cli.verify import run
    from falcon_dvc.params.load import load_params

    stale = run(load_params())
    for line in stale:
        typer.echo(f"stale: {line}")
    if stale:
        raise typer.Exit(1)
    typer.echo(
        "verified: metrics and tables agree with the committed ones, dvc.lock with the committed code and params"
    )


@app.command(rich_help_panel=CHECK)
def layers(
    name: Annotated[
        str, typer.Argument(help="A key of the section encoders of params.yaml.", autocompletion=_complete_encoder)
    ],
) -> None:
    """List the layers of an encoder's network, with shapes; mark the default."""
    from falcon_dvc.cli.layers import run
    from falcon_dvc.params.load import load_params

    params = load_params()
    if name not in params.encoders:
        raise UserError(f"params.yaml: encoders has no '{name}'; known are: {', '.join(params.encoders) or 'none'}")
    run(params, name)


@app.command(rich_help_panel=PROJECT)
def plots_page() -> None:
    """Write .dvc/plots.html, around which `dvc plots` draws; nothing in it is loaded from the network."""
    from falcon_dvc.cli.plots_page import run

    typer.echo(run())


@app.command(rich_help_panel=PROJECT)
def changes(
    base: Annotated[str, typer.Argument(metavar="REV", help="The revision that the working tree is compared with.")],
) -> None:
    """Write reports/changes: what differs from a revision, as the comment on a pull request."""
    from falcon_dvc.cli.changes import run

    typer.echo(f"Comment: {run(base)}")


@app.command(rich_help_panel=PROJECT)
def params_doc() -> None:
    """Write docs/params.md from the schema and the comments of params.yaml."""
    from falcon_dvc.cli.params_doc import run

    typer.echo(run())


@app.command(rich_help_panel=PROJECT)
def features_figure() -> None:
    """Write docs/features.png: features of each kind with their words, from the run's artefacts."""
    from falcon_dvc.cli.features_figure import run
    from falcon_dvc.params.load import load_params

    typer.echo(run(load_params()))


@app.command(rich_help_panel=RUNS)
def profile(
    name: Annotated[str, typer.Argument(help="A file of profiles/, without .yaml.")],
    images: Annotated[str, typer.Option(help="Folder of images.")] = "",
    captions: Annotated[str, typer.Option(help="Caption corpus, one caption a line.")] = "",
) -> None:
    """Prepare runs/NAME: the same pipeline on params.yaml with the overlay profiles/NAME.yaml."""
    from falcon_dvc.cli.runs import prepare

    typer.echo(prepare(name, images, captions))


@app.command(rich_help_panel=RUNS)
def keep(name: Annotated[str, typer.Argument(help="A run: a folder of runs/.")]) -> None:
    """Copy metrics, tables and dvc.lock of runs/NAME to reports/NAME, to be committed."""
    from falcon_dvc.cli.runs import keep as keep_results

    typer.echo(keep_results(name))


rating = typer.Typer(no_args_is_help=True, help="A blind rating sheet for people, and their answers as metrics.")
app.add_typer(rating, name="rating", rich_help_panel=CHECK)


@rating.command()
def make() -> None:
    """Write reports/study/sheet.html, for the raters, and key.json, which they must not see."""
    from falcon_dvc.cli.rating import KEY, SHEET
    from falcon_dvc.cli.rating import make as make_sheet
    from falcon_dvc.params.load import load_params

    key = make_sheet(load_params())
    typer.echo(f"{SHEET}: {len(key.questions)} questions. Give raters this file alone; {KEY} says which list is whose.")


@rating.command()
def read(
    answers: Annotated[list[Path], typer.Argument(help="Files that the sheet's download button saved, one a rater.")],
) -> None:
    """Write reports/metrics/study.json and reports/tables/study.csv from the raters' answers."""
    from falcon_dvc.cli.rating import read as read_answers
    from falcon_dvc.params.load import load_params

    metrics = read_answers(load_params(), answers)
    own = metrics["all"]["chosen"]["explanation"]
    typer.echo(
        f"{metrics['raters']} raters chose the feature's own words in {own['share']:.0%} of their answers "
        f"({own['interval_low']:.0%} to {own['interval_high']:.0%}; chance {metrics['chance']:.0%})."
    )


def main() -> None:
    """The entry point of the console script ``falcon``."""
    reporting_errors(app, "falcon")
