"""The inference side: models, their calibration, the pipeline, and the inference threads."""
