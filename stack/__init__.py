"""The embedded stack: Kafka, S3, the SaaS sandbox, stream workers and Airflow as plain processes on loopback.

``python -m stack --help`` for people; for programs::

    from stack import Ports, Stack

    with Stack(run_dir=tmp_path, ports=Ports.free(), parts=("kafka", "topics")) as stack:
        subprocess.run([...], env=stack.environ)   # all addresses and secrets
        stack.check()                              # raises PartDied with the tail of the log
"""

from stack.errors import AlreadyUp, PartDied, PortTaken, StackError
from stack.ports import Ports
from stack.stack import PARTS, Stack

__all__ = ["PARTS", "AlreadyUp", "PartDied", "PortTaken", "Ports", "Stack", "StackError"]
