"""What all pages share: markup, pictures, measurements, histograms."""
