"""argv -> Settings -> uvloop -> exit code."""

# First of all: a signal that comes from here on is kept until somebody can act on it, as PID 1 too.
import signal

signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

import os  # noqa: E402 - after the signals
import sys  # noqa: E402

from supervisor import installation, signals  # noqa: E402


def main() -> int:
    """Run the command line and return the exit status, or end the process with it."""
    problem = installation.problem()
    if problem:
        print(f"supervisor: {problem}", file=sys.stderr)
        return 1

    from supervisor.tools import commands

    argv = sys.argv[1:]
    if argv and argv[0] in commands.COMMANDS:
        status = commands.main(argv)
        # As below: librdkafka's threads may run on, and a probe has no time to take an interpreter apart.
        os._exit(status)

    from supervisor import cli
    from supervisor.errors import SettingsError, SupervisorError

    try:
        receiver = signals.Receiver()
        settings = cli.settings_from(argv, dict(os.environ))
        receiver.stop_on(settings.stop_signals)
    except cli.Shown as text:
        print(text, end="")
        return 0
    except SettingsError as error:
        cli.complain(error.problems)
        return error.exit_code

    import structlog
    import uvloop

    from supervisor import daemon, instance, logs

    name = instance.new()
    logs.configure(
        settings.log_level, settings.log_colors, settings.log_format, settings.secrets,
        node_id=settings.node_id, instance=name,
    )  # fmt: skip
    # A STDERR that was closed at the start is nobody's: its number may be given to something else.
    sink = logs.write_behind(2 if sys.stderr is not None else -1)
    log = structlog.get_logger("supervisor")
    try:
        status = uvloop.run(daemon.run(settings, receiver, name))
    except SupervisorError as error:
        log.error(str(error))  # noqa: TRY400 - said on purpose, with what to do: a traceback would only hide it
        status = error.exit_code
    except Exception:
        # The interpreter would write the traceback by itself, past the queue, and wait for the log's reader.
        log.exception("the Supervisor failed")
        status = 1
    finally:
        sink.flush()
    # Everything is closed. The interpreter's own end would free it piece by piece, for longer than all of the stop
    # took, and a thread of librdkafka that was left behind would run on in what is being freed.
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
