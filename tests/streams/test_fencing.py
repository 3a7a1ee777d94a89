"""A worker whose name another one has taken can never commit."""

import pytest
from confluent_kafka import KafkaException

from order_fraud import topics
from streams.batch import Batch
from streams.exactly_once import ExactlyOnce
from streams.polling import Poller
from streams.settings import Settings
from tests.streams.witness import read


@pytest.mark.parametrize("sent", [True, False])
def test_a_predecessor_of_the_same_name_can_never_commit(bootstrap: str, sent: bool) -> None:
    """The zombie: it has a batch in hand, its outputs perhaps sent already, when its successor starts."""
    settings = Settings(bootstrap=bootstrap, group="zombies", instance="one")
    pollers = [Poller(settings), Poller(settings)]
    zombie, successor = (ExactlyOnce(settings, poller) for poller in pollers)
    zombie.start()
    batch = Batch(topics.RELAY_BY_IP.name, 0, [], next_offset=1)
    batch.send(topics.FRAUD_VERDICTS.name, "zombie", b"written by a zombie", 0)
    zombie.begin([batch])
    if sent:
        zombie.add(batch)
        zombie._producer.flush(10)
    successor.start()
    if not sent:
        zombie.add(batch)
    with pytest.raises(KafkaException) as error:
        zombie.commit()
    assert error.value.args[0].fatal()
    assert all(message.value() != b"written by a zombie" for message in read(bootstrap, topics.FRAUD_VERDICTS))
    for poller in pollers:
        poller.close()
