"""What of the tree goes into the package, and what may never stand in it."""

import re
from collections.abc import Iterator
from pathlib import Path

from mwaa.errors import MwaaError

LEFT_OUT = {"ruff.toml"}
"""Files of the tree that no Airflow reads."""

CACHES = {"__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache"}
KINDS = {".py", ".yaml", ".json", ".j2", ".txt", ".pem"}
BY_NAME = {".airflowignore"}

FORBIDDEN: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("a secret key of the payment provider", re.compile(r"\b[sr]k_(?:live|test)_[0-9A-Za-z]{10,}")),
    ("a token of the shop", re.compile(r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{20,}")),
    ("a token of GitHub", re.compile(r"\bgh[opsu]_[0-9A-Za-z]{30,}")),
    ("a password in an address", re.compile(r"\b[a-z][a-z0-9+]*://[^/\s:@\"'{}<>]+:[^/\s:@\"'{}<>…]+@[\w.]")),
    ("an absolute path of somebody's machine", re.compile(r"(?<![\w.…/-])/(?:home|root|Users|mnt|work)/[\w.-]+")),
    ("an address of a package registry", re.compile(r"(?m)^\s*(?:--(?:extra-)?index-url|-i|--find-links|-f)\b")),
)
"""What may not leave the machine: secrets, and what means something only where the package was built."""


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that belong into the package, sorted by their path.

    Raises:
        MwaaError: there is a file of a kind that nobody has decided about.
    """
    for path in sorted(folder.rglob("*"), key=lambda found: found.relative_to(folder).as_posix()):
        inside = path.relative_to(folder)
        if path.is_dir() or CACHES.intersection(inside.parts) or path.suffix == ".pyc" or path.name in LEFT_OUT:
            continue
        if path.suffix not in KINDS and path.name not in BY_NAME:
            raise MwaaError(
                f"{folder.name}/{inside}: a file of this kind is not known to the package. Remove it, or say in "
                "mwaa/contents.py whether it belongs there (KINDS) or not (LEFT_OUT)"
            )
        yield path


def complaints(name: str, content: bytes, here: Path) -> Iterator[str]:
    """Yield what is forbidden in a file, one line each, with the place but never the text that was found.

    Args:
        name: of the file, as the message shall name it.
        content: of the file.
        here: the folder of the project; its path may not stand in the package either.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        yield f"{name}: is no UTF-8 text, so it cannot be checked"
        return
    for what, pattern in (*FORBIDDEN, ("the path of this checkout", re.compile(re.escape(f"{here}") + r"\b"))):
        for found in pattern.finditer(text):
            yield f"{name}:{text.count('\n', 0, found.start()) + 1}: {what}"
