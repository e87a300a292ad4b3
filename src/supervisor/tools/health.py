"""``supervisor health [live|ready]``: is the instance beside this process well? For HEALTHCHECK and exec probes.

Status 0 or 1, and a sentence. See `asking` for why it imports so little.
"""

import os
from collections.abc import Sequence

from supervisor.tools import asking, commands

HELP = """\
usage: supervisor health [live|ready] [--json]

Asks the Supervisor that runs in this container for its health, without curl:
  live    its event loop runs (the default)
  ready   a route is in force and records can flow
It is found as it was started: by HTTP_PORT and HTTP_HOST (or BDZ_HTTP_PORT and
BDZ_HTTP_HOST).

  --json  one object: {"ok": true, "message": "..."}

exit status: 0 yes, 1 no or no answer within 4 s, 2 wrong use.
"""


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit status."""
    given = commands.parse(words, {"--json": ""}, choices=("live", "ready"))
    asked = given.operands[0] if given.operands else "live"
    code, body = asking.get(f"/health/{asked}", os.environ)
    if code not in (200, 503):
        raise asking.NotAskedError(f"/health/{asked} answered {code}; is HTTP_PORT that of a Supervisor?")
    message = body.decode("utf-8", "replace").strip()
    if "--json" in given.given:
        commands.print_json({"ok": code == 200, "message": message})
    else:
        print(message)
    return 0 if code == 200 else 1
