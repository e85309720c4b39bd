"""The page around the plots that `dvc plots` draws, with Vega inside: what DVC brings along loads it from the network."""

from pathlib import Path

from stages.common.artifacts import write_text

PAGE = Path(".dvc/plots.html")
POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
SNIPPET = "window.vegaEmbed = vegaEmbed;"  # all that DVC calls
# DVC fills in {plot_divs} and {refresh_tag}; without {scripts} it adds no script of its own.
TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="%s">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>Plots</title>
<script>%s</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def run() -> Path:
    """Write the page, from the drawing library that vl-convert carries."""
    import vl_convert

    # Inside an element of a page this would end it; in a script it says the same.
    library = vl_convert.javascript_bundle(SNIPPET).replace("</script", "<\\/script")
    write_text(PAGE, TEMPLATE % (POLICY, library))
    return PAGE
