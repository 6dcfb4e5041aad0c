"""Inference: models, their calibration, the pipeline, and the inference threads."""
