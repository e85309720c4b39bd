"""The page around ``dvc plots``."""

from dvc_render.html import HTML

from stages import plots_page


def test_dvc_fills_the_page_and_nothing_comes_from_the_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = HTML(plots_page.run().read_text(encoding="utf-8"))
    text = page.with_scripts('<script src="https://cdn"></script>').with_element("<p>plot</p>").embed()
    assert "<p>plot</p>" in text and "{plot_divs}" not in text and "{refresh_tag}" not in text
    assert " src=" not in text.split("<script>")[0] and "https://cdn" not in text
    assert text.count("</script>") == 1 and "default-src 'none'" in text
