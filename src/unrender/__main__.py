"""``python -m unrender``: the command line."""

from __future__ import annotations

import sys

from unrender.cli.main import main

sys.exit(main())
