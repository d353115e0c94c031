"""Tables, figures and the page of a comparison of Hessians (:mod:`muse_lr.analysis.hessian`)."""
