"""Reference data: reading, checking and batching.

:mod:`.reading` reads files into frames with labels and refuses data that cannot be used;
:mod:`.labels` defines the labels, their units and usual keys. :mod:`.check` reports every problem
of a file (``muse-lr data check``). :mod:`.dataset` makes batches with neighbor lists, and
:mod:`.scaffold` writes a first configuration (``muse-lr init``).
"""
