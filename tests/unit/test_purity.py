"""The shared code is pure: no clock, no chance, no input or output, only msgspec installed, same bytes anywhere."""

import ast
import hashlib
import importlib.util
import subprocess
import venv
from pathlib import Path

import pytest

from order_fraud import events
from order_fraud.relay import ROUTE, Relayed
from order_fraud.topics import FRAUD_VERDICTS
from tests.unit.kernel_tape import EVERYWHERE, FEEDBACK, feedback, order, sign_up, through_all_hops

ROOT = Path(__file__).parents[2]
KERNEL = ROOT / "plugins" / "order_fraud"
MODULES = sorted(path for path in KERNEL.rglob("*.py"))

ALLOWED_IMPORTS = {
    "collections",
    "dataclasses",
    "datetime",
    "itertools",
    "math",
    "re",
    "string",
    "types",
    "typing",
    "msgspec",
    "order_fraud",
}
"""Nothing here knows the hour, throws dice or reads a file. A new name is added only if that holds for it too."""

FORBIDDEN_CALLS = {"open", "print", "input", "eval", "exec", "compile", "__import__", "id", "hash"}
"""``hash`` and ``id`` differ from process to process."""

FORBIDDEN_ATTRIBUTES = {"now", "today", "utcnow", "fromtimestamp", "astimezone", "getrandom", "urandom"}

FOLD = """
import hashlib, importlib, pkgutil, sys
sys.path.insert(0, {plugins!r})
import order_fraud
for module in pkgutil.iter_modules(order_fraud.__path__, "order_fraud."):
    importlib.import_module(module.name)
from order_fraud import events, relay
from scorecards import PANEL
hops = {{hop.reads.name: hop for hop in relay.ROUTE}}
histories = {{name: relay.Shelf() for name in hops}}
digest = hashlib.sha256()
for line in sys.stdin.buffer.read().splitlines():
    topic, key, value = "customer.events", *line.split(b" ", 1)
    while topic in hops:
        hop = hops[topic]
        onward = relay.step(hop, histories[topic], relay.receive(hop, key, value), PANEL)
        if onward is None:
            break
        topic, key, value = onward.topic.name, onward.key.encode(), events.encode(onward.event)
        digest.update(value)
foreign = {{name.split(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names) - {{"__main__"}}
foreign -= {{"order_fraud", "scorecards"}}
foreign -= {{name for name in foreign if name.startswith(("_distutils_hack", "_virtualenv", "__editable__"))}}
print(digest.hexdigest(), *sorted(foreign))
"""


def tape() -> list[tuple[bytes, bytes]]:
    """Some hundred sign-ups, orders and words of what they were, of every way through the relay."""
    kinds = sorted(FEEDBACK, key=lambda kind: kind.__name__)
    made: list[Relayed] = []
    for n in range(120):
        customer, device, ip = str(n % 17), (None, "D", "E")[n % 3], (None, "1.1.1.1")[n % 2]
        if n < 17:
            made.append(sign_up(customer, minute=n / 7, device_id=device, ip=ip))
        more = {name: value for place, (name, value) in enumerate(EVERYWHERE.items()) if (n >> (place + 1)) % 2}
        made.append(order(f"{customer}-{n}", minute=n * 13.7 % 97, amount=n * 997, device_id=device, ip=ip, **more))
        if n % 5 == 0 and n:
            about = next(event for event in reversed(made[:-1]) if isinstance(event, events.NewOrder))
            made.append(feedback(kinds[n % 3], about.data, minute=n * 13.7 % 97 + 1))
    return [(event.data.customer_id.encode(), events.encode(event)) for event in made]


def fold_in(python: Path) -> list[str]:
    """Let another interpreter import the whole kernel and fold the tape; returns the digest and what else it loaded."""
    found = subprocess.run(
        [python, "-c", FOLD.format(plugins=str(KERNEL.parent))],
        input=b"\n".join(b" ".join(record) for record in tape()),
        capture_output=True,
        check=False,
        timeout=60,
        cwd=KERNEL.anchor,
    )
    assert found.returncode == 0, found.stderr.decode()
    return found.stdout.decode().split()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with msgspec and nothing else."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, symlinks=True, with_pip=False)
    spec = importlib.util.find_spec("msgspec")
    assert spec is not None
    assert spec.origin is not None
    (site,) = home.glob("lib/python*/site-packages")
    (site / "msgspec").symlink_to(Path(spec.origin).parent)
    return home / "bin" / "python"


def test_kernel_runs_in_a_bare_python_with_msgspec_alone(bare: Path) -> None:
    digest, *foreign = fold_in(bare)
    assert foreign == ["msgspec"]
    assert len(digest) == 64


@pytest.mark.parametrize("environment", ["streams", "airflow"])
def test_both_halves_give_the_same_bytes(bare: Path, environment: str) -> None:
    python = ROOT / ".venv" / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f".venv/{environment} is not there: make setup")
    assert fold_in(python)[0] == fold_in(bare)[0]


def test_the_tape_reaches_every_way() -> None:
    done = through_all_hops([events.decode(value) for _, value in tape()])  # type: ignore[misc]
    assert all(done[hop.entity].outputs[FRAUD_VERDICTS.name] for hop in ROUTE)
    assert not done["customer"].refused
    assert len({hashlib.sha256(value).digest() for _, value in tape()}) == 160


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_module_imports_or_calls_what_is_not_pure(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [
                alias.name.split(".")[0] for alias in node.names if alias.name.split(".")[0] not in ALLOWED_IMPORTS
            ]
        elif isinstance(node, ast.ImportFrom):
            package = (node.module or "").split(".")[0]
            names = [package] if node.level or package not in ALLOWED_IMPORTS else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            names = [node.func.id]
        elif isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_ATTRIBUTES:
            names = [node.attr]
        elif isinstance(node, ast.Global | ast.Nonlocal):
            names = ["global state"]
        found += [f"{path.name}:{node.lineno}: {name}" for name in names]  # type: ignore[attr-defined]
    assert found == []


def test_there_are_modules_to_check() -> None:
    assert {"events.py", "history.py", "relay.py", "scorecard.py"} <= {path.name for path in MODULES}
