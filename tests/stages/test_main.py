"""What a user sees of a stage's bad input: one line that names the place and the fix, exit code 2, nothing half-written."""

import subprocess
import sys

import pytest

from tests.support.command_lines import assert_one_line, own_images, stages, written
from tests.support.paths import ROOT


@pytest.fixture
def folder(tmp_path):
    return own_images(tmp_path)


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
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (20, 20), colour).save(folder / "pictures" / f"{name}.jpg")
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


def test_help_names_the_stages(folder):
    assert "mine_crops" in stages(folder, "--help").stdout


def test_it_is_a_program_whose_exit_code_tells_dvc(tmp_path):
    command = [sys.executable, "-m", "stages", "nothing"]
    ended = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert_one_line(ended, "nothing", "no stage of dvc.yaml")
