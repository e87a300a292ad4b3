"""Values as people write them in environment variables and options: text in, typed value out.

Every parser raises ValueError whose message completes "met 'x'; …": it says what is expected, and for several problems
in one text it has one line each. No message repeats the text itself, which may be a secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_DURATION_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(h|ms|us|µs|μs|ns|m|s)", re.ASCII)
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+", re.ASCII)
_LONGEST_DURATION_S = float(2**63 // 10**9)  # Go counts nanoseconds in 64 bits

_SIZE = re.compile(r"(\d+) ?(|B|KiB|MiB|GiB|kB|MB|GB)", re.ASCII)
_SIZE_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}

_BOOLEANS = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "false", "FALSE", "False"), False
)

_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9.])?", re.ASCII)
CONSUL_DEFAULT_PORT = 8500


def duration_s(text: str) -> float:
    """Parse a Go duration (``1m30s``, ``500ms``, ``1.5h``) to seconds; a bare number and a negative one are refused."""
    expected = "expected a duration with its unit, such as 30s, 1m30s or 500ms"
    if re.fullmatch(r"[+-]?\d+\.?\d*", text, re.ASCII):
        raise ValueError(f"a bare number, {expected}")
    if text.startswith("-"):
        raise ValueError(f"negative, {expected}")
    if not _DURATION.fullmatch(text):
        raise ValueError(expected)
    seconds = sum(float(number) * _DURATION_UNITS_S[unit] for number, unit in _DURATION_PART.findall(text))
    if not seconds <= _LONGEST_DURATION_S:
        raise ValueError(f"too long, {expected}")
    return seconds


def size_bytes(text: str) -> int:
    """Parse a number of bytes, plain or with a unit (``65536``, ``64KiB``, ``1MB``)."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError("expected a number of bytes, such as 65536, 64KiB or 64MiB")
    return whole(match[1]) * _SIZE_UNITS[match[2]]


def marker_prefix(text: str) -> bytes:
    r"""Parse 1 to 64 bytes without a newline; each may stand as ``\xNN``, and a backslash must: ``\x5c``."""
    expected = r"expected 1 to 64 bytes without a newline, each as it is or as \xNN, a backslash as \x5c"
    first, *escaped = text.encode("utf-8", "surrogateescape").split(b"\\")
    prefix = first
    for part in escaped:
        if not re.match(rb"x[0-9A-Fa-f]{2}", part):
            raise ValueError(expected)
        prefix += bytes.fromhex(part[1:3].decode()) + part[3:]
    if not 1 <= len(prefix) <= 64 or b"\n" in prefix:
        raise ValueError(expected)
    return prefix


def whole(text: str) -> int:
    """Parse a number without sign."""
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise ValueError("expected a whole number of at most 18 digits")
    return int(text)


def librdkafka_int(text: str) -> int | None:
    """Read a number as librdkafka does, by C's strtol: ``1000``, ``0x3e8``, ``01750``, ``1 B``; None if it has none."""
    match = re.match(r"\s*([+-]?)(0[xX][0-9A-Fa-f]+|0[0-7]*|[1-9]\d*)", text, re.ASCII)
    if not match:
        return None
    sign, digits = match.groups()
    return int(sign + digits, 16 if digits[:2].lower() == "0x" else 8 if digits[0] == "0" else 10)


def librdkafka_float(text: str) -> float | None:
    """Likewise by strtod: ``0.5``, ``5ms``, ``1e2``, ``0x5``."""
    hexadecimal = re.match(r"\s*[+-]?0[xX][0-9A-Fa-f]+", text, re.ASCII)
    if hexadecimal:
        return float(int(hexadecimal[0], 16))
    decimal = re.match(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", text, re.ASCII)
    return float(decimal[0]) if decimal else None


def boolean(text: str) -> bool:
    """Parse what Go's ``strconv.ParseBool`` accepts."""
    if text not in _BOOLEANS:
        raise ValueError("expected true or false (also 1, 0, t, f)")
    return _BOOLEANS[text]


def split_list(text: str) -> tuple[str, ...]:
    r"""Split at commas; ``\,`` is a comma and ``\\`` a backslash, before anything else a backslash is itself.

    An empty text is an empty list; otherwise every comma separates, so ``a,,b`` has an empty item in the middle.
    """
    if not text:
        return ()
    items = [""]
    for piece in re.findall(r"\\[,\\]|.", text, re.DOTALL):
        if piece == ",":
            items.append("")
        else:
            items[-1] += piece[-1]
    return tuple(items)


def host(text: str) -> str:
    """Check an IP address or a host name, without port."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        # Four numbers that are no address are a mistyped address, not a name.
        if not _HOST_NAME.fullmatch(text) or re.fullmatch(r"[\d.]+", text, re.ASCII):
            raise ValueError("expected an IP address or a host name, without port") from None
        return text


def _host_port(text: str, default_port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d{1,5}))?", text, re.ASCII)
    if not match:
        raise ValueError("not host:port")
    port = int(match[3]) if match[3] else default_port
    if not 0 < port < 2**16:
        raise ValueError("port not in 1..65535")
    return host(match[1] or match[2]), port


def bootstrap_servers(text: str) -> str:
    """Check a comma-separated list of brokers; the port defaults to 9092, spaces around items are dropped."""
    brokers = []
    for item in text.split(","):
        try:
            name, port = _host_port(item.strip(), 9092)
        except ValueError:
            raise ValueError("expected brokers as host:port, separated by commas, such as kafka:9092") from None
        brokers.append(f"[{name}]:{port}" if ":" in name else f"{name}:{port}")
    return ",".join(brokers)


@dataclass(frozen=True, slots=True)
class ConsulAddress:
    """Where the Consul agent listens: ``host`` and ``port``, or ``socket_path`` if ``scheme`` is unix."""

    scheme: Literal["http", "https", "unix"]
    host: str = ""
    port: int = 0
    socket_path: str = ""

    def __str__(self) -> str:
        """Spell the address as a CONSUL_DSN."""
        if self.scheme == "unix":
            return f"unix://{self.socket_path}"
        return (
            f"{self.scheme}://[{self.host}]:{self.port}"
            if ":" in self.host
            else f"{self.scheme}://{self.host}:{self.port}"
        )


def consul_address(text: str) -> ConsulAddress:
    """Parse ``host:port``, ``http://host:port``, ``https://host:port`` or ``unix:///path``; without port it is 8500."""
    scheme, separator, rest = text.rpartition("://")
    scheme = scheme.lower() if separator else "http"
    if scheme == "unix" and rest.startswith("/"):
        return ConsulAddress("unix", socket_path=rest)
    try:
        if scheme not in ("http", "https"):
            raise ValueError(scheme)
        name, port = _host_port(rest.removesuffix("/"), CONSUL_DEFAULT_PORT)
    except ValueError:
        raise ValueError(
            "expected a Consul agent as host:port, http://host:port, https://host:port or unix:///path/of/socket"
        ) from None
    return ConsulAddress("https" if scheme == "https" else "http", name, port)


_OWNED_KAFKA_OPTIONS = {
    "auto.offset.reset": "set KAFKA_AUTO_OFFSET_RESET",
    "bootstrap.servers": "set KAFKA_DSN",
    "group.id": "set KAFKA_CONSUMER_GROUP",
    "metadata.broker.list": "set KAFKA_DSN",
    "queue.buffering.max.ms": "set linger.ms",
    "sasl.mechanism": "set KAFKA_SASL_MECHANISM",
    "sasl.mechanisms": "set KAFKA_SASL_MECHANISM",
    "sasl.password": "set KAFKA_SASL_PASSWORD",
    "sasl.username": "set KAFKA_SASL_USERNAME",
    "security.protocol": "set KAFKA_SECURITY_PROTOCOL",
    "ssl.ca.location": "set KAFKA_SSL_CA_LOCATION",
    "ssl.certificate.location": "set KAFKA_SSL_CERTIFICATE_LOCATION",
    "ssl.key.location": "set KAFKA_SSL_KEY_LOCATION",
} | {
    name: reason
    for reason, names in {
        "offsets are committed when what their records caused is durable": (
            "auto.commit.enable",
            "auto.commit.interval.ms",
            "enable.auto.commit",
            "enable.auto.offset.store",
        ),
        "a record is acknowledged only when every replica in sync has its output": ("acks", "request.required.acks"),
        "every record needs its delivery report": ("delivery.report.only.error",),
        "a record that times out or runs out of retries would be lost": (
            "delivery.timeout.ms",
            "message.send.max.retries",
            "message.timeout.ms",
            "retries",
        ),
        "it follows from PROCESSING_GUARANTEE": (
            "enable.idempotence",
            "enable.gapless.guarantee",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "transaction.timeout.ms",
            "transactional.id",
        ),
        "a stream has no end": ("enable.partition.eof",),
        "lines stay with one partition for a while, then with another": (
            "partitioner",
            "sticky.partitioning.linger.ms",
        ),
        "partitions are handed over as this strategy does it": (
            "group.protocol",
            "group.remote.assignor",
            "partition.assignment.strategy",
        ),
    }.items()
    for name in names
}


def _kafka_option_problems(items: tuple[str, ...]) -> Iterator[str]:
    seen: set[str] = set()
    for number, item in enumerate(items, 1):
        name, separator, _ = item.partition("=")
        if not separator or not re.fullmatch(r"[a-z][a-z0-9._]*", name.strip(), re.ASCII):
            yield f"item {number} is not name=value, with the name of a librdkafka property"
        elif name.strip() in _OWNED_KAFKA_OPTIONS:
            yield f"{name.strip()} belongs to the Supervisor, leave it out: {_OWNED_KAFKA_OPTIONS[name.strip()]}"
        elif name.strip() in seen:
            yield f"{name.strip()} is given twice, expected once"
        seen.add(name.strip())


def kafka_options(text: str) -> dict[str, str]:
    r"""Parse ``name=value`` items separated by commas (``\,`` is a comma); what the Supervisor owns is refused."""
    items = split_list(text)
    problems = list(_kafka_option_problems(items))
    if problems:
        raise ValueError("\n".join(problems))
    return {name.strip(): value for name, _, value in (item.partition("=") for item in items)}
