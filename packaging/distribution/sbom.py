"""What is in a directory, as CycloneDX 1.5 has it, for whoever asks which of its parts has a known hole."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from .debian import SUITE, Package
from .machine import Machine
from .wheels import EPOCH

# Debian's names for what people look for under another.
_PLAIN: Final = {"libc6": "glibc", "libssl3t64": "openssl", "libpython3.13-stdlib": "cpython", "zlib1g": "zlib"}


def document(machine: Machine, version: str, packages: list[Package], wheels: list[Path], librdkafka: str) -> str:
    """The document; the same packages give the same bytes."""
    components = [_debian(package, machine) for package in packages]
    components += [_wheel(wheel) for wheel in wheels]
    components.append(
        {
            "type": "library",
            "bom-ref": f"pkg:generic/librdkafka@{librdkafka}",
            "name": "librdkafka",
            "version": librdkafka,
            "purl": f"pkg:generic/librdkafka@{librdkafka}",
            "description": "inside the wheel of confluent-kafka, with OpenSSL, zlib, zstd, lz4 and libcurl linked in",
        }
    )
    components.sort(key=lambda component: str(component["bom-ref"]))
    written = dt.datetime.fromtimestamp(int(EPOCH), dt.UTC)
    subject = f"pkg:generic/supervisor@{version}?arch={machine.name}"
    body: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": f"{written:%Y-%m-%dT%H:%M:%SZ}",
            "component": {"type": "application", "bom-ref": subject, "name": "supervisor", "version": version},
        },
        "components": components,
        "dependencies": [{"ref": subject, "dependsOn": [str(component["bom-ref"]) for component in components]}],
    }
    body["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))}"
    return json.dumps(body, indent=1, sort_keys=True) + "\n"


def _debian(package: Package, machine: Machine) -> dict[str, object]:
    purl = f"pkg:deb/debian/{package.name}@{quote(package.version)}?arch={machine.debian}&distro={SUITE}"
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": package.sha256}],
    }
    if package.name in _PLAIN:
        component["description"] = _PLAIN[package.name]
    return component


def _wheel(wheel: Path) -> dict[str, object]:
    name, version = wheel.name.split("-")[:2]
    name = name.replace("_", "-").lower()
    purl = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}],
    }
