"""``python -m pymailbox``; see ``pymailbox.cli``."""

import sys

from .cli import main

sys.exit(main())
