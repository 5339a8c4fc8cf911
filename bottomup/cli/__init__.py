"""The command `bottomup`: one file a verb.

A verb is a module with

    SUMMARY                what it does, in one line of `bottomup --help`
    EPILOG                 what `bottomup VERB --help` says after the options; optional
    add_arguments(parser)  declares its arguments
    run(arguments)         does it; an exit code of `bottomup.cli.exit_codes`, or None for success

`run` raises ValueError for what the user got wrong, OSError for what the system refused, and
FloatingPointError for a training that diverged.
`fit`, `validate` and `test` share `training`, because Lightning has a parser of its own. What is
slow to import is imported inside `run`, so that --help is quick.
"""

import io
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from bottomup.cli import (
    collect,
    configs,
    convert,
    data,
    evaluate,
    exit_codes,
    export,
    predict,
    training,
    weights,
)
from bottomup.cli.parser import Parser, overview, unknown_verb
from bottomup.threads import sleep_while_waiting

VERBS: dict[str, ModuleType] = {
    "predict": predict,
    "collect": collect,
    "evaluate": evaluate,
    "convert": convert,
    "export": export,
    "weights": weights,
    "data": data,
    "configs": configs,
}
SUMMARIES = {name: verb.SUMMARY for name, verb in VERBS.items()} | training.SUMMARIES


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        argv: its words without the program's name; those of this process if None.

    Returns:
        the exit code, see `bottomup.cli.exit_codes`.
    """
    sleep_while_waiting()
    # File names may hold any script, and a terminal may lack it.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()  # a closed pipe raises here, not when Python exits
        return code
    except KeyboardInterrupt as stop:
        print("interrupted", file=sys.stderr)
        return exit_codes.after(*stop.args or (signal.SIGINT,))
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.FAILED
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"bottomup: {error}", file=sys.stderr)
        return exit_codes.WRONG_USAGE if isinstance(error, ValueError) else exit_codes.FAILED
    except SystemExit as stop:  # after the --help of a verb
        return int(stop.code or 0)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(overview(SUMMARIES))
        return exit_codes.DONE if words else exit_codes.WRONG_USAGE
    name, *rest = words
    if name in ("-V", "--version"):
        from bottomup import __version__

        print(f"bottomup {__version__}")
        return exit_codes.DONE
    if name in training.SUMMARIES:
        training.run(name, rest)
        return exit_codes.DONE
    if name not in VERBS:
        raise ValueError(unknown_verb(name, SUMMARIES))
    verb = VERBS[name]
    parser = Parser(name, verb.SUMMARY, getattr(verb, "EPILOG", ""))
    verb.add_arguments(parser)
    return verb.run(parser.parse(rest)) or exit_codes.DONE
