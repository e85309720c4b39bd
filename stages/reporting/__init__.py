"""The report: pictures of crops, what the pages show, and the markup around it."""
