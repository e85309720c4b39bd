"""Parts that all HTML pages share: markup, pictures, measurements, histograms."""
