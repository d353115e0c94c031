"""Tables, figures and the page of energy profiles (:mod:`muse_lr.analysis.profile`)."""
