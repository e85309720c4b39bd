"""The page around the plots that `dvc plots` draws, with Vega inside: what DVC brings along loads it from the network.

DVC writes the rows of a plot into scripts, as they are: a class called ``</script>...`` would become part of the page. So here
all that DVC writes stands behind ``<plaintext>``, which no text can end, and a script that the policy names by its hash draws it.
Plots that are pictures, which this project has none of, are not shown.
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
    """Write the page, from the drawing library that vl-convert carries."""
    import vl_convert

    style, draw = ((TEMPLATES / f"dvc_plots.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    # Inside an element of a page this would end it; in a script it says the same.
    script = vl_convert.javascript_bundle(draw).replace("</script", "<\\/script")
    write_text(PAGE, TEMPLATE % (policy(style, script), style, script))
    return PAGE
