"""Training of a model: configuration, losses, the loop and the evaluation.

:func:`muse_lr.train.loop.train` runs a training from a :class:`muse_lr.train.config.Config`.
:mod:`.setup` prepares data and model, :mod:`.losses` and :mod:`.metrics` define the errors,
:mod:`.checkpoint` and :mod:`.record` write the files of a run, :mod:`.ranks` handles parallel
runs, and :mod:`.evaluate` computes predictions.
"""
