"""All settings as one frozen model: the environment in both spellings, then the options, which win.

A field's variable is its name in upper case (durations lose their ``_s``); ``BDZ_`` before it is the platform's
spelling of the same setting. An empty variable is as good as none. The model is the one source of names, defaults and
meanings, the manual's table included.

Settings marked ``kv`` may also stand in the workspace's KV directory, under their name in lower case: ``with_kv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    InstanceOf,
    PrivateAttr,
    SecretStr,
    ValidationError,
    create_model,
)

from supervisor import setting_rules, signal_names, values
from supervisor.errors import SettingsError
from supervisor.setting_rules import Stated
from supervisor.values import ConsulAddress

PREFIX: Final = "BDZ_"
_SECRET_NAMES = ("KAFKA_SASL_PASSWORD", "KAFKA_OPTIONS", "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_AUTH")
SECRET_VARIABLES: Final = frozenset(prefix + name for name in _SECRET_NAMES for prefix in ("", PREFIX))
SECRET_KAFKA_OPTION: Final = re.compile(r"password|passphrase|secret|\.pem$|jaas|sasl\.oauthbearer\.config")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line gave; ``problems`` are reported together with those of the environment."""

    program: str | None = None
    args: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """A setting as a person meets it: its meaning and its default as text, which the same parser reads.

    ``unset`` says what holds without a value where that is not simply "nothing"; ``kv``: it may also stand in the KV
    directory, where it wins, and a change is put in force while the Supervisor runs. ``never_stops``: it concerns logs
    and status alone, so a text that cannot be read is a note, and the other spelling or the default holds. Such names
    are met with other meanings: LOG_LEVEL is the Calculator's too, HTTP_PORT a service link of Kubernetes.
    """

    meaning: str
    default: str | None = None
    required: bool = False
    unset: str = ""
    kv: bool = False
    never_stops: bool = False

    @property
    def shown_default(self) -> str:
        """The default as the manual's table has it."""
        return self.default or self.unset or ("required" if self.required else "-")


def _at_least(least: float, shown: str, value: float) -> float:
    if value < least:
        raise ValueError(f"too small, expected at least {shown}")
    return value


def _between(low: int, high: int, value: int) -> int:
    if not low <= value <= high:
        raise ValueError(f"expected a number from {low} to {high}")
    return value


def _matching(pattern: str, expected: str, text: str) -> str:
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ValueError(f"expected {expected}")
    return text


def _one_of(choices: tuple[str, ...], text: str) -> str:
    """Accept one of ``choices`` in any case."""
    for choice in choices:
        if text.lower() == choice.lower():
            return choice
    raise ValueError(f"expected {' or '.join(choices)}")


def _choice(*choices: str) -> BeforeValidator:
    return BeforeValidator(partial(_one_of, choices))


def _log_level(text: str) -> str:
    return "warning" if text.lower() == "warn" else _one_of(("debug", "info", "warning", "error"), text)


def _kv_directory(text: str) -> str:
    return _matching(
        r"[A-Za-z0-9._=,-]+(?:/[A-Za-z0-9._=,-]+)*",
        "a directory of Consul's KV store, such as buldozer/subordinate: letters, digits and . _ - = , between slashes",
        text.strip("/"),
    )


def _readable(text: str) -> str:
    try:
        Path(text).open("rb").close()
    except OSError as error:
        raise ValueError(f"{error.strerror or error}, expected a file that can be read") from None
    return text


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("expected text in UTF-8") from None
    return text


def _topic(text: str | None) -> str | None:
    return (
        None if text is None else _matching(TOPIC_PATTERN, "a topic's name: up to 249 letters, digits and . _ -", text)
    )


def _certificates(text: str) -> str:
    """Check a file or directory of CA certificates."""
    return text if Path(text).is_dir() else _readable(text)


def _off(text: str | None) -> str | None:
    return None if text is None or text.lower() == "off" else text


Duration = Annotated[float, BeforeValidator(values.duration_s)]
PositiveDuration = Annotated[Duration, AfterValidator(partial(_at_least, 0.1, "100ms"))]
Size = Annotated[int, BeforeValidator(values.size_bytes)]
Boolean = Annotated[bool, BeforeValidator(values.boolean)]
Secret = Annotated[SecretStr, BeforeValidator(_utf8)]
ReadableFile = Annotated[str, BeforeValidator(_readable)]
CertificatesPath = Annotated[str, BeforeValidator(_certificates)]

TOPIC_PATTERN: Final = r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}"
"""Kafka's rule."""

NODE_ID_PATTERN = r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}"


class Settings(BaseModel):
    """Everything that can be set, checked; made by ``Settings.load``. Durations are seconds, sizes bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    node_id: Annotated[
        str,
        Variable("workspace uid", required=True),
        BeforeValidator(
            partial(_matching, NODE_ID_PATTERN, "the workspace's uid: up to 128 letters, digits and . _ -")
        ),
    ]
    kafka_dsn: Annotated[
        str,
        Variable("bootstrap brokers, host:port separated by commas", required=True),
        BeforeValidator(values.bootstrap_servers),
    ]
    kafka_consumer_group: Annotated[str, Variable("consumer group", "bdz_default_sg")]
    consul_dsn: Annotated[
        ConsulAddress,
        Variable("Consul agent: host:port, http://…, https://… or unix:///…", "localhost:8500"),
        BeforeValidator(values.consul_address),
    ]
    consul_advertise: Annotated[
        Annotated[str, BeforeValidator(values.host)] | None,
        Variable("IP announced to Consul", unset="own IP, detected at start"),
    ]
    consul_name_tpl: Annotated[
        str,
        Variable("service name; %s is NODE_ID", "bdz-wsp-%s"),
        BeforeValidator(
            partial(
                _matching,
                r"[A-Za-z0-9._-]*(?:%s)?[A-Za-z0-9._-]*",
                "a service name of letters, digits and . _ - with %s at most once, where NODE_ID goes",
            )
        ),
    ]
    consul_resync_interval_s: Annotated[
        PositiveDuration, Variable("upper bound on the time between two looks at the configuration", "30s")
    ]
    consul_dir: Annotated[str, Variable("KV directory", "buldozer/subordinate"), BeforeValidator(_kv_directory)]
    # Paths and arguments are bytes to the system; InstanceOf lets those through that are no UTF-8.
    program: Annotated[
        InstanceOf[str], Variable("Calculator's executable, if --bin is not given", required=True, unset="--bin")
    ]
    args: tuple[InstanceOf[str], ...]
    output_json: Annotated[Boolean, Variable("STDOUT lines are JSON values, embedded as such", "false")]
    adoption_graceperiod_s: Annotated[
        Duration, Variable("how long a reconfiguration waits for records in flight", "3s")
    ]
    shutdown_graceperiod_s: Annotated[Duration, Variable("how long the Calculator gets to finish before SIGKILL", "3s")]
    log_level: Annotated[
        str,
        Variable("debug, info, warning or error, in any case", "info", kv=True, never_stops=True),
        BeforeValidator(_log_level),
    ]
    log_colors: Annotated[
        Boolean | None, Variable("coloured logs", unset="on if the log goes to a terminal", never_stops=True)
    ]
    log_format: Annotated[
        str,
        Variable("console (key=value), json (lines), or auto: console on a terminal", "auto", never_stops=True),
        _choice("auto", "console", "json"),
    ]
    calculator_log: Annotated[
        str,
        Variable(
            "the Calculator's STDERR in the log: wrap (as text), merge (the members of a JSON object become those"
            " of the event) or raw",
            "wrap",
            never_stops=True,
        ),
        _choice("wrap", "merge", "raw"),
    ]
    status_stderr: Annotated[
        Boolean,
        Variable(
            "the Calculator's last STDERR lines in status, on the page, and one of them in its check",
            "true",
            never_stops=True,
        ),
    ]
    http_host: Annotated[
        str,
        Variable("address of status and metrics", "0.0.0.0", never_stops=True),  # noqa: S104 - the platform asks from outside the container
        BeforeValidator(values.host),
    ]
    http_port: Annotated[
        int,
        Variable("port of status and metrics; 0 switches them off", "8080", never_stops=True),
        BeforeValidator(values.whole),
        AfterValidator(partial(_between, 0, 65535)),
    ]
    processing_guarantee: Annotated[
        str,
        Variable(
            "what a crash may do to a record: at-least-once, at-most-once or exactly-once", "at-least-once", kv=True
        ),
        _choice("at-least-once", "at-most-once", "exactly-once"),
    ]
    ack_mode: Annotated[
        str,
        Variable(
            "what acknowledges a record: demand (the Calculator asks for more), line (one out for each in) or marker"
            " (marker lines are echoed)",
            "demand",
            kv=True,
        ),
        _choice("demand", "line", "marker"),
    ]
    marker_prefix: Annotated[
        bytes,
        Variable("how the numbered lines of ACK_MODE=marker begin, and no data does", r"\x1eBDZ-ACK\x20"),
        BeforeValidator(values.marker_prefix),
    ]
    feed_ahead_s: Annotated[
        Duration,
        Variable("how much of the Calculator's own working time is written ahead of it", "200ms"),
        AfterValidator(partial(_at_least, 0.001, "1ms")),
    ]
    ack_idle_s: Annotated[
        Duration,
        Variable("an empty STDIN for this long is a Calculator that waits, where it cannot be seen", "1s"),
        AfterValidator(partial(_at_least, 0.001, "1ms")),
    ]
    max_in_flight_records: Annotated[
        int,
        Variable("most records taken and not yet acknowledged", "100000"),
        BeforeValidator(values.whole),
        AfterValidator(partial(_between, 1, 2**24)),
    ]
    max_in_flight_bytes: Annotated[
        Size, Variable("most bytes of such records", "64MiB"), AfterValidator(partial(_between, 1, 2**40))
    ]
    max_line_bytes: Annotated[
        Size,
        Variable("longest line of the Calculator that becomes a record", "900000"),
        AfterValidator(partial(_between, 1, 10**8)),
    ]
    input_newlines: Annotated[
        str,
        Variable(
            "a newline inside a value becomes a space, splits it into several lines, or makes it a dead letter: space,"
            " split or reject",
            "space",
            kv=True,
        ),
        _choice("space", "split", "reject"),
    ]
    propagate_key: Annotated[
        Boolean, Variable("with ACK_MODE=line, a record's key becomes the key of its line's record", "false", kv=True)
    ]
    poison_max_attempts: Annotated[
        int,
        Variable(
            "failures of the Calculator with the same record before it is suspected and written alone", "3", kv=True
        ),
        BeforeValidator(values.whole),
        AfterValidator(partial(_between, 1, 1_000_000)),
    ]
    dead_letter_stream: Annotated[
        str | None,
        Variable("topic for records that end the Calculator, and for what cannot become a record", kv=True),
        BeforeValidator(_topic),
    ]
    calculator_timeout_s: Annotated[
        PositiveDuration | None,
        Variable(
            "a Calculator that has work and neither reads nor prints for so long is restarted", unset="off", kv=True
        ),
        BeforeValidator(_off),
    ]
    calculator_start_timeout_s: Annotated[
        PositiveDuration | None,
        Variable(
            "a Calculator that has not come to take input so long after its start is restarted", unset="off", kv=True
        ),
        BeforeValidator(_off),
    ]
    restart_backoff_max_s: Annotated[
        PositiveDuration, Variable("longest delay between restarts of the Calculator", "30s")
    ]
    stop_signals: Annotated[
        frozenset[int],
        Variable("signals that ask for an orderly stop, separated by commas; TERM is always one", "TERM,INT"),
        BeforeValidator(signal_names.stop_signals),
    ]
    reload_signal: Annotated[
        int | None,
        Variable("signal that the Calculator gets when the Supervisor gets HUP", unset="off"),
        BeforeValidator(signal_names.reload_signal),
    ]
    kafka_options: Annotated[
        dict[str, str],
        Variable("librdkafka properties, name=value separated by commas; what the Supervisor owns is refused", ""),
        BeforeValidator(values.kafka_options),
    ]
    kafka_auto_offset_reset: Annotated[
        str,
        Variable("where a group without an offset begins: earliest or latest", "earliest"),
        _choice("earliest", "latest"),
    ]
    kafka_security_protocol: Annotated[
        Annotated[str, _choice("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")] | None,
        Variable("plaintext, ssl, sasl_plaintext or sasl_ssl", unset="plaintext"),
    ]
    kafka_sasl_mechanism: Annotated[
        Annotated[str, _choice("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI")] | None,
        Variable("PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or GSSAPI"),
    ]
    kafka_sasl_username: Annotated[str | None, Variable("SASL user")]
    kafka_sasl_password: Annotated[Secret | None, Variable("SASL password")]
    kafka_sasl_password_file: Annotated[str | None, Variable("file that holds it; read again when it changes")]
    kafka_ssl_ca_location: Annotated[CertificatesPath | None, Variable("CA certificates, file or directory")]
    kafka_ssl_certificate_location: Annotated[ReadableFile | None, Variable("client certificate")]
    kafka_ssl_key_location: Annotated[ReadableFile | None, Variable("client key")]
    consul_http_token: Annotated[Secret | None, Variable("ACL token")]
    consul_http_token_file: Annotated[str | None, Variable("file that holds it; wins over the variable")]
    consul_http_ssl: Annotated[
        Boolean, Variable("speak TLS to the agent, also when CONSUL_DSN does not say so", "false")
    ]
    consul_cacert: Annotated[ReadableFile | None, Variable("CA certificates of the agent")]
    consul_client_cert: Annotated[ReadableFile | None, Variable("client certificate for the agent")]
    consul_client_key: Annotated[ReadableFile | None, Variable("client key for the agent")]
    consul_http_ssl_verify: Annotated[Boolean, Variable("check the agent's certificate", "true")]
    consul_datacenter: Annotated[
        Annotated[
            str,
            BeforeValidator(partial(_matching, r"[A-Za-z0-9_-]+", "a datacenter's name: letters, digits, _ and -")),
        ]
        | None,
        Variable("Consul datacenter", unset="the agent's own"),
    ]

    _given: dict[str, _Given] = PrivateAttr(default_factory=dict)
    """What was set of the settings that may stand in the KV directory, as spelled."""

    _notes: tuple[str, ...] = PrivateAttr(default=())
    _kv_notes: tuple[str, ...] = PrivateAttr(default=())

    @property
    def kv_directory(self) -> str:
        """Directory of this workspace's keys in Consul's KV store, without slashes at its ends."""
        return f"{self.consul_dir}/{self.node_id}"

    @property
    def service_name(self) -> str:
        """Name of the service in Consul."""
        return self.consul_name_tpl.replace("%s", self.node_id)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not appear anywhere."""
        named = (self.kafka_sasl_password, self.consul_http_token)
        options = (value for name, value in self.kafka_options.items() if SECRET_KAFKA_OPTION.search(name))
        return (*(secret.get_secret_value() for secret in named if secret), *options)

    @classmethod
    def load(cls, environ: Mapping[str, str], options: Options) -> Settings:
        """Read all settings; raise SettingsError with every problem, one line each.

        Options win over variables, ``X`` over ``BDZ_X``. Secret files are read here.
        """
        given = _given(environ)
        passed_over = _pass_over_unreadable(environ, given)
        secrets, problems = _read_secrets(given)
        raw: dict[str, Any] = {"args": options.args}
        for field, variable in variables():
            if field in given or not variable.required:
                raw[field] = given[field].text if field in given else variable.default
        raw |= secrets
        if options.program:
            raw["program"] = options.program
        parsed, error = _parse(raw)
        for file_field, field in _SECRET_FILES.items():
            if file_field in given and field not in secrets:
                parsed.pop(field, None)  # the file is the problem, not that it gave nothing
        stated = Stated(parsed, _names(given), frozenset(given))
        problems = [
            *options.problems,
            *_missing(given, options),
            *problems,
            *setting_rules.contradictions(stated),
            *setting_rules.unpaired(stated),
            *(_problems(error, given) if error is not None else ()),
        ]
        if problems:
            raise SettingsError(problems)
        settings = cls.model_validate(raw)
        if settings.consul_http_ssl and settings.consul_dsn.scheme == "http":
            settings = settings.model_copy(update={"consul_dsn": replace(settings.consul_dsn, scheme="https")})
        paired = {*KV_KEYS.values(), "kafka_options"}
        settings._given = {field: said for field, said in given.items() if field in paired}  # noqa: SLF001 - ours
        settings._notes = (*passed_over, *_retired(environ), *_nearly_ours(environ))  # noqa: SLF001 - ours
        return settings

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of the environment at the start, and is no error.

        Values about logs and status that cannot be read, settings that no longer exist, names that are nearly ours.
        """
        return self._notes

    @property
    def kv_notes(self) -> tuple[str, ...]:
        """Likewise of the KV directory, for these settings."""
        return self._kv_notes

    def name_of(self, field: str) -> str:
        """Return the variable or key that set a field which may stand in the KV directory, or KAFKA_OPTIONS."""
        return self._given[field].name if field in self._given else variable_name(field)

    def with_kv(self, texts: Mapping[str, str]) -> Settings:
        """Return these settings as if the variables of the KV directory's keys in ``texts`` had been set so.

        Raises SettingsError with every problem, as ``load`` does, under the names where the values stand.
        """
        said = {KV_KEYS[key]: _Given(key, text) for key, text in texts.items()}
        notes = []
        for field in [field for field, variable in variables() if variable.never_stops and field in said]:
            why = _unreadable(field, said[field].text)
            if why is not None:
                holds, source = self.kv_in_force()[said[field].name]
                notes.append(_passed_over(said.pop(field), why, f"that of the {source} holds: {holds}"))
        given = self._given | said
        parsed, error = _parse({field: text for field, (_, text) in said.items()})
        in_force = {field: getattr(self, field) for field, _ in variables() if field not in said}
        problems = list(setting_rules.unpaired(Stated(in_force | parsed, _names(given), frozenset(given))))
        if error is not None:
            problems += _problems(error, given)
        if problems:
            raise SettingsError(problems)
        settings = self.model_copy(update=parsed)
        settings._given = given  # noqa: SLF001 - ours
        settings._kv_notes = tuple(notes)  # noqa: SLF001 - ours
        return settings

    def kv_in_force(self) -> dict[str, tuple[str, str]]:
        """Of each setting that may stand in the KV directory, by key: its value as text, and where that comes from."""
        shown = {}
        for field, variable in variables():
            if variable.kv:
                key = variable_name(field).lower()
                name, text = self._given.get(field, _Given("", variable.shown_default))
                value = getattr(self, field)
                text = value if isinstance(value, str) else text
                source = "KV" if name == key else "environment" if name else "default"
                shown[key] = (text, source)
        return shown


class _Given(NamedTuple):
    """A variable that is set: the name as spelled, and its text."""

    name: str
    text: str


@cache  # the checks look at them twice a second
def variables() -> tuple[tuple[str, Variable], ...]:
    """Return each field that the environment can set, with its description."""
    return tuple(
        (field, note)
        for field, info in Settings.model_fields.items()
        for note in info.metadata
        if isinstance(note, Variable)
    )


def variable_name(field: str) -> str:
    """Return the unprefixed name of a field's variable."""
    return field.removesuffix("_s").upper()


KV_KEYS: Final[Mapping[str, str]] = {variable_name(field).lower(): field for field, note in variables() if note.kv}
"""The keys of the KV directory that are settings, with the field of each."""


@cache
def _partial_model() -> type[BaseModel]:
    """The model with every field left out that is not given."""
    fields: dict[str, Any] = {field: (info.rebuild_annotation(), None) for field, info in Settings.model_fields.items()}
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    return create_model("PartialSettings", __config__=config, **fields)


def _parse(texts: Mapping[str, Any]) -> tuple[dict[str, Any], ValidationError | None]:
    """Read each field by itself; return the values of those that can be read, and what is wrong with the others."""
    error = None
    try:
        parsed = _partial_model().model_validate(texts)
    except ValidationError as met:
        error = met
        unreadable = {detail["loc"][0] for detail in met.errors(include_url=False, include_input=False)}
        texts = {field: text for field, text in texts.items() if field not in unreadable}
        parsed = _partial_model().model_validate(texts)
    return {field: getattr(parsed, field) for field in texts}, error


def _given(environ: Mapping[str, str]) -> dict[str, _Given]:
    return {
        field: _Given(name, environ[name])
        for field, _ in variables()
        for name in (PREFIX + variable_name(field), variable_name(field))
        if environ.get(name)
    }


def _names(given: Mapping[str, _Given]) -> dict[str, str]:
    """The name of each field, as given or as it could be."""
    return {field: given[field].name if field in given else variable_name(field) for field, _ in variables()}


def _unreadable(field: str, text: str) -> str | None:
    """Say why a field cannot be read from a text, None if it can."""
    _, error = _parse({field: text})
    if error is None:
        return None
    (detail,) = error.errors(include_url=False, include_input=False)
    return str(detail.get("ctx", {}).get("error", "expected text in UTF-8"))


def _pass_over_unreadable(environ: Mapping[str, str], given: dict[str, _Given]) -> list[str]:
    """Take out of ``given`` what cannot be read and never stops a start; its other spelling counts if that can be.

    Return what is to be said of it.
    """
    notes = []
    for field, variable in variables():
        if not variable.never_stops:
            continue
        met = given.pop(field, None)
        name = variable_name(field)
        unreadable = []
        for spelling in (name, PREFIX + name) if met else ():
            text = environ.get(spelling)
            why = _unreadable(field, text) if text else None
            if text and why is None:
                given[field] = _Given(spelling, text)
                break
            if text:
                unreadable.append((_Given(spelling, text), why or ""))
        if field in given:
            instead = f"{given[field].name} holds: {given[field].text}"
        else:
            instead = f"the default holds: {variable.shown_default} ({PREFIX}{name} is the Supervisor's alone)"
        notes += [_passed_over(of, why, instead) for of, why in unreadable]
    return notes


def _passed_over(said: _Given, why: str, instead: str) -> str:
    return f"{said.name}: met {_shown(said.text)}; {why}; {instead}"


def squeezed(name: str) -> str:
    """Return a name without what is mistaken in it most: case, ``_`` and ``-``."""
    return name.lower().replace("_", "").replace("-", "")


def _nearly_ours(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables that are not read, and look as if they were meant to be."""
    names = [prefix + variable_name(field) for field, _ in variables() for prefix in ("", PREFIX)]
    ours = {squeezed(name): name for name in names}
    for name, text in environ.items():
        meant = ours.get(squeezed(name))
        if meant is not None and text and name not in names:
            yield f"{name}: not read by the Supervisor, whose variable is {meant}; was that meant?"


_RETIRED: Final = {
    "ACK_READAHEAD_BYTES": "how far a Calculator reads ahead is measured now, and nothing is to be set for it",
}
"""Settings that no longer exist, with what took their place. An image that sets one goes on as if it did not."""


def _retired(environ: Mapping[str, str]) -> Iterator[str]:
    for name, instead in _RETIRED.items():
        for spelling in (name, PREFIX + name):
            if environ.get(spelling):
                yield f"{spelling}: has no effect any more, {instead}; leave it out"


def _missing(given: Mapping[str, _Given], options: Options) -> Iterator[str]:
    for field, variable in variables():
        if not variable.required or field in given:
            continue
        name = variable_name(field)
        if field != "program":
            yield f"{name}: not set (nor {PREFIX}{name}); expected the {variable.meaning}"
        elif not options.program and not options.problems:
            yield f"--bin: not given (nor {name}, nor {PREFIX}{name}, set); expected the Calculator's executable"


_SECRET_FILES = {"kafka_sasl_password_file": "kafka_sasl_password", "consul_http_token_file": "consul_http_token"}


def _read_secrets(given: Mapping[str, _Given]) -> tuple[dict[str, str], list[str]]:
    """Read the secrets that stand in files, without the white space around them; return them and the problems."""
    secrets: dict[str, str] = {}
    problems = []
    for file_field, field in _SECRET_FILES.items():
        if file_field not in given:
            continue
        name, path = given[file_field]
        try:
            secrets[field] = Path(path).read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            problems.append(f"{name}: met {_shown(path)}; {why}, expected a file with the secret")
        else:
            if not secrets[field]:
                problems.append(f"{name}: met {_shown(path)}; the file is empty, expected a file with the secret")
    return secrets, problems


def _shown(text: str) -> str:
    """Quote a value for an error: shortened, without credentials of a URL."""
    masked = re.sub(r"//[^/@]*@", "//***@", text)
    return repr(masked if len(masked) <= 100 else masked[:97] + "...")


def _problems(error: ValidationError, given: Mapping[str, _Given]) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_input=False):
        field = str(detail["loc"][0])
        if detail["type"] == "missing":
            continue
        name, text = given[field]
        secret = name in SECRET_VARIABLES
        reason = detail.get("ctx", {}).get("error", "expected text in UTF-8")
        for line in str(reason).splitlines():
            yield f"{name}: {line}" if secret else f"{name}: met {_shown(text)}; {line}"
