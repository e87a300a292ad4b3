"""The Python way: confluent-kafka in a loop, the envelope by orjson, ``cat`` as the Calculator in between.

Usage: ``loop.py BOOTSTRAP INCOMING OUTGOING GROUP``; says ``ready``, begins when a line comes on STDIN, never ends.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import IO

import confluent_kafka
import orjson

WSP = "2c1f9d0e-6f0b-4f6e-9a53-0d6f4b7c8a11"


def incoming(bootstrap: str, topic: str, group: str, stdin: IO[bytes]) -> None:
    """Topic to the child, in batches."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 5,
        }
    )
    consumer.subscribe([topic])
    while True:
        values = [message.value() for message in consumer.consume(10_000, timeout=0.05) if message.error() is None]
        if values:
            stdin.write(b"\n".join(values))  # type: ignore[arg-type]  # no tombstones here
            stdin.write(b"\n")
            stdin.flush()


def outgoing(bootstrap: str, topic: str, stdout: IO[bytes]) -> None:
    """Child to the topic, line by line."""
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 5,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for line in stdout:
        frame = orjson.dumps(
            {"wsp": WSP, "ts": time.time_ns() // 1_000_000, "raw": line[:-1].decode("utf-8", "replace")}
        )
        while True:
            try:
                producer.produce(topic, frame)
                break
            except BufferError:
                producer.poll(0.01)
        producer.poll(0)


def main() -> None:
    """Run both directions."""
    bootstrap, topic, out, group = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1 << 20)
    assert child.stdin is not None
    assert child.stdout is not None
    threading.Thread(target=incoming, args=(bootstrap, topic, group, child.stdin), daemon=True).start()
    outgoing(bootstrap, out, child.stdout)


main()
