"""Values as people write them: durations, sizes, lists, addresses."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import signal_names, values
from supervisor.values import ConsulAddress


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("1h", 3600),
        ("1.5s", 1.5),
        (".5h", 1800),
        ("2.s", 2),
        ("0s", 0),
        ("1h2m3s4ms5us6ns", 3723.004005006),
        ("3µs", 3e-6),
        ("3μs", 3e-6),
        ("1s1s", 2),
    ],
)
def test_go_durations_are_read(text: str, seconds: float) -> None:
    """All units, fractions and sums of Go's ParseDuration."""
    assert values.duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("30", "bare number"),
        ("0", "bare number"),
        ("1.5", "bare number"),
        ("-5", "bare number"),
        ("-5s", "negative"),
        ("s", "expected a duration"),
        ("1 s", "expected a duration"),
        ("1d", "expected a duration"),
        ("1s ", "expected a duration"),
        ("1e3s", "expected a duration"),
        ("٣s", "expected a duration"),
        ("9" * 400 + "h", "too long"),
    ],
)
def test_other_durations_are_refused(text: str, complaint: str) -> None:
    """The message says what is wrong and shows how a duration is written."""
    with pytest.raises(ValueError, match=rf"{complaint}.*|.*1m30s") as caught:
        values.duration_s(text)
    assert complaint in str(caught.value)
    assert "1m30s" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("65536", 65536), ("64KiB", 65536), ("64 MiB", 2**26), ("1MB", 10**6), ("2GiB", 2**31)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    """Plain bytes, and units of both kinds."""
    assert values.size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5MiB", "1M", "MiB", "9" * 30])
def test_other_sizes_are_refused(text: str) -> None:
    """A unit that could mean two things is not guessed."""
    with pytest.raises(ValueError, match="expected"):
        values.size_bytes(text)


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "TRUE", "True"])
def test_true_is_spelled_as_in_go(text: str) -> None:
    """ParseBool's six."""
    assert values.boolean(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "FALSE", "False"])
def test_false_is_spelled_as_in_go(text: str) -> None:
    """ParseBool's other six."""
    assert values.boolean(text) is False


@pytest.mark.parametrize("text", ["yes", "on", "tRUE", " true", "2"])
def test_nothing_else_is_a_boolean(text: str) -> None:
    """A misspelt value must not silently mean false."""
    with pytest.raises(ValueError, match="expected true or false"):
        values.boolean(text)


@pytest.mark.parametrize(
    ("text", "whole", "real"),
    [
        ("1000", 1000, 1000.0),
        (" +1000 B", 1000, 1000.0),
        ("0x3e8", 1000, 1000.0),
        ("0X3E8", 1000, 1000.0),
        ("01750", 1000, 1750.0),
        ("-1", -1, -1.0),
        ("5ms", 5, 5.0),
        ("0.5", 0, 0.5),
        (".5", None, 0.5),
        ("1e2", 1, 100.0),
        ("", None, None),
        ("ten", None, None),
    ],
)
def test_numbers_of_librdkafka_are_read_as_it_does(text: str, whole: int | None, real: float | None) -> None:
    """By C's strtol and strtod."""
    assert (values.librdkafka_int(text), values.librdkafka_float(text)) == (whole, real)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", ()),
        ("a", ("a",)),
        ("-jar,app.jar", ("-jar", "app.jar")),
        ("a,,b", ("a", "", "b")),
        ("a,", ("a", "")),
        (",", ("", "")),
        (r"a\,b,c", ("a,b", "c")),
        (r"a\\,b", ("a\\", "b")),
        (r"a\d\n", (r"a\d\n",)),
        ("a\\", ("a\\",)),
        ("a\nb,c", ("a\nb", "c")),
    ],
)
def test_lists_are_split_at_commas(text: str, items: tuple[str, ...]) -> None:
    """A backslash protects a comma and a backslash, nothing else."""
    assert values.split_list(text) == items


@given(st.lists(st.text(), min_size=1).filter(lambda items: items != [""]))
def test_every_list_can_be_written(items: list[str]) -> None:
    """Escaping as the manual says brings any arguments across, whatever is in them."""
    text = ",".join(item.replace("\\", "\\\\").replace(",", "\\,") for item in items)
    assert list(values.split_list(text)) == items


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("kafka:9092", "kafka:9092"),
        ("a:1, b ,[::1]:9093", "a:1,b:9092,[::1]:9093"),
        ("10.0.0.1:9092", "10.0.0.1:9092"),
    ],
)
def test_brokers_are_read(text: str, servers: str) -> None:
    """One or several, port 9092 if it is not given."""
    assert values.bootstrap_servers(text) == servers


@pytest.mark.parametrize("text", [",", "kafka:", "kafka:x", "kafka:0", "kafka:65536", "kafka://a:1", "a:1,", "1.2.3:1"])
def test_other_brokers_are_refused(text: str) -> None:
    """Before librdkafka tries them for ever."""
    with pytest.raises(ValueError, match="expected brokers as host:port"):
        values.bootstrap_servers(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:8500", ConsulAddress("http", "localhost", 8500)),
        ("consul", ConsulAddress("http", "consul", 8500)),
        ("http://consul:8500", ConsulAddress("http", "consul", 8500)),
        ("http://consul:8500/", ConsulAddress("http", "consul", 8500)),
        ("HTTPS://[::1]:8501", ConsulAddress("https", "::1", 8501)),
        ("unix:///run/consul.sock", ConsulAddress("unix", socket_path="/run/consul.sock")),
    ],
)
def test_consul_addresses_are_read(text: str, address: ConsulAddress) -> None:
    """All forms, and each is written back in a form that reads the same."""
    assert values.consul_address(text) == address
    assert values.consul_address(str(address)) == address


@pytest.mark.parametrize(
    "text", ["ftp://a:1", "unix://a", "a:b", "http://", "http://a:1/path", "http://u:p@a:1", "://a"]
)
def test_other_consul_addresses_are_refused(text: str) -> None:
    """The message shows the four forms."""
    with pytest.raises(ValueError, match="unix:///path"):
        values.consul_address(text)


def test_kafka_options_are_read() -> None:
    """A value may hold an equals sign and an escaped comma."""
    assert values.kafka_options(r"linger.ms=5, client.rack=a=b,ssl.cipher.suites=x\,y") == {
        "linger.ms": "5",
        "client.rack": "a=b",
        "ssl.cipher.suites": "x,y",
    }


@pytest.mark.parametrize(
    "name",
    [
        "enable.auto.commit", "enable.auto.offset.store", "group.id", "bootstrap.servers", "enable.idempotence",
        "queue.buffering.max.ms",
        "transactional.id", "partition.assignment.strategy", "auto.offset.reset", "max.in.flight",
        "max.in.flight.requests.per.connection", "message.timeout.ms", "security.protocol", "sasl.password", "acks",
    ],
)  # fmt: skip
def test_properties_the_supervisor_owns_are_refused(name: str) -> None:
    """With the reason, or the variable that sets them."""
    with pytest.raises(ValueError, match=rf"{name} belongs to the Supervisor, leave it out: \w+"):
        values.kafka_options(f"{name}=x")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", signal.SIGTERM),
        ("sigquit", signal.SIGQUIT),
        (" rtmin+3 ", signal.SIGRTMIN + 3),
        ("SIGRTMIN", signal.SIGRTMIN),
        ("RTMAX-1", signal.SIGRTMAX - 1),
        ("37", 37),
    ],
)
def test_a_signal_is_read(text: str, number: int) -> None:
    """With and without SIG, in any case, relative to the real-time ones, and as Docker's number; and back."""
    assert signal_names.signal_number(text) == number
    assert signal_names.signal_number(signal_names.signal_name(number)) == number


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "65", "32", "_IGN", "RTMIN-1", "RTMIN+", "RTMAX+1", "TERM+1", "QUITT", "\uff19"]
)
def test_what_is_no_signal_is_refused(text: str) -> None:
    """32 and 33 are the C library's."""
    with pytest.raises(ValueError, match="expected a signal"):
        signal_names.signal_number(text)


def test_signals_that_nobody_can_act_on_are_refused() -> None:
    """As those that stop, and as the one that reloads."""
    assert signal_names.stop_signals("quit") == {signal.SIGQUIT, signal.SIGTERM}
    for text in ("KILL", "TERM,STOP", "CHLD"):
        with pytest.raises(ValueError, match="cannot ask for an orderly stop"):
            signal_names.stop_signals(text)
    assert signal_names.reload_signal("off") is signal_names.reload_signal(None) is None
    with pytest.raises(ValueError, match="no program can handle SIGKILL"):
        signal_names.reload_signal("KILL")
