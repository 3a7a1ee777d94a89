"""Apache Kafka: one KRaft node, broker and controller in one process, and the topics of the registry."""

import socket
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from kafka_access import client
from stack.part import Part
from stack.ports import HOST
from stack.site import PYTHON, ROOT, Site

JARS = ROOT / "build" / "kafka"
HEAP = "400m"

# One node: whatever Kafka would replicate has one copy. Few partitions in its own topics make it start sooner.
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{kafka},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{kafka}
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""


def kafka(site: Site) -> list[Part]:
    """The broker; an empty data folder is formatted first."""
    home = site.run_dir / "kafka"
    settings = home / "server.properties"
    data = home / "data"

    def write_settings() -> None:
        home.mkdir(parents=True, exist_ok=True)
        ports = site.ports
        text = _SETTINGS.format(host=HOST, kafka=ports.kafka, controller=ports.controller, data=data)
        settings.write_text(text)

    broker = Part(
        name="kafka",
        group="kafka",
        server=True,
        command=_java("kafka.Kafka", str(settings), heap=HEAP),
        address=site.kafka,
        after=("kafka-format",),
        before=write_settings,
        waiting_for=lambda: _waiting_for_broker(site.kafka),
    )
    if (data / "meta.properties").exists():
        return [broker]
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    cluster = f"--cluster-id={cluster_id}"  # in one word: an id may begin with a dash
    tool = "kafka.tools.StorageTool"
    formatting = Part(
        name="kafka-format",
        group="kafka",
        server=True,
        # --ignore-formatted: a stack that was stopped in the middle of this step.
        command=_java(tool, "format", "--ignore-formatted", cluster, "-c", str(settings), heap="64m"),
        once=True,
        before=write_settings,
    )
    return [formatting, broker]


def topics(site: Site) -> list[Part]:
    """Creates the topics of the registry; a topic that is there but differs is an error."""
    command = (str(PYTHON), "-m", "streams.admin", "create", "--bootstrap", site.kafka)
    return [Part(name="topics", group="topics", command=command, after=("kafka",), once=True)]


def _java(main_class: str, *arguments: str, heap: str) -> tuple[str, ...]:
    # PerfDisableSharedMem: the JVM keeps no file in the machine's temporary folder.
    return ("java", f"-Xmx{heap}", "-XX:+PerfDisableSharedMem", "-cp", f"{JARS}{Path('/')}*", main_class, *arguments)


def _waiting_for_broker(bootstrap: str) -> str:
    with socket.socket() as probe:
        probe.settimeout(1)
        host, port = bootstrap.split(":")
        if probe.connect_ex((host, int(port))):
            return bootstrap
    # log_level 0: while the broker starts, librdkafka would tell the terminal about each refused connection.
    admin = AdminClient(client(bootstrap) | {"log_level": 0, "socket.connection.setup.timeout.ms": 1000})
    try:
        admin.list_topics(timeout=1)
    except KafkaException as error:
        return f"{bootstrap} ({error.args[0].str()})"
    return ""
