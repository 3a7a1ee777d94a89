"""``python -m mwaa``."""

import sys

from mwaa.cli import main

sys.exit(main())
