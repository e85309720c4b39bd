"""The mathematics of FALCON: arrays in, arrays out. No files, no params, no torch."""
