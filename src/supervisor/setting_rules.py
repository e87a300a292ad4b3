"""Rules between settings: what is right by itself and does not go together. Pure.

They look at parsed values, never at the text, so that every spelling of a value is judged alike; and at the names under
which the values stand, because a message has to name what somebody wrote. They are the same for the environment and
for the KV directory. A setting whose text could not be read is in no rule: that is a problem of its own.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_BY_TRANSACTION: Final = frozenset({"connections.max.idle.ms", "enable.sparse.connections"})
_UNSECURE_TOKENS: Final = "enable.sasl.oauthbearer.unsecure.jwt"


@dataclass(frozen=True)
class Stated:
    """Settings by field. ``values``: parsed, the default where nothing is given, without those that could not be read.

    ``names``: of every field, as given, else its unprefixed variable; ``given``: the fields that somebody has set.
    """

    values: Mapping[str, Any]
    names: Mapping[str, str]
    given: frozenset[str]

    def is_one_of(self, field: str, *values: object) -> bool:
        """Whether the setting has one of these values; False where it could not be read."""
        return field in self.values and self.values[field] in values


def unpaired(stated: Stated) -> Iterator[str]:
    """Of settings that may also stand in the KV directory: each problem, one line."""
    yield from _without_effect(stated)
    if stated.is_one_of("processing_guarantee", "exactly-once"):
        yield from _with_transactions(stated)


def contradictions(stated: Stated) -> Iterator[str]:
    """Of the settings that stand in the environment alone: each problem, one line."""
    if signal.SIGHUP in stated.values.get("stop_signals", ()) and stated.values.get("reload_signal") is not None:
        names = stated.names["reload_signal"], stated.names["stop_signals"]
        yield f"{names[0]}: has no effect where HUP stops; expected {names[1]} without HUP"
    if "kafka_security_protocol" in stated.values:
        yield from _of_protocol(stated, stated.values["kafka_security_protocol"] or "plaintext")
    if {"kafka_sasl_password", "kafka_sasl_password_file"} <= stated.given:
        names = stated.names["kafka_sasl_password"], stated.names["kafka_sasl_password_file"]
        yield f"{names[0]}: set together with {names[1]}; expected one of them"
    for pair in (
        ("kafka_ssl_certificate_location", "kafka_ssl_key_location"),
        ("consul_client_cert", "consul_client_key"),
    ):
        for one, other in (pair, pair[::-1]):
            if one in stated.given and other not in stated.given:
                yield f"{stated.names[other]}: not set; expected together with {stated.names[one]}"


def overruled_in_transactions(options: Mapping[str, str]) -> list[str]:
    """Return the librdkafka properties that would have no effect in `exactly-once`, by name."""
    return [
        name
        for name, value in options.items()
        # librdkafka reads the names of its choices in any case, and passes over white space before them
        if name in _BY_TRANSACTION or (name == "isolation.level" and value.lstrip().lower() != "read_committed")
    ]


def _with_transactions(stated: Stated) -> Iterator[str]:
    """Modes in which a transaction cannot tell which lines belong to which record, and options without effect."""
    name, mode_name, newlines_name = (
        stated.names[field] for field in ("processing_guarantee", "ack_mode", "input_newlines")
    )
    if stated.is_one_of("ack_mode", "demand"):
        yield (
            f"{name}: exactly-once with {mode_name} demand, which cannot tell which lines belong to which record; "
            f"expected {mode_name} line or marker"
        )
    if stated.is_one_of("ack_mode", "line") and stated.is_one_of("input_newlines", "split"):
        yield (
            f"{name}: exactly-once with {mode_name} line and {newlines_name} split: a transaction could end inside a "
            f"record; expected {newlines_name} space, or {mode_name} marker"
        )
    for option in overruled_in_transactions(stated.values.get("kafka_options", {})):
        options_name = stated.names["kafka_options"]
        yield f"{options_name}: {option} belongs to the Supervisor where {name} is exactly-once; leave it out"


def _without_effect(stated: Stated) -> Iterator[str]:
    newlines_name = stated.names["input_newlines"]
    if stated.is_one_of("input_newlines", "reject") and stated.is_one_of("dead_letter_stream", None):
        yield (
            f"{newlines_name}: reject without a stream for what is rejected; expected "
            f"{stated.names['dead_letter_stream']} with it"
        )
    if not stated.is_one_of("propagate_key", True):
        return
    name, mode_name = stated.names["propagate_key"], stated.names["ack_mode"]
    if stated.is_one_of("ack_mode", "demand", "marker"):
        yield f"{name}: only one line for each record can have its key; expected {mode_name} line with it"
    if stated.is_one_of("input_newlines", "split"):
        yield f"{name}: a record of several lines has one key; expected {newlines_name} space or reject with it"


def _of_protocol(stated: Stated, protocol: str) -> Iterator[str]:
    for part, wanted in (("sasl", "sasl_ssl or sasl_plaintext"), ("ssl", "ssl or sasl_ssl")):
        if part in protocol.split("_"):
            continue
        for field, name in stated.names.items():
            if field in stated.given and f"kafka_{part}_" in field:
                yield (
                    f"{name}: has no effect with security protocol {protocol}; expected "
                    f"{stated.names['kafka_security_protocol']} {wanted}"
                )
    if not protocol.startswith("sasl_"):
        return
    needed = ["kafka_sasl_mechanism"]
    mechanism = stated.values.get("kafka_sasl_mechanism")
    if mechanism is not None and (mechanism == "PLAIN" or mechanism.startswith("SCRAM-")):
        needed += ["kafka_sasl_username", "kafka_sasl_password"]
    for field in needed:
        if field in stated.values and stated.values[field] is None:
            with_mechanism = f" and mechanism {mechanism}" if mechanism else ""
            yield f"{stated.names[field]}: not set; expected with security protocol {protocol}{with_mechanism}"
    if mechanism == "OAUTHBEARER" and "kafka_options" in stated.values:
        yield from _without_token(stated)


def _without_token(stated: Stated) -> Iterator[str]:
    """OAUTHBEARER whose tokens would come from the application: librdkafka waits for one for ever and says nothing."""
    options = {name: value.strip().lower() for name, value in stated.values["kafka_options"].items()}
    mechanism_name, options_name = stated.names["kafka_sasl_mechanism"], stated.names["kafka_options"]
    source = options.get("sasl.oauthbearer.metadata.authentication.type", "none")
    if source == "aws_iam":
        yield (
            f"{options_name}: sasl.oauthbearer.metadata.authentication.type aws_iam needs the AWS SDK inside the "
            "client, which the Supervisor does not have; expected azure_imds, or a token endpoint of your own"
        )
    elif options.get("sasl.oauthbearer.method") != "oidc" and options.get(_UNSECURE_TOKENS) not in ("true", "t", "1"):
        yield (
            f"{mechanism_name}: OAUTHBEARER, and no way to a token; expected in {options_name} "
            "sasl.oauthbearer.method=oidc with sasl.oauthbearer.token.endpoint.url, sasl.oauthbearer.client.id and "
            "sasl.oauthbearer.client.secret"
        )
