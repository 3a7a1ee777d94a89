"""A worker process of :mod:`lake.reconcile.pool`: ``python -m lake.reconcile.worker FD``."""

import gc
import logging
import sys
import traceback
from multiprocessing.connection import Connection


def serve(connection: Connection) -> None:
    """Work off parts until the parent hangs up."""
    while True:
        try:
            work, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = True, work(*arguments)
        except Exception:
            answer = False, traceback.format_exc()
        try:
            connection.send(answer)
        except OSError:  # the parent is gone
            return


if __name__ == "__main__":
    # Histories are many small tuples that never form a cycle: looking for cycles among them costs a tenth of the time.
    gc.disable()
    logging.basicConfig(level=logging.INFO, format="worker %(process)d: %(message)s")
    serve(Connection(int(sys.argv[1])))
