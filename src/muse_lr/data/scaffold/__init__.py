"""A first configuration for a file of reference data, as commented YAML.

:mod:`.survey` checks the data, :mod:`.defaults` chooses the charges and the global inputs of the
backbone by rules, :mod:`.choices` holds sizes, :mod:`.sections` writes the sections and
:mod:`.configuration` puts them together. :mod:`.text` writes names and comments.
"""

from muse_lr.data.scaffold.configuration import make_configuration

__all__ = ["make_configuration"]
