"""State of a worker's partitions: key-value tables with changelogs in Kafka, exact after any crash.

    spec      what a table is: its changelog, the input topic beside which it lies, its codec
    tables    the registry: all tables of one worker, in step with the partitions that it is assigned
    table     one partition: changes of the open transaction, hot values, expiry
    memory    where the committed values of a table are: in memory …
    rocks     … or in files (RocksDB), for more of them than fit into memory
    folder    where these files are, whose they are, and whether their past is known
    restore   reads changelogs to their end

Faust's own tables are not used (docs/decisions/0069): their recovery hangs on an emptied changelog
(faust-streaming/faust#597), reads up to the high watermark whatever the isolation level, and their changelog is sent
outside our transaction. To be dropped when all three are otherwise.
"""

from streams.state.spec import Codec, Spec, StateError, Unreadable
from streams.state.table import Table
from streams.state.tables import Tables

__all__ = ["Codec", "Spec", "StateError", "Table", "Tables", "Unreadable"]
