"""The style sheet of the report's pages."""

from falcon_dvc.report.pages import style


def test_style_has_a_place_for_every_tile():
    text = style(5)
    assert "HEAT_COLOURS" not in text and ".x0 {" in text and ".x4 {" in text and ".x5" not in text and ".w5 {" in text
