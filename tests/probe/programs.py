"""Kinds of program, each with what the probe says of it while it waits for a record and while it works on one.

Each takes a line, works on it for WORK_S or so in its own way, and prints a line.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.probe import peers
from tests.probe.driver import Note, Verdict

SOURCES = Path(__file__).with_name("programs")
WORK_S = 0.25
EVENT_LOOP = (Verdict.MAYBE_IDLE, Note.EVENT_LOOP)
TIMED_THREADS = (Verdict.MAYBE_IDLE, Note.TIMED_THREADS)
IDLE = (Verdict.IDLE, Note.NONE)
SEVERAL = (Verdict.IDLE, Note.SEVERAL)


@dataclass(frozen=True, slots=True)
class Program:
    """``command`` is run in a shell-free way; "{name}" is a file built from tests/probe/programs."""

    name: str
    command: list[str]
    idle: tuple[Verdict, Note] = IDLE
    or_idle: tuple[Verdict, Note] = IDLE  # likewise, while a timer of its runtime goes
    may_look_idle: bool = False  # at work it is MAYBE_IDLE too: its idleness needs ACK_IDLE
    needs: list[str] = field(default_factory=list)
    by_peers: bool = False  # its idleness is seen where the kernel tells the peers of unix sockets

    def is_idle(self, seen: tuple[Verdict, Note]) -> bool:
        """Whether it may be that while it waits for a record."""
        return seen == self.idle or (self.or_idle != IDLE and seen == self.or_idle)

    @property
    def missing(self) -> list[str]:
        """What it takes to run it and is not there."""
        tools = [tool for tool in self.needs if shutil.which(tool) is None]
        return tools + (["sock_diag of unix sockets"] if self.by_peers and not peers.can_be_asked() else [])

    def prepared(self, directory: Path) -> list[str]:
        """Its command, after what has to be compiled has been."""
        return [_built(word, directory) if word.startswith("{") else word for word in self.command]


def _built(word: str, directory: Path) -> str:
    source = SOURCES / word.strip("{}")
    target = directory / source.stem
    if source.suffix == ".c" and not target.exists():
        extra = ["-m32", "-nostdlib", "-static", "-ffreestanding"] if "32" in source.stem else ["-pthread"]
        subprocess.run(["cc", "-O1", "-std=gnu11", *extra, "-o", target, source], check=True, timeout=100)
    elif source.suffix == ".go" and not target.exists():
        subprocess.run(["go", "build", "-o", target, source], check=True, timeout=100)
    elif source.suffix == ".java":
        if not (directory / f"{source.stem}.class").exists():
            subprocess.run(["javac", "-d", directory, source], check=True, timeout=100)
        return str(directory)
    return str(target) if source.suffix in {".c", ".go"} else str(source)


def python(name: str, body: str, **more: object) -> Program:
    return Program(name, [sys.executable, "-c", f"import os, sys, time\n{body}"], **more)  # type: ignore[arg-type]


def lines(name: str, work: str, before: str = "", **more: object) -> Program:
    """A loop over STDIN in blocking mode."""
    loop = f"for line in sys.stdin:\n    {work}\n    print(line, end='', flush=True)"
    return python(name, f"{before}\n{loop}", **more)


LATE_SERVER = f"""
import http.server, signal, socket, threading
class Late(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep({WORK_S}); self.send_response(200); self.send_header("Content-Length", "1"); self.end_headers()
        self.wfile.write(b"x")
    def log_message(self, *args): pass
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
port = listener.getsockname()[1]
if os.fork() == 0:  # a stranger: an orphan that has nothing of ours
    if os.fork() > 0: os._exit(0)
    signal.alarm(60); os.setsid(); null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2): os.dup2(null, fd)
    os.closerange(listener.fileno() + 1, 256)
    server = http.server.HTTPServer(("127.0.0.1", 0), Late, bind_and_activate=False)
    server.socket = listener; server.serve_forever()
os.wait(); listener.close()
"""

# Likewise, on a named unix socket; it shares nothing with its client.
NAMED_SERVER = f"""
import signal, socket, tempfile
address = os.path.join(tempfile.mkdtemp(), "server")
listener = socket.socket(socket.AF_UNIX); listener.bind(address); listener.listen()
if os.fork() == 0:
    if os.fork() > 0: os._exit(0)
    signal.alarm(60); os.setsid(); null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2): os.dup2(null, fd)
    os.closerange(listener.fileno() + 1, 256)
    connection, _ = listener.accept()
    os.remove(address); os.rmdir(os.path.dirname(address))
    while data := connection.recv(9): time.sleep({WORK_S}); connection.send(data)
    os._exit(0)
os.wait(); listener.close()
"""


# It polls with a time limit: were it taken for a part of the Calculator, that would never rest.
TIMED_SERVER = f"""
import os, socket, sys, time
address = sys.argv[1]
listener = socket.socket(socket.AF_UNIX); listener.bind(address); listener.listen(); os.mkdir(address + ".ready")
connection, _ = listener.accept()
os.rmdir(address + ".ready"); os.remove(address); os.rmdir(os.path.dirname(address))
connection.settimeout(30)
while data := connection.recv(9): time.sleep({WORK_S}); connection.send(data)
"""


def pair(kind: str) -> str:
    """A helper at the other end of a pair of sockets, which answers late."""
    return (
        f"import socket\nours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_{kind})\n"
        "if os.fork() == 0:\n    ours.close()\n"
        f"    while data := theirs.recv(9): time.sleep({WORK_S}); theirs.send(data)\n"
        "    os._exit(0)\ntheirs.close()"
    )


SH_LOOP = f"while read -r l; do sleep {WORK_S}; echo $l; done"
THREADS = "import threading"

PROGRAMS = [
    Program(
        "cat into a loop of sh", ["sh", "-c", f"cat | while read -r l; do sleep {WORK_S}; echo $l; done"], idle=SEVERAL
    ),
    lines("python, busy", f"end = time.time() + {WORK_S}\n    while time.time() < end: pass"),
    lines("python, sleeps", f"time.sleep({WORK_S})"),
    lines("python, backs off in Event.wait", f"threading.Event().wait({WORK_S})", THREADS),
    lines("python, runs a command", f"subprocess.run(['sleep', '{WORK_S}'])", "import subprocess"),
    lines(
        "python, urllib of a server that answers late",
        "urllib.request.urlopen(f'http://127.0.0.1:{port}', timeout=20).read()",
        LATE_SERVER + "import urllib.request",
    ),
    lines(
        "python, poll on a socket with a time limit",
        "c = socket.create_connection(('127.0.0.1', port)); c.send(b'GET / HTTP/1.0\\r\\n\\r\\n');"
        " p = select.poll(); p.register(c, 1); p.poll(20000)",
        LATE_SERVER + "import select",
    ),
    lines(
        "python, epoll on a socket without a time limit",
        "c = socket.create_connection(('127.0.0.1', port)); c.send(b'GET / HTTP/1.0\\r\\n\\r\\n');"
        " p = select.epoll(); p.register(c, 1); p.poll()",
        LATE_SERVER + "import select",
    ),
    lines(
        "python, select on a socket with a time limit",
        "c = socket.create_connection(('127.0.0.1', port)); c.send(b'GET / HTTP/1.0\\r\\n\\r\\n');"
        " select.select([c], [], [], 20)",
        LATE_SERVER + "import select",
    ),
    lines(
        "python, sleeps beside a metrics server in a thread",
        f"time.sleep({WORK_S})",
        "import http.server, threading\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)\n"
        "threading.Thread(target=server.serve_forever, daemon=True).start()",
        idle=TIMED_THREADS,
    ),
    lines(
        "python, threads of a pool",
        f"pool.submit(time.sleep, {WORK_S}).result()",
        "import concurrent.futures\npool = concurrent.futures.ThreadPoolExecutor(4)\n"
        "list(pool.map(time.sleep, [0.01] * 4))",
    ),
    python(
        "python, a worker behind a reader thread that waits for it",
        "import threading, queue\nq, back = queue.Queue(), queue.Queue()\ndef work():\n    while True:\n"
        f"        line = q.get(); time.sleep({WORK_S}); print(line, end='', flush=True); back.put(1)\n"
        "threading.Thread(target=work, daemon=True).start()\nfor line in sys.stdin: q.put(line); back.get()",
    ),
    lines(
        "python, multiprocessing.Pool",
        f"pool.apply(time.sleep, ({WORK_S},))",
        "import multiprocessing\npool = multiprocessing.get_context('fork').Pool(3)",
    ),
    lines(
        "python, multiprocessing.Pool of spawned processes with a resource tracker",
        f"pool.apply(time.sleep, ({WORK_S},))",
        "import multiprocessing\npool = multiprocessing.get_context('spawn').Pool(2)",
    ),
    lines(
        "python, ProcessPoolExecutor",
        f"pool.submit(time.sleep, {WORK_S}).result()",
        "import concurrent.futures, multiprocessing\n"
        "pool = concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context('fork'))\n"
        "pool.submit(time.sleep, 0).result()",
    ),
    python(
        "python, works on what grep reads for it",
        "import subprocess, threading\n"
        "grep = subprocess.Popen(['grep', '--line-buffered', ''], stdout=subprocess.PIPE, text=True)\n"
        f"for line in grep.stdout: threading.Event().wait({WORK_S}); print(line, end='', flush=True)",
    ),
    python(
        "python, readers forked in advance",
        "for _ in range(3):\n    if os.fork() == 0: break\nelse:\n    os.wait()\n"
        f"while line := os.read(0, 100): time.sleep({WORK_S}); os.write(1, line)",
        idle=SEVERAL,
    ),
    python(
        "python, select on STDIN alone",
        "import select\nwhile True:\n    select.select([0], [], [])\n    line = os.read(0, 100)\n"
        f"    time.sleep({WORK_S}); os.write(1, line)",
    ),
    python(
        "python, poll on STDIN with a time limit",
        "import select\np = select.poll(); p.register(0, 1)\nwhile True:\n    if not p.poll(30000): continue\n"
        f"    line = os.read(0, 100); time.sleep({WORK_S}); os.write(1, line)",
        idle=EVENT_LOOP,
    ),
    python(
        "python, epoll on STDIN and a socket",
        "import select, socket\na, b = socket.socketpair(); p = select.epoll(); p.register(0, 1); p.register(a, 1)\n"
        f"while True:\n    p.poll(); line = os.read(0, 100); time.sleep({WORK_S}); os.write(1, line)",
        or_idle=EVENT_LOOP,  # where the kernel does not tell that it is its own
    ),
    python(
        "python, epoll on STDIN and its own pipe",
        "import select\na, b = os.pipe(); p = select.epoll(); p.register(0, 1); p.register(a, 1)\n"
        f"while True:\n    p.poll(); line = os.read(0, 100); time.sleep({WORK_S}); os.write(1, line)",
    ),
    python(
        "python, asyncio",
        "import asyncio\nasync def main():\n    loop = asyncio.get_running_loop(); reader = asyncio.StreamReader()\n"
        "    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)\n"
        f"    while line := await reader.readline(): await asyncio.sleep({WORK_S}); os.write(1, line)\n"
        "asyncio.run(main())",
        or_idle=EVENT_LOOP,  # where the kernel does not tell that the loop's pair of sockets is its own
        may_look_idle=True,
    ),
    lines(
        "python, a helper behind multiprocessing.Pipe",
        "ours.send(line); ours.recv()",
        "import multiprocessing\nours, theirs = multiprocessing.Pipe()\n"
        f"def helps():\n    while line := theirs.recv(): time.sleep({WORK_S}); theirs.send(line)\n"
        "multiprocessing.get_context('fork').Process(target=helps, daemon=True).start()",
        by_peers=True,
    ),
    lines(
        "python, a helper that is started with the first record behind multiprocessing.Pipe",
        "helper = helper or starts(); ours.send(line); ours.recv()",
        "import multiprocessing\nours, theirs = multiprocessing.Pipe(); helper = None\n"
        f"def helps():\n    while line := theirs.recv(): time.sleep({WORK_S}); theirs.send(line)\n"
        "def starts():\n    helper = multiprocessing.get_context('fork').Process(target=helps, daemon=True)\n"
        "    helper.start(); return helper",
        by_peers=True,
    ),
    lines(
        "python, a helper behind a pair of stream sockets",
        "ours.send(b'x'); ours.recv(9)",
        pair("STREAM"),
        by_peers=True,
    ),
    lines(
        "python, a helper behind a pair of packet sockets",
        "ours.send(b'x'); ours.recv(9)",
        pair("SEQPACKET"),
        by_peers=True,
    ),
    lines(
        "python, a helper behind a pair of datagram sockets",
        "ours.send(b'x'); ours.recv(9)",
        pair("DGRAM"),
        by_peers=True,
    ),
    lines(
        "python, a helper behind a pair of sockets that is waited for in epoll",
        "ours.send(b'x'); p.poll(); ours.recv(9)",
        pair("STREAM") + "\nimport select\np = select.epoll(); p.register(ours, 1)",
        by_peers=True,
    ),
    python(
        "python, asyncio with a helper that reads from a pair of sockets",
        "import asyncio, socket\nours, theirs = socket.socketpair()\n"
        "async def main():\n"
        f"    helper = await asyncio.create_subprocess_exec('sh', '-c', '{SH_LOOP}', stdin=theirs, stdout=theirs)\n"
        "    theirs.close(); lines, back = await asyncio.open_connection(sock=ours)\n"
        "    loop = asyncio.get_running_loop(); reader = asyncio.StreamReader()\n"
        "    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)\n"
        "    while line := await reader.readline(): back.write(line); os.write(1, await lines.readline())\n"
        "asyncio.run(main())",
        idle=SEVERAL,
        by_peers=True,
    ),
    lines(
        "python, a client of a server with a named unix socket",
        "client.send(b'x'); client.recv(9)",
        NAMED_SERVER + "client = socket.socket(socket.AF_UNIX); client.connect(address)",
    ),
    lines(
        "python, epoll on a client of a server with a named unix socket",
        "client.send(b'x'); p.poll(); client.recv(9)",
        NAMED_SERVER + "import select\nclient = socket.socket(socket.AF_UNIX); client.connect(address)\n"
        "p = select.epoll(); p.register(client, 1)",
    ),
    lines(
        "python, a helper with a named unix socket that has a time limit",
        "client.send(b'x'); client.recv(9)",
        "import socket, subprocess, tempfile\naddress = tempfile.mkdtemp() + '/server'\n"
        f"subprocess.Popen([sys.executable, '-c', {TIMED_SERVER!r}, address], stdin=-3, stdout=-3, stderr=-3)\n"
        "while not os.path.exists(address + '.ready'): time.sleep(0.01)\n"
        "client = socket.socket(socket.AF_UNIX); client.connect(address)",
    ),
    python(
        "python, a terminal and another session in between",
        "import pty\n"
        "child = 'import sys, time, tty\\ntty.setraw(0)\\nfor line in sys.stdin:\\n"
        f" end = time.time() + {WORK_S}\\n while time.time() < end: pass\\n"
        " print(line, end=str(), flush=True)'\n"
        "pty.spawn([sys.executable, '-c', child])",
        idle=EVENT_LOOP,
        may_look_idle=True,  # while the kernel passes on what was written to the terminal
    ),
    Program("sh, runs a command for each line", ["sh", "-c", f"while read -r l; do sleep {WORK_S}; echo $l; done"]),
    Program(
        "sh, takes what a command prints",
        ["sh", "-c", f"while read -r l; do x=$(sleep {WORK_S}; echo $l); echo $x; done"],
    ),
    Program(
        "bash, waits in read with a time limit",
        ["bash", "-c", f"while true; do read -t 30 -r l && {{ sleep {WORK_S}; echo $l; }}; done"],
        idle=EVENT_LOOP,
        needs=["bash"],
    ),
    Program(
        "sh around a program that sleeps",
        [
            "sh",
            "-c",
            (
                f"'{sys.executable}' -c 'import sys, time\n"
                f"for l in sys.stdin: time.sleep({WORK_S}); print(l, flush=True)'; :"
            ),
        ],
    ),
    Program(
        "a pipeline of two",
        ["sh", "-c", f"grep --line-buffered . | while read -r l; do sleep {WORK_S}; echo $l; done"],
        idle=SEVERAL,
    ),
    Program(
        "a pipeline of three",
        ["sh", "-c", f"cat | grep --line-buffered . | while read -r l; do sleep {WORK_S}; echo $l; done"],
        idle=SEVERAL,
    ),
    lines(
        "python beside a helper that holds STDIN and sleeps",
        f"time.sleep({WORK_S})",
        "import subprocess\nsubprocess.Popen(['sleep', '600'])",
    ),
    lines(
        "python beside a busy helper",
        f"time.sleep({WORK_S})",
        "import subprocess\nsubprocess.Popen(['sh', '-c', 'while :; do :; done'])",
    ),
    python(
        "python, an init that wakes every second around it",
        "import signal\nif os.fork() == 0:\n"
        f"    for line in sys.stdin: time.sleep({WORK_S}); print(line, end='', flush=True)\n    os._exit(0)\n"
        "os.execvp(sys.executable, [sys.executable, '-c', 'import signal\\nsignal.pthread_sigmask(0, [17])\\n"
        "while not signal.sigtimedwait([17], 1): pass'])",
    ),
    Program("C, its first thread has ended", ["{first_thread_ended.c}"]),
    Program("C, reads by splice", ["{splices.c}"]),
    Program("C, a child behind a pair of sockets", ["{pair.c}"], by_peers=True),
    Program(
        "Java, sleeps beside a pool that sleeps",
        ["java", "-cp", "{Sleeps.java}", "Sleeps"],
        idle=TIMED_THREADS,
        needs=["java", "javac"],
    ),
    Program("Go, a timer", ["{timer.go}"], idle=TIMED_THREADS, needs=["go"]),
    Program(
        "Node, a timer",
        ["node", "-e", f"process.stdin.on('data', d => setTimeout(() => process.stdout.write(d), {WORK_S * 1000}))"],
        or_idle=EVENT_LOOP,
        may_look_idle=True,
        needs=["node"],
    ),
    Program(
        "Node, busy",
        [
            "node",
            "-e",
            (
                "process.stdin.on('data', d => {"
                f" const end = Date.now() + {WORK_S * 1000}; while (Date.now() < end); process.stdout.write(d) }})"
            ),
        ],
        or_idle=EVENT_LOOP,  # V8 looks after its memory
        needs=["node"],
    ),
    Program(
        "Node, a child behind its channel",
        ["node", "{forks.js}"],
        or_idle=EVENT_LOOP,
        needs=["node"],
        by_peers=True,
    ),
    Program(
        "Node, a helper behind its STDIN and STDOUT",
        ["node", "{spawns.js}"],
        idle=SEVERAL,
        or_idle=EVENT_LOOP,
        needs=["node"],
        by_peers=True,
    ),
    Program(
        "curl in a loop of sh",
        [
            sys.executable,
            "-c",
            (
                f"import os, time\n{LATE_SERVER}os.execvp('sh', ['sh', '-c', 'while read -r l;"
                " do echo $(curl -s -m 20 --noproxy 127.0.0.1 http://127.0.0.1:%d); done' % port])"
            ),
        ],
        needs=["curl"],
    ),
]

# Recorded once, where these packages were installed; the trees are kept, so that the tests do not need them.
WITH_PACKAGES = [
    lines(
        "numpy",
        f"numpy.dot(a, a); time.sleep({WORK_S})",
        "import numpy\na = numpy.ones((600, 600)); numpy.dot(a, a)",
    ),
    lines(
        "numpy, busy",
        "for _ in range(40): numpy.dot(a, a)",
        "import numpy\na = numpy.ones((900, 900)); numpy.dot(a, a)",
    ),
    lines(
        "prometheus_client",
        f"time.sleep({WORK_S})",
        "import prometheus_client\nprometheus_client.start_http_server(0, addr='127.0.0.1')",
        idle=TIMED_THREADS,
    ),
    lines(
        "a client of grpc",
        "call(b'x', timeout=20)",
        f"""
import grpc, concurrent.futures
class Late(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: time.sleep({WORK_S}) or request)
ends, gives = os.pipe()
if os.fork() == 0:
    import signal; signal.alarm(60)
    if os.fork() > 0: os._exit(0)
    os.setsid(); null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2): os.dup2(null, fd)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), [Late()])
    port = server.add_insecure_port('127.0.0.1:0'); server.start(); os.write(gives, str(port).encode()); os.close(gives)
    os.close(ends); server.wait_for_termination()
os.wait(); os.close(gives); port = int(os.read(ends, 10)); os.close(ends)
call = grpc.insecure_channel(f'127.0.0.1:{{port}}').unary_unary('/x/y'); call(b'x')
""",
        idle=TIMED_THREADS,
    ),
]
