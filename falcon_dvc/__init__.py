"""FALCON: what the features of an image representation see.

The method is pure functions on arrays (`groups`, `crops.heatmaps`, `concepts`, `evaluation`, `failures.blame`, `transfer.maps`);
the stages of ``dvc.yaml`` are made of this library.
"""
