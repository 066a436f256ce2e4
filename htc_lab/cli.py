"""The lab on the command line: train, evaluate, predict, ablate, and check data."""

import atexit
import gc
import io
import json
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
from htc_lab.files import plain
from htc_lab.one_line_errors import one_line

# On exit the interpreter looks for garbage among all of torch's objects, which takes a second.
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
    """Run a command; bad input ends in exit code 2 and one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        # A file name may contain characters that the terminal cannot show.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with one_line():
            figures = tyro.extras.subcommand_cli_from_dict(
                COMMANDS, prog="htc-lab", description=__doc__, args=arguments
            )
            if figures is not None:
                print(json.dumps(plain(figures), indent=1, allow_nan=False))
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("stopped; what was saved is kept, and the same command resumes from there", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
