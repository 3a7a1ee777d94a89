"""Makes the package, ``build/mwaa``: what lies in it depends on the tree alone, byte for byte."""

import hashlib
import io
import shutil
import zipfile
from pathlib import Path

from mwaa.contents import complaints, files_in
from mwaa.errors import MwaaError

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "build" / "mwaa"

HOME = "/usr/local/airflow"
"""Where MWAA puts everything: ``dags/`` beside ``plugins/``."""

CONSTRAINTS = "dags/constraints.txt"
PLUGINS, REQUIREMENTS, STARTUP, CHECKSUMS = "plugins.zip", "requirements.txt", "startup.sh", "SHA256SUMS"

LARGEST = 128 * 1024
"""No file of ours is longer, in bytes; a longer one came in by mistake."""


def build(root: Path = ROOT, target: Path | None = None) -> dict[str, str]:
    """Make the package anew from the tree below ``root``; return the SHA-256 of each file by its name.

    Raises:
        MwaaError: a file does not belong there, or holds what may not leave the machine.
    """
    contents = collect(root)
    target = target or root / "build" / "mwaa"
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name, content in contents.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (fresh / STARTUP).chmod(0o755)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def collect(root: Path) -> dict[str, bytes]:
    """Return the files of the package by name: the content of every one, and the checksums last.

    Raises:
        MwaaError: see :func:`build`.
    """
    dags = {f"dags/{path.relative_to(root / 'dags').as_posix()}": path for path in files_in(root / "dags")}
    plugins = {path.relative_to(root / "plugins").as_posix(): path for path in files_in(root / "plugins")}
    texts = {name: path.read_bytes() for name, path in dags.items()}
    texts[REQUIREMENTS] = requirements((root / "requirements.txt").read_text()).encode()
    texts[STARTUP] = (root / "mwaa" / STARTUP).read_bytes()
    zipped = {name: path.read_bytes() for name, path in plugins.items()}
    _refuse(texts | {f"plugins/{name}": content for name, content in zipped.items()}, root)
    made = texts | {PLUGINS: zip_of(zipped)}
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(made.items()))
    return dict(sorted(made.items())) | {CHECKSUMS: sums.encode()}


def requirements(ours: str, home: str = HOME) -> str:
    """Return ``requirements.txt`` as MWAA wants it: the constraints by the absolute path that they have there.

    Raises:
        MwaaError: the file does not name the constraints.
    """
    line = f"--constraint {CONSTRAINTS}"
    if ours.count(f"{line}\n") != 1:
        raise MwaaError(f"requirements.txt must have the line `{line}` once: without it, MWAA's own pins would be used")
    return ours.replace(line, f'--constraint "{home}/{CONSTRAINTS}"')


def zip_of(files: dict[str, bytes]) -> bytes:
    """Return a zip whose bytes depend on the files alone: sorted, without times, rights of one kind, not compressed.

    What a compressor writes differs from one version to the next, and a zip with other bytes is another package to
    MWAA, which restarts the environment for it. Uncompressed it is a megabyte, of the gigabyte that MWAA takes.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, also where it was made on Windows: the rights below are read as Unix's
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def unpack(package: Path, home: Path) -> Path:
    """Lay the package out below ``home`` as MWAA does below ``/usr/local/airflow``; return the requirements file.

    Raises:
        MwaaError: there is no package.
    """
    if not (package / CHECKSUMS).exists():
        raise MwaaError(f"there is no package in {package}: `make mwaa` makes it")
    shutil.copytree(package / "dags", home / "dags")
    with zipfile.ZipFile(package / PLUGINS) as archive:
        archive.extractall(home / "plugins")
    (home / "startup").mkdir()
    shutil.copy2(package / STARTUP, home / "startup" / STARTUP)
    (home / "requirements").mkdir()
    installed = home / "requirements" / REQUIREMENTS
    installed.write_text((package / REQUIREMENTS).read_text().replace(HOME, f"{home}"))
    return installed


def _refuse(texts: dict[str, bytes], root: Path) -> None:
    wrong = [line for name, content in sorted(texts.items()) for line in complaints(name, content, root)]
    wrong += [f"{name}: longer than {LARGEST:,} bytes" for name, text in sorted(texts.items()) if len(text) > LARGEST]
    if wrong:
        raise MwaaError("this must not go into a package:\n  " + "\n  ".join(wrong))
