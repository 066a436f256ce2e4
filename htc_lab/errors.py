"""The one error a person's input can cause."""


class InputError(ValueError):
    """Something given to the lab is wrong: a file, a field, a flag.

    The message is one line that names the file (or flag), the field, and the mend.
    The command line prints it and exits with code 2; in a notebook it is an ordinary exception.
    """

    def __init__(self, message: str) -> None:
        # A name out of somebody's file may hold line breaks and control characters.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


def in_one_line(reason: object) -> str:
    """What a library says was wrong, as part of a message: one line, not too long."""
    return " ".join(str(reason).split())[:200] or type(reason).__name__
