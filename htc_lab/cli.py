"""The lab on the command line: train, evaluate, predict, ablate, and see to data."""

import atexit
import errno
import gc
import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import tyro

from htc_lab.commands.ablate import ablate
from htc_lab.commands.convert import convert
from htc_lab.commands.course import course
from htc_lab.commands.data import data
from htc_lab.commands.doctor import doctor
from htc_lab.commands.evaluate import evaluate
from htc_lab.commands.explore import explore
from htc_lab.commands.predict import predict
from htc_lab.commands.reproduce import reproduce
from htc_lab.commands.train import train
from htc_lab.errors import InputError, in_one_line
from htc_lab.files import plain

# On its way out the interpreter looks for garbage among all of torch's objects, which takes it a second.
atexit.register(gc.freeze)

COMMANDS: dict[str, Callable[..., Any]] = {
    "train": train,
    "eval": evaluate,
    "predict": predict,
    "ablate": ablate,
    "convert": convert,
    "course": course,
    "data": data,
    "doctor": doctor,
    "explore": explore,
    "reproduce": reproduce,
}


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exit code 2 and one line on stderr where what was given is wrong."""
    for stream in (sys.stdout, sys.stderr):
        # A file's name may hold what the terminal has no sign for.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        figures = tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="htc-lab", description=__doc__, args=arguments
        )
        if figures is not None:
            print(json.dumps(plain(figures), indent=1, allow_nan=False))
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read the output (head, less) has seen enough.
        _drop_output()
        sys.exit(1)
    except (OSError, RuntimeError, MemoryError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        print(f"error: {InputError(reason)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; what was saved stays, and the same command goes on from there", file=sys.stderr)
        sys.exit(130)


def _drop_output() -> None:
    """What is left of the output must not be flushed at exit, where that fails again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reason(error: OSError | RuntimeError | MemoryError) -> str | None:
    """What went wrong with the machine and its mend; None for a fault of the lab's own."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check the path and its permissions"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EIO):
        _drop_output()
        return f"the output cannot be written ({error.strerror}); free space, or send it elsewhere"

    from htc_lab.engine.memory import is_out_of_memory

    if not is_out_of_memory(error):
        return None
    return (
        f"out of memory ({in_one_line(error)}); close other programs, or give smaller pictures or a smaller "
        "model; what was saved stays"
    )


if __name__ == "__main__":
    main()
