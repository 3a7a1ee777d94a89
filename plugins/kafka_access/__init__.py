"""How every client of the project gets into Kafka: PLAINTEXT, TLS, SASL/SCRAM or MSK IAM, chosen by one object.

Imported in both environments; needs confluent-kafka, and for IAM Amazon's signer.
"""

from kafka_access.configuration import access_to, client
from kafka_access.entry import NoAnswer, enter
from kafka_access.refusals import Patience, Refused, missing_right, refusal
from kafka_access.settings import Access, BadAccess, Brokers, access

__all__ = [
    "Access",
    "BadAccess",
    "Brokers",
    "NoAnswer",
    "Patience",
    "Refused",
    "access",
    "access_to",
    "client",
    "enter",
    "missing_right",
    "refusal",
]
