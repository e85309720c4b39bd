"""The settings that docs/profiles.md lists are those that `falcon init` chooses."""

import pytest

from falcon_dvc.cli.recipe.settings import settings_for
from tests.support.paths import ROOT

TEXT = (ROOT / "docs/profiles.md").read_text(encoding="utf-8")
TABLE = TEXT.split("| readable images |")[1].split("\n\n")[0].splitlines()[3:]


@pytest.mark.parametrize("row", TABLE)
def test_settings_for_numbers_of_images(row):
    images, *values = (float(cell.replace(" ", "")) for cell in row.strip("|").split("|"))
    found = settings_for(int(images))
    names = ("heldout", "explained", "fires", "quantile", "min_images", "max_jaccard")
    assert values == [getattr(found, name) for name in names]


def test_the_table_has_small_and_large_numbers():
    assert len(TABLE) >= 5
