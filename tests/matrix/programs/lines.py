"""Calculators in Python, by name: ``lines.py NAME [ARGUMENT]``. Each notes the lines that it has handled in $SIDE."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.server
import multiprocessing
import multiprocessing.connection
import os
import pty
import queue
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
import urllib.request

SIDE = os.open(os.environ["SIDE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
READ_BYTES = 65536


def write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])


def answer(line: str | bytes) -> None:
    """Print the line, then note it as handled."""
    data = line.encode() if isinstance(line, str) else line
    write(1, data)
    write(SIDE, data)


def text() -> None:
    for line in sys.stdin:
        answer(line)


def binary() -> None:
    for line in sys.stdin.buffer:
        answer(line)


def readline() -> None:
    while line := sys.stdin.readline():
        answer(line)


def slow(mean_s: str) -> None:
    for line in sys.stdin:
        time.sleep(random.uniform(0, 2 * float(mean_s)))
        answer(line)


def ask() -> None:
    """A client of a service that answers late: it waits in poll with a time limit."""
    host, port = os.environ["SERVER"].split(":")
    peer = socket.create_connection((host, int(port)), timeout=20)
    for line in sys.stdin:
        peer.sendall(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % line[:8].encode())
        got = b""
        while not got.endswith(b"ok"):
            got += peer.recv(4096)
        answer(line)


def urllib_() -> None:
    for line in sys.stdin:
        NO_PROXY.open(f"http://{os.environ['SERVER']}/{line[:8]}", timeout=20).read()
        answer(line)


def metrics() -> None:
    """The main thread works and sleeps beside a thread that serves metrics, which waits in poll."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for line in sys.stdin:
        time.sleep(random.choice((0, 0, 0.001, 0.02)))
        answer(line)


def executor() -> None:
    """Each line is worked on by a pool's thread, which sleeps or asks somebody, while the main thread waits for it."""
    with concurrent.futures.ThreadPoolExecutor(2) as workers:
        for line in sys.stdin:
            workers.submit(time.sleep, random.choice((0, 0, 0.001, 0.01))).result()
            answer(line)


def backoff(wait_s: str) -> None:
    """Waits on an event with a time limit longer than ACK_IDLE on one line in fifty."""
    event = threading.Event()
    for number, line in enumerate(sys.stdin):
        if number % 50 == 3:
            event.wait(float(wait_s))
        answer(line)


def session() -> None:
    """A worker in another session behind a terminal, as sudo has it, which works without waiting for anything."""
    pid, terminal = pty.fork()
    if pid == 0:
        tty.setraw(0)
        write(1, b"\n")
        for line in sys.stdin.buffer:
            end = time.perf_counter() + random.choice((0, 0.0005, 0.003))
            while time.perf_counter() < end:
                pass
            write(1, line)
            write(SIDE, line)
        os._exit(0)
    os.read(terminal, 1)  # it is ready, and the terminal raw
    waiting, over, passed, back = b"", False, 0, 0
    while not over or back < passed:
        reads = [terminal] if over or waiting else [terminal, 0]
        ready, writable, _ = select.select(reads, [terminal] if waiting else [], [])
        if terminal in ready:
            data = os.read(terminal, READ_BYTES)
            back += len(data)
            write(1, data)
        if writable:
            waiting = waiting[os.write(terminal, waiting[:1024]) :]
        if 0 in ready:
            waiting = os.read(0, 4096)
            passed += len(waiting)
            over = not waiting
    os.kill(pid, signal.SIGKILL)


def loop() -> None:
    """Waits for STDIN in select with a time limit."""
    rest = b""
    while True:
        if not select.select([0], [], [], 0.05)[0]:
            continue
        data = os.read(0, READ_BYTES)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            answer(line + b"\n")


async def _stream() -> None:
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    number = 0
    while line := await reader.readline():
        number += 1
        if number % 20 == 0:
            await asyncio.sleep(0.005)
        answer(line)


def asyncio_() -> None:
    asyncio.run(_stream())


def pool() -> None:
    with multiprocessing.Pool(2) as workers:
        for line in sys.stdin:
            workers.apply(_in_pool, (line,))


def _in_pool(line: str) -> None:
    time.sleep(random.choice((0, 0, 0.001)))
    answer(line)


def coprocess() -> None:
    """Asks a helper, started before the first line, by pipes."""
    again = "import sys, time\nfor line in sys.stdin: time.sleep(0.001); print(line, end='', flush=True)"
    with subprocess.Popen([sys.executable, "-c", again], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as helper:
        assert helper.stdin is not None
        assert helper.stdout is not None
        for line in sys.stdin.buffer:
            helper.stdin.write(line)
            helper.stdin.flush()
            answer(helper.stdout.readline())
        helper.stdin.close()


def mppipe() -> None:
    """Asks a helper by a pair of sockets, as multiprocessing.Pipe is one."""
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.Process(target=_behind_pipe, args=(theirs,), daemon=True).start()
    for line in sys.stdin:
        ours.send(line)
        answer(ours.recv())


def _behind_pipe(ours: multiprocessing.connection.Connection) -> None:
    while True:
        line = ours.recv()
        time.sleep(random.choice((0, 0, 0.002)))
        ours.send(line)


def daemon() -> None:
    """Starts a server of its own with the first line, which polls with a time limit and shares nothing with it."""
    server = None
    for line in sys.stdin:
        if server is None:
            command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "0"]
            nobody = subprocess.DEVNULL
            server = subprocess.Popen(command, stdin=nobody, stdout=nobody, stderr=nobody)
        answer(line)
    if server is not None:
        server.kill()


def command() -> None:
    """Runs a program for each line."""
    for line in sys.stdin:
        subprocess.run(["cat"], input=line.encode(), check=True)
        write(SIDE, line.encode())


def reader() -> None:
    """A thread reads ahead of the one that works: what `demand` cannot see."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read).start()
    while (line := lines.get()) is not None:
        time.sleep(0.001)
        answer(line)


def buffered() -> None:
    """Its answers wait in its own output buffer: what `demand` cannot see."""
    for line in sys.stdin:
        sys.stdout.write(line)
        write(SIDE, line.encode())


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
