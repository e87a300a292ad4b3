"""Whether this package is whole: the name ``supervisor`` is that of another distribution's package too."""

from __future__ import annotations

import supervisor

_REMEDY = (
    "install buldozer-supervisor into a virtual environment of its own:"
    " python3 -m venv DIRECTORY && DIRECTORY/bin/pip install buldozer-supervisor"
)


def problem() -> str | None:
    """Return what is wrong with the installed files and what to do, or None.

    supervisord is the distribution ``supervisor``; its package has the same name and some files of the same names.
    Installed after ours it lies over them, and uninstalled it takes them away.
    """
    if hasattr(supervisor, "__version__"):
        return None
    from pathlib import Path  # noqa: PLC0415 - a probe, which comes by here every few seconds, does without

    directory = Path(__file__).parent
    if (directory / "supervisord.py").exists():
        return (
            f"the files of supervisord (the distribution 'supervisor') lie over those of buldozer-supervisor in"
            f" {directory}, and one site-packages cannot hold both; {_REMEDY}"
        )
    return (
        f"files of buldozer-supervisor are missing in {directory}, as after an uninstallation of supervisord"
        f" (the distribution 'supervisor') from the same site-packages; {_REMEDY}"
    )
