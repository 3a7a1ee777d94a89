"""The command line of the embedded stack."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from stack.detached import bring_up, owner, take_down
from stack.errors import StackError
from stack.keys import Keys
from stack.part import loopback, tail
from stack.ports import PREFIX, Ports
from stack.processes import marked
from stack.site import ROOT, Site
from stack.stack import PARTS, Stack
from stack.state import State

_EPILOG = f"""\
parts:
  airflow   Airflow: API and user interface, scheduler, DAG processor, triggerer
  kafka     one Kafka node (KRaft)
  topics    creates the topics of plugins/order_fraud/topics.py
  s3        SeaweedFS with the bucket of the lake
  sandbox   stand-ins of the shop's, the payment provider's and the CRM's API
  workers   stream workers (Faust)

Everything listens on 127.0.0.1 only. Run-time files (data, logs/, pids/, secrets.json, state.json) are in .stack/.
Ports, each with its variable ({PREFIX}KAFKA=29092 python -m stack up, or make up PORT_KAFKA=29092):
  {", ".join(f"{name.upper()} {port}" for name, port, _ in Ports().items())}

examples (python is .venv/streams/bin/python, which `make setup` makes):
  python -m stack up                        everything, in the background
  python -m stack up --parts kafka,topics   only a broker with the topics
  eval "$(python -m stack env)"             addresses and secrets for producers and notebooks in this shell
  python -m stack logs worker-0 --follow
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except StackError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stack",
        description="Start, watch and stop the embedded stack: real servers as plain processes, no Docker.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run-dir", type=Path, default=ROOT / ".stack", help="its run-time files (default: .stack)")
    commands = parser.add_subparsers(required=True, metavar="up|down|status|env|logs")

    up = commands.add_parser("up", help="start the parts and wait until all are ready")
    up.add_argument("--parts", type=_parts, default=PARTS, help="comma-separated choice (default: all)")
    up.add_argument(
        "--workers",
        type=int,
        default=os.environ.get("WORKERS", "1"),
        help="stream workers (default: $WORKERS or 1; more than the 4 partitions would idle)",
    )
    up.add_argument("--fresh", action="store_true", help="forget topics, bucket and Airflow's history of earlier runs")
    up.add_argument("--foreground", action="store_true", help="stay, and stop everything on Ctrl-C")
    up.set_defaults(command=_up)

    commands.add_parser("down", help="stop everything; data stays").set_defaults(command=_down)
    commands.add_parser("status", help="the parts, their addresses, and the log of what died").set_defaults(
        command=_status
    )
    env = commands.add_parser("env", help="print `export` lines with addresses and secrets for a shell")
    env.set_defaults(command=_env)

    logs = commands.add_parser("logs", help="show the end of the parts' logs")
    logs.add_argument("part", nargs="?", help="one process by its name in `status` (default: all)")
    logs.add_argument("--follow", "-f", action="store_true", help="go on until Ctrl-C (one part)")
    logs.set_defaults(command=_logs)
    return parser


def _parts(text: str) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [part for part in chosen if part not in PARTS]:
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return chosen


def _say(line: str) -> None:
    print(line, flush=True)


def _up(options: argparse.Namespace) -> int:
    if options.foreground:
        return _hold(options)
    Ports.from_environment()  # a wrong variable is told here, not in the log of a background process
    bring_up(options.run_dir, options.parts, options.workers, options.fresh, _say)
    _say("")
    _status(options)
    _say('\nStop with `make down`. Addresses and secrets for your shell: eval "$(make env)"')
    return 0


def _hold(options: argparse.Namespace) -> int:
    """Hold the stack until Ctrl-C. A part that dies is reported; the others stay, to be looked at."""
    told: set[str] = set()
    with Stack(options.run_dir, parts=options.parts, workers=options.workers, fresh=options.fresh, tell=_say) as stack:
        _say("All parts are ready. Ctrl-C stops them.")
        while True:
            for name, obituary in stack.deaths().items():
                if name not in told:
                    told.add(name)
                    _say(obituary)
            time.sleep(1)


def _down(options: argparse.Namespace) -> int:
    _say(take_down(options.run_dir, _say))
    return 0


def _status(options: argparse.Namespace) -> int:
    state = State.read(options.run_dir)
    if not owner(options.run_dir):
        rest = marked(options.run_dir.resolve())
        _say("The stack is down." if not rest else f"The stack was killed; {len(rest)} processes are left: make down")
        if state.get("failure"):
            _say(f"The last start failed:\n{state['failure']}")
        return 3
    since = datetime.fromtimestamp(state["since"], UTC)
    _say(f"{state['phase']}, since {since:%Y-%m-%d %H:%M:%S} UTC (pid {state['pid']})")
    for name, part in state["parts"].items():
        seconds = f"{part['seconds']:5.1f} s" if part.get("seconds") is not None else " " * 7
        _say(f"  {name:<22} {part['state']:<10} {seconds}  {part['address']}{_health(part)}")
        if "last_end" in part:
            _say(f"{'':<25}{_lives(part)}")
    dead = [name for name, part in state["parts"].items() if part["state"] == "died"]
    for name in dead:
        _say(f"\n{name} has died. {state['parts'][name].get('given_up', '')}{tail(_log(options.run_dir, name))}")
    _say("  ports: " + " ".join(f"PORT_{name.upper()}={number}" for name, number in state["ports"].items()))
    if "airflow-api" in state["parts"]:
        _say(f"  Airflow: user admin, password in {options.run_dir / 'secrets.json'} (airflow_password)")
    return 1 if dead else 0


def _health(part: dict[str, Any]) -> str:
    """What a worker itself says of its progress."""
    if part["state"] != "ready" or not part["address"].endswith("/health"):
        return ""
    try:
        told = loopback().get(part["address"]).json()
    except (httpx.HTTPError, ValueError) as error:
        return f"  no answer ({type(error).__name__})"
    reasons = told["reasons"]
    more = [f"and {len(reasons) - 1} more"] if len(reasons) > 1 else []
    return f"  {'; '.join([told['status'], *reasons[:1], *more])}"


def _lives(part: dict[str, Any]) -> str:
    """What the supervisor had to do for a part."""
    count = part.get("restarts", 0)
    times = "once" if count == 1 else f"{count} times"
    ended = datetime.fromtimestamp(part["ended"], UTC)
    return f"restarted {times}, last {part['last_end']} at {ended:%H:%M:%S} UTC, log {part['log']}"


def _log(run_dir: Path, name: str) -> Path:
    return run_dir / "logs" / f"{name}.log"


def _env(options: argparse.Namespace) -> int:
    run_dir = options.run_dir.resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    # A stack that is up knows best where it listens; without one these are the settings that the next one would get.
    ports = Ports(**State.read(run_dir)["ports"]) if owner(run_dir) else Ports.from_environment()
    site = Site(run_dir, ports, Keys.load(run_dir / "secrets.json"))
    _say("\n".join(f"export {name}={shlex.quote(value)}" for name, value in site.env.items()))
    return 0


def _logs(options: argparse.Namespace) -> int:
    folder = options.run_dir / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if options.part and options.part not in known:
        raise StackError(f"no log of {options.part}; there are {', '.join(known) or 'none yet'}")
    for name in [options.part] if options.part else known:
        _say(f"{name}{tail(folder / f'{name}.log')}")
    if options.follow and options.part:
        _follow(folder / f"{options.part}.log")
    return 0


def _follow(log: Path) -> None:
    with log.open(errors="replace") as file:
        file.seek(0, os.SEEK_END)
        while True:
            if text := file.read():
                sys.stdout.write(text)
                sys.stdout.flush()
            time.sleep(0.3)
