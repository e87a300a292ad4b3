"""argv -> Settings -> uvloop -> exit code."""

# As PID 1 a signal without a handler is ignored: SIGTERM must work from the first instruction on.
import os
import signal


def _stop_early(_signum: int, _frame: object) -> None:
    os._exit(0)  # nothing was started yet


for _signum in (signal.SIGTERM, signal.SIGINT):
    signal.signal(_signum, _stop_early)

import sys  # noqa: E402 - after the handlers


def main() -> int:
    """Run the command line and return the exit status."""
    from supervisor import cli
    from supervisor.errors import SettingsError, SupervisorError

    argv = sys.argv[1:]
    try:
        if argv[:1] == ["demo"]:
            # The demo is a program at a terminal: there a signal ends it with the status that tells so.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            from supervisor import demo

            return demo.main(argv[1:])
        settings = cli.settings_from(argv, dict(os.environ))
    except cli.Shown as text:
        print(text, end="")
        return 0
    except SettingsError as error:
        cli.complain(error.problems)
        return error.exit_code

    import structlog
    import uvloop

    from supervisor import daemon, logs

    logs.configure(settings.log_level, settings.log_colors, settings.log_format, settings.secrets)
    # A STDERR that was closed at the start is nobody's: its number may be given to something else.
    sink = logs.write_behind(2 if sys.stderr is not None else -1)
    log = structlog.get_logger("supervisor")
    try:
        return uvloop.run(daemon.run(settings))
    except SupervisorError as error:
        log.error(str(error))  # noqa: TRY400 - said on purpose, with what to do: a traceback would only hide it
        return error.exit_code
    except Exception:
        # The interpreter would write the traceback by itself, past the queue, and wait for the log's reader.
        log.exception("the Supervisor failed")
        return 1
    finally:
        sink.flush()


if __name__ == "__main__":
    sys.exit(main())
