"""What a user sees of bad input: one line that names the place and the fix, exit code 2, nothing half-written."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT


def falcon(folder, *arguments):
    """Run the command ``falcon`` in `folder`."""
    command = [sys.executable, "-c", "from falcon_dvc.cli.app import main; main()", *arguments]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)


def stages(folder, *arguments):
    """Run a stage in `folder`, as DVC does."""
    command = [sys.executable, "-m", "stages", *arguments]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)


def written(folder):
    """Whatever a run left in its results."""
    return [path for part in ("data", "reports") for path in (folder / part).rglob("*")]


def assert_one_line(result, *words):
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert len([line for line in lines if not line.endswith("...")]) == 1, result.stderr
    assert all(word in lines[-1] for word in words), lines[-1]


@pytest.fixture
def folder(tmp_path):
    """A run on images that the test puts into ``pictures``, with captions of its own."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("source: scenes", "source: images").replace("images: data/scenes ", "images: pictures ")
    text = text.replace("captions: data/scenes/captions.txt", "captions: captions.txt")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_good_params(folder):
    assert falcon(folder, "check").returncode == 0


@pytest.mark.parametrize(
    ("written", "instead", "words"),
    [
        ("contrast: relative", "contrst: relative", ("concepts.contrst", "unknown key", "did you mean 'contrast'")),
        ("contrast: relative", "contrast: priro", ("concepts.contrast", "priro")),
        ("top_k: 400 ", "top_k: forty ", ("find_groups.top_k", "forty")),
        ("threshold: 0.6 ", "threshold: 1.6 ", ("mine_crops.threshold", "1.6")),
        (
            "kind: scenes, checkpoint: models/supervised",
            "kind: resnet9000, checkpoint: x",
            ("encoders.supervised", "resnet9000"),
        ),
        (
            "{explained: supervised, unseen: simclr}",
            "{explained: supervised, unseen: simclear}",
            ("transfers", "simclear"),
        ),
        ("data:", "data: [", ("params.yaml", "not valid YAML")),
    ],
)
def test_params_typos(folder, written, instead, words):
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    assert written in text
    (folder / "params.yaml").write_text(text.replace(written, instead, 1), encoding="utf-8")
    assert_one_line(falcon(folder, "check"), "params.yaml", *words)


def test_no_params(tmp_path):
    assert_one_line(falcon(tmp_path, "check"), "params.yaml", "not found")


def test_unknown_encoder(folder):
    assert_one_line(stages(folder, "find_groups", "nosuch"), "nosuch", "supervised")


def test_missing_folder(folder):
    assert_one_line(stages(folder, "collect_images"), "pictures", "data.images")


def test_empty_folder(folder):
    (folder / "pictures").mkdir()
    assert_one_line(stages(folder, "collect_images"), "pictures", "data.images")
    assert not written(folder)


def test_folder_without_images(folder):
    (folder / "pictures").mkdir()
    (folder / "pictures" / "notes.txt").write_text("no picture")
    assert_one_line(stages(folder, "collect_images"), "pictures", "data.images")


def _pictures(folder):
    from PIL import Image

    (folder / "pictures").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (20, 20), "red").save(folder / "pictures" / f"{name}.jpg")
    content = (folder / "pictures" / "a.jpg").read_bytes()
    (folder / "pictures" / "broken.jpg").write_bytes(content[: len(content) // 2])


def test_truncated_image_is_skipped_and_counted(folder):
    _pictures(folder)
    result = stages(folder, "collect_images")
    assert result.returncode == 0 and "broken.jpg" in result.stdout
    assert '"skipped": 1' in (folder / "reports/metrics/images.json").read_text()


def test_truncated_image_is_fatal_if_told_so(folder):
    _pictures(folder)
    text = (folder / "params.yaml").read_text(encoding="utf-8").replace("unreadable: skip", "unreadable: fail")
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    assert_one_line(stages(folder, "collect_images"), "broken.jpg")
    assert not written(folder)


@pytest.mark.parametrize("content", [None, "", "\n\n \n"])
def test_no_captions(folder, content):
    if content is not None:
        (folder / "captions.txt").write_text(content)
    assert_one_line(stages(folder, "build_caption_index"), "captions.txt", "data.captions")
    assert not written(folder)


def completed(folder, line):
    """What the shell would offer."""
    environment = {"PYTHONPATH": str(ROOT), "_FALCON_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line}
    environment |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    command = [sys.executable, "-c", "from falcon_dvc.cli.app import main; main()"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout.split()


def test_completion(folder):
    import pandas as pd

    path = folder / "data/groups/simclr/groups.parquet"
    path.parent.mkdir(parents=True)
    pd.DataFrame({"group": ["f0", "f12", "gab"]}).to_parquet(path)
    assert completed(folder, "falcon explain s") == ["supervised:", "simclr:"]
    assert completed(folder, "falcon explain simclr:f") == ["simclr:f0", "simclr:f12"]
    assert completed(folder, "falcon layers s") == ["supervised", "simclr"]


def test_completion_is_silent_where_nothing_is(tmp_path):
    assert completed(tmp_path, "falcon explain s") == []
    (tmp_path / "params.yaml").write_text("[")
    assert completed(tmp_path, "falcon explain s") == []


def test_help_names_the_commands_and_the_stages(folder):
    text = falcon(folder, "--help").stdout
    places = [text.index(name) for name in ("Look at results", "explain", "compare", "Check", "layers", "Other runs")]
    assert places == sorted(places)
    assert "mine_crops" in stages(folder, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), ("nothing", "no stage of dvc.yaml", "mine_crops")),
        (("find_groups",), ("encoders", "supervised")),
        (("claims", "supervised"), ("claims supervised", "runs once")),
    ],
)
def test_a_stage_that_is_called_wrongly(folder, arguments, words):
    assert_one_line(stages(folder, *arguments), *words)


def test_new_commands_fail_in_one_line(folder):
    assert_one_line(falcon(folder, "explain", "simclr:3"), "groups.parquet", "dvc repro")
    assert_one_line(falcon(folder, "find", "boat"), "parquet", "dvc repro")
    assert_one_line(falcon(folder, "report"), "reports/index.html", "dvc repro")
    assert_one_line(falcon(folder, "compare", "HEAD", "workspace"), "git")


@pytest.mark.parametrize("arguments", [("--debug", "explain", "nosuch"), ("explain", "nosuch", "--debug")])
def test_tracebacks_by_debug_only(folder, arguments):
    assert "Traceback" in falcon(folder, *arguments).stderr
    plain = falcon(folder, *(argument for argument in arguments if argument != "--debug"))
    assert_one_line(plain, "nosuch", "ENCODER:FEATURE")


def test_a_defect_is_one_line_too(folder, monkeypatch, capsys):
    import typer

    from falcon_dvc.cli.errors import reporting_errors

    broken = typer.Typer()

    @broken.command()
    def command():
        raise RuntimeError("what\x1b[31m\nnobody foresaw")

    monkeypatch.setattr(sys, "argv", ["stages"])
    with pytest.raises(SystemExit) as stopped:
        reporting_errors(broken, "stages")
    lines = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 1 and len(lines) == 1
    assert "RuntimeError: what\\x1b[31m nobody foresaw" in lines[0] and "--debug" in lines[0]
