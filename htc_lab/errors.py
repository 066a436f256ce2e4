"""The only error that a user's input can cause."""


class InputError(ValueError):
    """Something passed to the lab is wrong: a file, a field, a flag.

    The message is one line that names the file (or flag), the field, and the fix.
    The command line prints it and exits with code 2; in a notebook it is an ordinary exception.
    """

    def __init__(self, message: str) -> None:
        # A name from somebody's file may contain line breaks and control characters.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


def in_one_line(reason: object) -> str:
    """What a library reports as the problem, shortened to one line, as part of a message."""
    return " ".join(str(reason).split())[:200] or type(reason).__name__
