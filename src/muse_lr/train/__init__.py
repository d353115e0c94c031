"""Fitting a model to data: losses, schedule, checkpoints and the loop."""
