"""A broker that trusts nobody: TLS, SCRAM and tokens, ACLs, and users for each role; all of it real.

One node in KRaft mode with Kafka's own authorizer. The SCRAM users are made when its folder is formatted, the
certificates by openssl. A second listener takes tokens (OAUTHBEARER): Kafka's validator for unsecured JWTs stands
in for MSK's, which nobody can run at home. A third takes certificates.
"""

import json
import os
import shutil
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from order_fraud.rights import ROLES
from stack.parts.kafka import JARS
from stack.ports import HOST, Ports
from stack.site import ROOT

PASSWORD = "correct horse"
ADMIN = "countersign-admin"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
STRANGER = "countersign-stranger"
"""May do nothing at all."""

_OAUTH = "org.apache.kafka.common.security.oauthbearer"
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=SCRAM://{host}:{scram},TOKEN://{host}:{token},TLS://{host}:{tls},CONTROLLER://{host}:{controller}
advertised.listeners=SCRAM://{host}:{scram},TOKEN://{host}:{token},TLS://{host}:{tls}
listener.security.protocol.map=SCRAM:SASL_SSL,TOKEN:SASL_SSL,TLS:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SCRAM
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config={login} username="{admin}" password="{password}";
listener.name.token.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.token.oauthbearer.sasl.jaas.config={token_login} unsecuredLoginStringClaim_sub="{admin}";
listener.name.token.oauthbearer.sasl.server.callback.handler.class={unsecured}
listener.name.token.oauthbearer.connections.max.reauth.ms=3600000
listener.name.tls.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{admin};User:ANONYMOUS
allow.everyone.if.no.acl.found=false
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""
# The only ANONYMOUS is the controller itself: each other listener asks who is there.


class Secured:
    """The broker and how to come in.

    Attributes:
        ca: PEM file with the certificate to trust.
        scram: address where user and password are asked for.
        token: address where a token is.
        tls: address where a certificate is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ports = Ports.free()
        self.scram, self.token, self.tls = (f"{HOST}:{port}" for port in (ports.kafka, ports.s3, ports.sandbox))
        self.ca = folder / "ca.pem"
        self._keystore, self._settings = folder / "broker-and-key.pem", folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        self._make_certificates()
        self._settings.write_text(
            _SETTINGS.format(
                host=HOST,
                scram=ports.kafka,
                token=ports.s3,
                tls=ports.sandbox,
                controller=ports.controller,
                admin=ADMIN,
                password=PASSWORD,
                keystore=self._keystore,
                ca=self.ca,
                data=folder / "data",
                login="org.apache.kafka.common.security.scram.ScramLoginModule required",
                token_login=f"{_OAUTH}.OAuthBearerLoginModule required",
                unsecured=f"{_OAUTH}.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler",
            )
        )
        users = [f"countersign-{role}" for role in ROLES]
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        scram = [
            word
            for user in (ADMIN, STRANGER, *users)
            for word in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={PASSWORD}]")
        ]
        self._run("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._settings), *scram)

    def environment(self, user: str, password: str = PASSWORD) -> dict[str, str]:
        """Return what a process needs to come in as a user."""
        return {
            "COUNTERSIGN_KAFKA": self.scram,
            "COUNTERSIGN_KAFKA_SECURITY": "scram",
            "COUNTERSIGN_KAFKA_CA": str(self.ca),
            "COUNTERSIGN_KAFKA_USER": user,
            "COUNTERSIGN_KAFKA_PASSWORD": password,
        }

    def connection(self, user: str, password: str = PASSWORD) -> str:
        """Return the same as an Airflow connection, as JSON."""
        host, _, port = self.scram.partition(":")
        known = {"conn_type": "kafka", "host": host, "port": int(port), "login": user, "password": password}
        return json.dumps(known | {"extra": {"security": "scram", "ca": str(self.ca)}})

    def start(self) -> None:
        """Start the broker; clients are answered a few seconds later."""
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(self._java("kafka.Kafka", str(self._settings)), stdout=log, stderr=log)

    def stop(self) -> None:
        """SIGTERM, and kill -9 if it takes long."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """What the broker has to say."""
        return (self._folder / "broker.log").read_text(errors="replace")

    def certificate(self, name: str, *extensions: str) -> tuple[Path, Path]:
        """Make a certificate that the broker trusts; return it and its key."""
        certificate, key, request = (self._folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        openssl("req", *NEW_KEY, "-keyout", str(key), "-out", str(request), "-subj", f"/CN={name}")
        extended = self._folder / f"{name}.ext"
        extended.write_text("\n".join(("basicConstraints=CA:FALSE", *extensions)))
        signing = ["-CA", str(self.ca), "-CAkey", str(self._folder / "ca.key"), "-CAcreateserial", "-days", "2"]
        given = ["-req", "-in", str(request), "-extfile", str(extended), "-out", str(certificate)]
        openssl("x509", *given, *signing)
        return certificate, key

    def _make_certificates(self) -> None:
        ca = ["-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", str(self._folder / "ca.key")]
        openssl("req", *NEW_KEY, *ca, "-out", str(self.ca))
        certificate, key = self.certificate("broker", f"subjectAltName=IP:{HOST}")
        self._keystore.write_text(key.read_text() + certificate.read_text())

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(self._java(*arguments), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    @staticmethod
    def _java(*arguments: str) -> list[str]:
        return ["java", "-Xmx400m", "-XX:+PerfDisableSharedMem", "-cp", f"{JARS}/*", *arguments]


def openssl(*arguments: str) -> None:
    """Run openssl."""
    program = shutil.which("openssl")
    assert program, "these tests make their certificates with openssl: apt-get install openssl"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def process(*command: str, environment: Mapping[str, str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run one of the project's commands to its end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COUNTERSIGN", "AWS_"))}
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**kept, "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def wait_for(condition: object, seconds: float = 30.0) -> None:
    """Wait until a function returns something true."""
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, f"not so after {seconds:.0f} s"
        time.sleep(0.1)
