"""The command line ``falcon``. Each command imports its module when it runs, so that the help is fast."""

from pathlib import Path
from typing import Annotated

import typer

from falcon_dvc.cli.errors import reporting_errors
from falcon_dvc.cli.sections import SectionedGroup

app = typer.Typer(
    cls=SectionedGroup,
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Look at the results of the pipeline, check them, and prepare other runs. `dvc repro` runs the pipeline itself.",
    epilog="An error is printed as one line. Add --debug to see its traceback.",
)
LOOK, CHECK, RUNS, PROJECT = "Look at results", "Check", "Other runs", "Maintain the project"


def _encoders() -> list[str]:
    """Read the keys of the section `encoders` for the shell's completion; none if the file cannot be read."""
    try:
        from falcon_dvc.params.keys import read_keys

        return list(read_keys().encoders)
    except Exception:
        return []


def _complete_encoder(incomplete: str) -> list[str]:
    return [key for key in _encoders() if key.startswith(incomplete)]


def _complete_target(incomplete: str) -> list[str]:
    """Complete ``ENCODER:`` first, then the ids of its features and groups."""
    encoder, colon, feature = incomplete.partition(":")
    if not colon:
        return [f"{key}:" for key in _complete_encoder(encoder)]
    return [f"{encoder}:{group}" for group in _groups(encoder) if group.startswith(feature)]


def _groups(encoder: str) -> list[str]:
    """Read the ids of an encoder's features and groups; none if the table cannot be read."""
    try:
        from falcon_dvc import paths
        from falcon_dvc.cli.records import read_records

        return [str(row.group) for row in read_records(paths.groups(encoder) / "groups.parquet", ["group"])]
    except Exception:
        return []


Encoder = Annotated[str, typer.Option(help="Search this encoder only.", autocompletion=_complete_encoder)]
Target = Annotated[
    str,
    typer.Argument(
        metavar="ENCODER:FEATURE",
        help="An encoder with the number of a feature (simclr:3) or the id of a group (simclr:g3fa09c1e).",
        autocompletion=_complete_target,
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Open the page of the report in the browser instead.")]


@app.command(rich_help_panel=LOOK)
def explain(target: Target, open_it: Open = False) -> None:
    """Print the concepts, scores, captions and measurements of a feature or group."""
    from falcon_dvc.cli.explain import run
    from falcon_dvc.params.keys import read_keys

    run(read_keys(), target, open_it)


@app.command(rich_help_panel=LOOK)
def find(
    words: Annotated[
        list[str], typer.Argument(help="Words that must all match, such as: striped boat. Synonyms match too.")
    ],
    encoder: Encoder = "",
    top: Annotated[int, typer.Option(min=1, help="Largest number of features to list.")] = 20,
) -> None:
    """List the features whose concepts match, best score first."""
    from falcon_dvc.cli.find import run
    from falcon_dvc.params.keys import read_keys

    run(read_keys(), " ".join(words), encoder or None, top)


@app.command(rich_help_panel=LOOK)
def compare(
    old: Annotated[
        str,
        typer.Argument(
            metavar="REV_A",
            help="The old revision: a commit, branch, tag, experiment, or `workspace`, the working tree.",
        ),
    ],
    new: Annotated[str, typer.Argument(metavar="REV_B", help="The new revision.")],
    out: Annotated[Path, typer.Option(help="File of the page; the Markdown is written beside it.")] = Path(
        "reports/compare/index.html"
    ),
    features: Annotated[
        int, typer.Option(min=0, help="Largest number of changed features to show with pictures.")
    ] = 50,
) -> None:
    """Compare the params, metrics and concepts of two revisions, as Markdown and on a page with pictures."""
    from falcon_dvc.cli.compare import run

    typer.echo(run(old, new, out, features), nl=False)
    typer.echo(f"Page: {out}", err=True)


@app.command(rich_help_panel=LOOK)
def export(
    encoders: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ENCODER]...", help="Encoders to export; all if none is named.", autocompletion=_complete_encoder
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the files.")] = Path("reports/export"),
    captions: Annotated[int, typer.Option(min=0, help="Most captions of a concept, heaviest first.")] = 5,
) -> None:
    """Write features, concepts and captions as CSV tables, and the same with params in falcon.json."""
    from falcon_dvc.cli.export import run
    from falcon_dvc.params.load import load_params

    for file in run(load_params(), encoders or [], out, captions):
        typer.echo(file)


@app.command(rich_help_panel=LOOK)
def report() -> None:
    """Open the report in the browser and print its address."""
    from falcon_dvc.cli import terminal

    typer.echo(terminal.open_page(terminal.report()))


@app.command(rich_help_panel=CHECK)
def check() -> None:
    """Check that params.yaml is valid, that the files which it names exist, and that DVC can read its files."""
    from falcon_dvc.cli import pins
    from falcon_dvc.cli.pipeline import require_readable
    from falcon_dvc.params.inputs import check_inputs, unread_checkpoints
    from falcon_dvc.params.load import load_params

    require_readable()
    params = load_params()
    pins.require(params)
    check_inputs(params)
    for remark in unread_checkpoints(params):
        typer.echo(remark)


@app.command(rich_help_panel=CHECK)
def verify() -> None:
    """Check that metrics, tables and dvc.lock agree with the last commit, and list what is stale.

    Metrics and tables may differ by the tolerances in the section `verify` of params.yaml.
    """
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
        str,
        typer.Argument(
            help="Name of an encoder: a key of the section `encoders` of params.yaml.", autocompletion=_complete_encoder
        ),
    ],
) -> None:
    """List the layers of an encoder's network with their output shapes, and mark the default layer."""
    from falcon_dvc.cli.layers import run
    from falcon_dvc.params.load import load_params

    run(load_params(), name)


@app.command(rich_help_panel=RUNS)
def init(
    name: Annotated[str, typer.Argument(help="Name of the new profile and of its encoder: a-z, 0-9 and _.")],
    images: Annotated[Path, typer.Option(help="Folder of your images. Sub-folders are classes.")],
    captions: Annotated[Path, typer.Option(help="Your caption corpus, such as a text file with one caption a line.")],
    encoder: Annotated[
        str, typer.Option(help="torchvision:NAME, timm:NAME, open_clip:NAME or efficientnet_lite:0, :1 or :2.")
    ],
    checkpoint: Annotated[Path | None, typer.Option(help="File with the weights of the encoder.")] = None,
    weights: Annotated[str, typer.Option(help="Instead of a file: random, or the tag of released weights.")] = "",
    classes: Annotated[
        str, typer.Option(help="Outputs of the classifier in order: cat,dog, a file with one name a line, or imagenet.")
    ] = "",
    head: Annotated[
        Path | None, typer.Option(help="File with a linear classifier of its own (weight and bias).")
    ] = None,
    layer: Annotated[str, typer.Option(help="Layer of the features; by default the one before the classifier.")] = "",
    pooling: Annotated[str, typer.Option(help="How its positions become features: mean, max or cls.")] = "",
    features: Annotated[
        str, typer.Option(help="Features to explain: 3,17,200, a file of numbers, or random:30. By default all.")
    ] = "",
    basis: Annotated[
        str,
        typer.Option(
            help="Explain SAE latents, directions or components: a file, folder, pca:64, ica:64, nmf:64, random:64."
        ),
    ] = "",
    both_signs: Annotated[
        bool, typer.Option("--both-signs", help="Divide each feature of the basis into its positive and negative side.")
    ] = False,
    image_text: Annotated[
        str, typer.Option(help="open_clip:MODEL/TAG, open_clip:MODEL with a file, or conse, which needs no download.")
    ] = "",
    image_text_checkpoint: Annotated[
        Path | None, typer.Option(help="File with the weights of the image-text encoder.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Table of images and captions that teaches an image-text encoder (docs/encoders.md)."),
    ] = None,
    caption_column: Annotated[
        str, typer.Option(help="Column or key of the captions, if its name does not say so; a number without a header.")
    ] = "",
    vocabulary: Annotated[
        bool,
        typer.Option("--vocabulary", help="The captions are words and phrases, one a line, to be used as they are."),
    ] = False,
    control: Annotated[
        bool, typer.Option(help="Add the network with random weights, which calibrates what counts as explained.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing profile.")] = False,
) -> None:
    """Write profiles/NAME.yaml for your encoder, images and captions, after checking that they fit."""
    from falcon_dvc.cli.init import run
    from falcon_dvc.cli.recipe.request import Request

    request = Request(
        name=name,
        images=images,
        captions=captions,
        encoder=encoder,
        checkpoint=checkpoint,
        weights=weights,
        classes=classes,
        head=head,
        layer=layer,
        pooling=pooling,
        features=features,
        basis=basis,
        both_signs=both_signs,
        image_text=image_text,
        image_text_checkpoint=image_text_checkpoint,
        pairs=pairs,
        caption_column=caption_column,
        vocabulary=vocabulary,
        control=control,
        force=force,
    )
    run(request, typer.echo)


@app.command(rich_help_panel=RUNS)
def profile(
    name: Annotated[str, typer.Argument(help="Name of a file in profiles/, without .yaml.")],
    images: Annotated[str, typer.Option(help="Folder of your images.")] = "",
    captions: Annotated[str, typer.Option(help="Your caption corpus, such as a file with one caption per line.")] = "",
    pairs: Annotated[
        str, typer.Option(help="Table of images and captions that teaches an image-text encoder (docs/encoders.md).")
    ] = "",
) -> None:
    """Prepare the folder runs/NAME, where the pipeline runs with the changes of profiles/NAME.yaml to params.yaml."""
    from falcon_dvc.cli.runs import prepare

    typer.echo(prepare(name, images, captions, pairs))


@app.command(rich_help_panel=RUNS)
def keep(name: Annotated[str, typer.Argument(help="Name of a run: a folder in runs/.")]) -> None:
    """Copy the metrics, tables and dvc.lock of runs/NAME to reports/NAME, so that you can commit them."""
    from falcon_dvc.cli.runs import keep as keep_results

    typer.echo(keep_results(name))


@app.command(rich_help_panel=PROJECT)
def plots_page() -> None:
    """Write .dvc/plots.html, the page template of `dvc plots`; it loads nothing from the network."""
    from falcon_dvc.cli.plots_page import run

    typer.echo(run())


@app.command(rich_help_panel=PROJECT)
def changes(
    base: Annotated[str, typer.Argument(metavar="REV", help="The revision to compare the working tree with.")],
) -> None:
    """Write reports/changes/comment.md: how the results differ from a revision, for a pull request."""
    from falcon_dvc.cli.changes import run

    typer.echo(f"Comment: {run(base)}")


@app.command(rich_help_panel=PROJECT)
def params_doc() -> None:
    """Write docs/params.md from the schema and the comments of params.yaml."""
    from falcon_dvc.cli.params_doc import run

    typer.echo(run())


@app.command(rich_help_panel=PROJECT)
def features_figure() -> None:
    """Write docs/features.png: one feature of each kind with its words and crops."""
    from falcon_dvc.cli.features_figure import run
    from falcon_dvc.params.load import load_params

    typer.echo(run(load_params()))


rating = typer.Typer(
    cls=SectionedGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Write a blind rating sheet for people, and turn their answers into metrics.",
)
app.add_typer(rating, name="rating", rich_help_panel=CHECK)


@rating.command()
def make() -> None:
    """Write reports/study/sheet.html for the raters, and reports/study/key.json, which they must not see."""
    from falcon_dvc.cli.rating import KEY, SHEET
    from falcon_dvc.cli.rating import make as make_sheet
    from falcon_dvc.params.load import load_params

    key = make_sheet(load_params())
    typer.echo(
        f"{SHEET}: {len(key.questions)} questions. Give the raters only this file: {KEY} names the method of each list."
    )


@rating.command()
def read(
    answers: Annotated[
        list[Path], typer.Argument(help="Files saved by the download button of the sheet, one per rater.")
    ],
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
    """Run the console script ``falcon``."""
    reporting_errors(app, "falcon")
