"""Stream workers: Faust processes that share the partitions among them."""

from pathlib import Path

from stack.part import Part
from stack.site import PYTHON, Site


def workers(site: Site, count: int) -> list[Part]:
    """``count`` workers; each says by a file that its histories are read and its partitions assigned."""
    return [_worker(site, index) for index in range(count)]


def _worker(site: Site, index: int) -> Part:
    name = f"worker-{index}"
    ready_file = site.run_dir / "ready" / name

    def prepare() -> None:
        ready_file.parent.mkdir(parents=True, exist_ok=True)
        ready_file.unlink(missing_ok=True)

    return Part(
        name=name,
        group="workers",
        command=(str(PYTHON), "-m", "streams", "worker", "--index", str(index)),
        env={
            "COUNTERSIGN_READY_FILE": str(ready_file),
            "COUNTERSIGN_METRICS_PORT": str(site.ports.workers + index),
        },
        address=f"{site.worker(index)}/health",
        restart=True,
        after=("kafka", "topics"),
        before=prepare,
        waiting_for=lambda: "" if ready_file.exists() else f"the worker to write {_short(ready_file)}",
    )


def _short(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
