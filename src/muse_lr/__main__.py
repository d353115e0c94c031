"""``python -m muse_lr`` is ``muse-lr``."""

import sys

from muse_lr.cli.main import main

sys.exit(main())
