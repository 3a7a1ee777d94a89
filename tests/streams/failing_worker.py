"""A worker whose customer hop raises while the file named first is there; else it is the project's own command."""

import sys
from pathlib import Path
from typing import Any

from streams import fraud
from streams.__main__ import main

flag = Path(sys.argv.pop(1))
pass_hop = fraud.pass_hop


def fail(hop: Any, batch: Any, *arguments: Any) -> None:
    """Do half the work, then raise."""
    pass_hop(hop, batch, *arguments)
    if flag.exists():
        raise RuntimeError("the agent fails after it has sent its outputs")


fraud.pass_hop = fail
sys.exit(main(sys.argv[1:]))
