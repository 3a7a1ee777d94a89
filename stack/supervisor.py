"""Starts parts again that end by themselves: a stream worker that was fenced off, crashed or killed."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from stack.errors import PartDied
from stack.part import Run
from stack.site import Site
from stack.state import State

BACK_OFF_S = (1.0, 2.0, 5.0, 10.0)
"""Waiting times before a start, by the number of quick deaths in a row; the last one stays."""
QUICK_S = 60.0
"""A life shorter than this is a quick death."""
GIVE_UP_AFTER = 6
"""So many quick deaths in a row are no accident."""

_LOOK_SECONDS = 0.25
_PAUSE_SECONDS = 5.0


@dataclass(slots=True)
class _Care:
    restarts: int = 0
    quick_deaths: int = 0
    due: float | None = None
    given_up: str = ""


class Supervisor:
    """Cares for the parts that want it (``Part.restart``) from ``start`` to ``stop``, in a thread of its own."""

    def __init__(self, site: Site, runs: dict[str, Run], state: State, tell: Callable[[str], None]) -> None:
        """Nothing is looked after before ``start``.

        Args:
            site: where parts are started.
            runs: all started parts by name; a part that is started again takes the place of the ended one.
            state: is told what happens to them.
            tell: gets one line for each thing that happens.
        """
        self._site, self._runs, self._state, self._tell = site, runs, state, tell
        self._cares = {name: _Care() for name, run in runs.items() if run.part.restart}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        if self._cares:
            self._thread.start()

    def stop(self) -> None:
        """Let the parts be: from now on nothing is started."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def cares_for(self, name: str) -> bool:
        """Whether a death of this part is being seen to."""
        care = self._cares.get(name)
        return care is not None and not care.given_up

    def why_given_up(self, name: str) -> str:
        """Why a part is started no more; empty if it is, or never was in care."""
        care = self._cares.get(name)
        return care.given_up if care else ""

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            for name, care in self._cares.items():
                if not care.given_up:
                    try:
                        self._look(name, care)
                    except OSError as error:
                        # A full disk, say. Were this thread to end, later deaths would be missed.
                        with contextlib.suppress(OSError):
                            self._tell(f"{name} cannot be seen to ({error}); trying again")
                        self._over.wait(_PAUSE_SECONDS)

    def _look(self, name: str, care: _Care) -> None:
        run, now = self._runs[name], time.monotonic()
        if care.due is not None:
            if now >= care.due:
                self._start_again(name, care)
        elif run.died:
            self._plan(run, care, now)
        elif not run.ready:
            with contextlib.suppress(PartDied):  # dead: seen in the next round; slow: it may take its time
                run.look()
            if run.seconds is not None:
                self._state.part(name, state="ready", seconds=round(run.seconds, 1))
                self._tell(f"{name}: ready again after {run.seconds:.1f} s")

    def _plan(self, run: Run, care: _Care, now: float) -> None:
        name = run.part.name
        care.quick_deaths = care.quick_deaths + 1 if now - run.started < QUICK_S else 1
        self._state.part(name, last_end=run.end(), ended=time.time(), log=str(run.log))
        if care.quick_deaths >= GIVE_UP_AFTER:
            self._give_up(name, care, f"it died {care.quick_deaths} times, each time within {QUICK_S:.0f} s")
            return
        delay = BACK_OFF_S[min(care.quick_deaths, len(BACK_OFF_S)) - 1]
        care.due = now + delay
        self._state.part(name, state="restarting")
        self._tell(f"{name}: {run.end()}; it is started again in {delay:.0f} s (log: {run.log})")

    def _start_again(self, name: str, care: _Care) -> None:
        care.due = None
        try:
            self._runs[name] = run = Run(self._runs[name].part, self._site, again=True)
        except PartDied as error:
            self._give_up(name, care, str(error))
            return
        care.restarts += 1
        self._state.part(name, state="starting", seconds=None, restarts=care.restarts, pid=run.process.pid)

    def _give_up(self, name: str, care: _Care, why: str) -> None:
        care.given_up = (
            f"{name} is not started again: {why}. Mend what its log says, then stop and start the stack (make down; "
            "make up)."
        )
        self._state.part(name, state="died", given_up=care.given_up)
        self._tell(care.given_up)
