"""Write the page template of `dvc plots` with the drawing library Vega inside; DVC's own template loads Vega from the network.

DVC writes the rows of a plot into scripts without escaping: a class named ``</script>...`` would become part of the page.
Here DVC writes after ``<plaintext>``, which no text can end. A script that the policy names by its hash draws the plots.
Plots that are image files are not shown; this project has none.
"""

from pathlib import Path

from falcon_dvc.artifacts.formats import write_text
from falcon_dvc.html.markup import policy

PAGE = Path(".dvc/plots.html")
TEMPLATES = Path(__file__).parent / "templates"
# DVC fills in {plot_divs} and {refresh_tag}; without {scripts} it adds no script of its own.
TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="%s">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
{refresh_tag}
<title>Plots</title>
<style>%s</style>
<script>%s</script>
</head>
<body>
<main></main>
<noscript>The plots are drawn by a script.</noscript>
<plaintext hidden>
{plot_divs}
"""


def run() -> Path:
    """Write the page with the copy of Vega that vl-convert contains."""
    import vl_convert

    style, draw = ((TEMPLATES / f"dvc_plots.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    # In a page, `</script` ends the element; the escaped form means the same to JavaScript.
    script = vl_convert.javascript_bundle(draw).replace("</script", "<\\/script")
    write_text(PAGE, TEMPLATE % (policy(style, script), style, script))
    return PAGE
