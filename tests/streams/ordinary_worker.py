"""A Faust app as anybody writes it, on the batch transport: an agent that reads record by record and sends."""

import sys

import faust

from streams.batch_app import BatchApp
from streams.observer import Nobody
from streams.settings import from_environment
from streams.state import Tables

source, target = sys.argv.pop(1), sys.argv.pop(1)
settings = from_environment()
app = BatchApp(settings, Tables(settings, (), Nobody()), Nobody())
names = app.topic(source, key_type=bytes, value_type=bytes, value_serializer="raw")
greetings = app.topic(target, key_type=bytes, value_type=bytes, value_serializer="raw")


@app.agent(names)
async def greet(stream: faust.Stream[bytes]) -> None:
    """Answer each record with one of its own, headers and all."""
    async for event in stream.events():
        if event.value == b"fail":
            raise RuntimeError("no greeting for that")
        await greetings.send(key=event.key, value=b"hello " + event.value, headers={"from": source.encode()})


faust.Worker(app, loglevel="info", redirect_stdouts=False).execute_from_commandline()
