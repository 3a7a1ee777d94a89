"""Where a worker keeps its state files, and what makes them its own."""

import fcntl
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]

from kafka_access import Brokers, client
from streams.state.restore import REQUEST_TIMEOUT_S, Place
from streams.state.rocks import Past, RocksStore, new_cache, open_store
from streams.state.spec import Spec, StateError

FORMAT = 1
"""Of the files; another one means that they are built anew."""
LOCK_WAIT_S = 10.0
"""How long to wait for a predecessor that is about to end."""


class Folder:
    """The folder of one worker: ``<state_dir>/<group>/<instance>/<changelog>-<partition>``.

    Two workers of the same name must not work in one folder, so it is locked. The lock goes with the process, however
    it ends.
    """

    def __init__(self, state_dir: str, group: str, instance: str, brokers: Brokers) -> None:
        """Lock the folder.

        Raises:
            StateError: another worker has it, or it cannot be made; the message names it and the remedy.
        """
        self.path = Path(state_dir) / _name(group) / _name(instance)
        self._brokers = brokers
        self._cache = new_cache()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("a+")
        except OSError as error:
            raise StateError(
                f"COUNTERSIGN_STATE_DIR: the folder {self.path} cannot be made or written: {error.strerror}"
            ) from error
        self._wait_for_lock()

    def _wait_for_lock(self) -> None:
        until = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    self._lock.seek(0)
                    owner = self._lock.read().strip()
                    raise StateError(
                        f"the state folder {self.path} belongs to a worker that is running (process {owner}): give "
                        "each worker an instance name (COUNTERSIGN_INSTANCE, or --index) of its own"
                    ) from None
                time.sleep(0.1)
            else:
                break
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def open(self, specs: dict[Place, Spec], ranges: dict[Place, tuple[int, int]]) -> dict[Place, RocksStore]:
        """Open the files of some changelog partitions, or begin new ones.

        Raises:
            StateError: files cannot be opened.
            KafkaException: the broker does not say what the changelogs are.
        """
        pasts = self._pasts({changelog for changelog, _ in specs})
        stores: dict[Place, RocksStore] = {}
        try:
            for place, spec in specs.items():
                identity, tombstones_ms = pasts[spec.changelog]
                past = Past(identity, *ranges[place], tombstones_ms)
                path = self.path / f"{spec.changelog}-{place[1]}"
                stores[place] = open_store(path, past, spec.codec.as_of, self._cache)
        except BaseException:
            for store in stores.values():
                store.close()
            raise
        return stores

    def _pasts(self, changelogs: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Return each changelog's identity, and how old files may be: half of what the tombstones are kept.

        Half, because a restore takes its time, and clocks are set.
        """
        admin = AdminClient(client(self._brokers))
        names = list(changelogs)
        cluster = admin.describe_cluster(request_timeout=REQUEST_TIMEOUT_S).result().cluster_id
        topics = admin.describe_topics(TopicCollection(names), request_timeout=REQUEST_TIMEOUT_S)
        resources = {name: ConfigResource(ConfigResource.Type.TOPIC, name) for name in names}
        configs: Any = admin.describe_configs(list(resources.values()), request_timeout=REQUEST_TIMEOUT_S)
        found = {}
        for name in names:
            try:
                topic = topics[name].result().topic_id
                kept = int(configs[resources[name]].result()["delete.retention.ms"].value)
            except KafkaException as error:
                raise KafkaException(error.args[0], f"changelog {name}") from error
            found[name] = f"{FORMAT}/{cluster}/{topic}", kept // 2
        return found

    def close(self) -> None:
        """Unlock the folder."""
        self._lock.close()


def _name(text: str) -> str:
    """Return a name as one that a folder may have."""
    return quote(text, safe="").replace(".", "%2E")
