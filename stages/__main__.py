"""The command line: ``python -m stages NAME``. Each command imports its module only when it runs.

What people call comes first in the help; the stages of the pipeline, which DVC calls, stand apart.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from stages.common.errors import UserError

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="FALCON as a DVC pipeline: what do the features of an encoder see?",
    epilog="An error is one line; with --debug, before or after the command, it comes with its traceback.",
)
LOOK, CHECK, RUNS, STAGES = "Look at results", "Check", "Other runs", "Pipeline stages (dvc repro calls them)"


def _keys(section: str) -> list[str]:
    """Keys of a section of params.yaml, for the shell's completion: quick, and silent whatever is wrong."""
    try:
        from stages.common.params import read_yaml

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

        from stages.common import files

        table = pq.read_table(files.groups(encoder) / "groups.parquet", columns=["group"])
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

# Stages of the whole run, and stages that run once for each key of a section of params.yaml.
ONCE = {
    "render_scenes": "Render the embedded world: images, their attributes, captions.",
    "train_clip": "Train the image-text encoder of the embedded world.",
    "collect_images": "List the readable images and divide them into probe and test.",
    "build_caption_index": "Clean and embed the caption corpus.",
    "parse_captions": "Find the words and noun phrases of every caption.",
    "claims": "Write reports/claims.md: each claim, what was measured, and whether it holds.",
}
KEYED = {
    "train_encoder": ("train", "Train one encoder of the embedded world."),
    "extract_activations": ("encoders", "Features and activation maps of all images."),
    "find_groups": ("encoders", "Highly, lowly activating and random images of features and groups."),
    "mine_crops": ("encoders", "Crop to where a group fires; embed the crops."),
    "generate_captions": ("encoders", "Caption the crops: a corpus made for them."),
    "score_concepts": ("encoders", "Concepts of each group: captions, words, scores, contrast."),
    "analyse_groups": ("encoders", "What groups add to single features."),
    "measure_explainability": ("encoders", "Share of features and groups that are interpretable."),
    "evaluate_concepts": ("encoders", "Concepts against the planted truth of the embedded world."),
    "evaluate_units": ("encoders", "Final-layer units against their class names."),
    "failures": ("encoders", "What the images that a classifier gets wrong have in common; repairs."),
    "transfer": ("transfers", "Carry concepts to an unseen space by a linear map."),
}


def _run(stage: str, *arguments: str) -> None:
    """Validate params.yaml, then hand over to the stage; say what it read, dropped and wrote."""
    from stages.common.account_in_words import lines
    from stages.common.params import load_params
    from stages.common.unfinished import alone

    params = load_params()
    with alone("-".join([stage, *arguments])):
        account = importlib.import_module(f"stages.{stage}").run(params, *arguments)
    if account is None:  # `layers` is no stage
        return
    for line in lines(" ".join((stage, *arguments)), account):
        typer.echo(line, err=True)


@app.command(rich_help_panel=LOOK)
def explain(target: Target, open_it: Open = False) -> None:
    """Print a feature's or group's concepts, scores, captions and measurements; --open shows its page instead."""
    from stages.common.params import load_params
    from stages.explain import run

    run(load_params(), target, open_it)


@app.command(rich_help_panel=LOOK)
def find(
    words: Annotated[list[str], typer.Argument(help="All of them must match: 'striped boat'. Synonyms count.")],
    encoder: Encoder = "",
    top: Annotated[int, typer.Option(min=1, help="Features that are listed, at most.")] = 20,
) -> None:
    """List the features whose concepts match, best score first."""
    from stages.common.params import load_params
    from stages.find import run

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
    from stages.compare import run

    typer.echo(run(old, new, out, features), nl=False)
    typer.echo(f"Page: {out}", err=True)


@app.command(rich_help_panel=LOOK)
def report(open_it: Open = False) -> None:
    """Write the report, as the pipeline's last stage; --open shows the one that is there instead."""
    if not open_it:
        return _run("report")
    from stages.reporting import addresses, terminal

    typer.echo(terminal.open_page(addresses.report()))


def _add_once(stage: str, text: str) -> None:
    @app.command(stage, help=text, rich_help_panel=STAGES)
    def command() -> None:
        _run(stage)


def _add_keyed(stage: str, section: str, text: str, panel: str = STAGES) -> None:
    @app.command(stage, help=text, rich_help_panel=panel)
    def command(
        name: Annotated[
            str,
            typer.Argument(
                help=f"A key of the section {section} of params.yaml.",
                autocompletion=lambda incomplete: [key for key in _keys(section) if key.startswith(incomplete)],
            ),
        ],
    ) -> None:
        from stages.common.params import load_params

        known = getattr(load_params(), section)
        if name not in known:
            raise UserError(f"params.yaml: {section} has no '{name}'; known are: {', '.join(known) or 'none'}")
        _run(stage, name)


@app.command(rich_help_panel=CHECK)
def check() -> None:
    """Validate params.yaml before any work."""
    from stages.common.params import load_params

    load_params()


@app.command(rich_help_panel=CHECK)
def verify() -> None:
    """Compare regenerated metrics and tables with the committed ones, dvc.lock with the committed inputs; name what is stale."""
    from stages.common.params import load_params
    from stages.verify import run

    stale = run(load_params())
    for line in stale:
        typer.echo(f"stale: {line}")
    if stale:
        raise typer.Exit(1)
    typer.echo(
        "verified: metrics and tables agree with the committed ones, dvc.lock with the committed code and params"
    )


_add_keyed("layers", "encoders", "List the layers of an encoder's network, with shapes; mark the default.", CHECK)


@app.command(rich_help_panel=CHECK)
def plots_page() -> None:
    """Write .dvc/plots.html, around which `dvc plots` draws; nothing in it is loaded from the network. No stage."""
    from stages.plots_page import run

    typer.echo(run())


@app.command(rich_help_panel=LOOK)
def changes(
    base: Annotated[str, typer.Argument(metavar="REV", help="The revision that the working tree is compared with.")],
) -> None:
    """Write reports/changes: what differs from a revision, as the comment on a pull request. No stage."""
    from stages.changes import run

    typer.echo(f"Comment: {run(base)}")


@app.command(rich_help_panel=CHECK)
def params_doc() -> None:
    """Write docs/params.md from the schema and the comments of params.yaml. No stage."""
    from stages.params_doc import run

    typer.echo(run())


@app.command(rich_help_panel=CHECK)
def picture() -> None:
    """Write docs/features.png: features of each kind with their words, from the run's artefacts. No stage."""
    from stages.common.params import load_params
    from stages.picture import run

    typer.echo(run(load_params()))


@app.command(rich_help_panel=RUNS)
def profile(
    name: Annotated[str, typer.Argument(help="A file of profiles/, without .yaml.")],
    images: Annotated[str, typer.Option(help="Folder of images.")] = "",
    captions: Annotated[str, typer.Option(help="Caption corpus, one caption a line.")] = "",
) -> None:
    """Prepare runs/NAME: the same pipeline on params.yaml with the overlay profiles/NAME.yaml."""
    from stages.common.profiles import prepare

    typer.echo(prepare(name, images, captions))


@app.command(rich_help_panel=RUNS)
def keep(name: Annotated[str, typer.Argument(help="A run: a folder of runs/.")]) -> None:
    """Copy metrics, tables and dvc.lock of runs/NAME to reports/NAME, to be committed."""
    from stages.common.kept import keep as keep_results

    typer.echo(keep_results(name))


study = typer.Typer(no_args_is_help=True, help="A human check: a blind rating sheet, and its answers as metrics.")
app.add_typer(study, name="study", rich_help_panel=CHECK)


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


for _stage, _text in ONCE.items():
    _add_once(_stage, _text)
for _stage, (_section, _text) in KEYED.items():
    _add_keyed(_stage, _section, _text)


def reporting_errors(commands: typer.Typer, name: str) -> None:
    """Run a command; an error is one line: exit code 2 if the user can mend it, 1 if it is ours. Tracebacks by ``--debug``."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        commands(arguments, prog_name=name)
    except Exception as error:
        if debug:
            raise
        typer.secho(_in_one_line(error), fg="red", err=True)
        raise SystemExit(2 if isinstance(error, UserError) else 1) from None


def _in_one_line(error: Exception) -> str:
    """What went wrong, without anything that acts on a terminal."""
    text = " ".join(str(error).split())
    shown = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    if isinstance(error, UserError):
        return f"error: {shown}"
    return f"error: {type(error).__name__}: {shown} (not foreseen: a defect of the program; --debug shows where)"


def _name() -> str:
    """What the command is called: where the shell's completion is concerned by one word, as .venv/bin/stages is."""
    completing = "_STAGES_COMPLETE" in os.environ or {"--install-completion", "--show-completion"} & set(sys.argv)
    return "stages" if completing else "python -m stages"


def main() -> None:
    """The entry point."""
    reporting_errors(app, _name())


if __name__ == "__main__":
    main()
