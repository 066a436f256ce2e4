"""The one error a person's input can cause."""


class InputError(ValueError):
    """Something given to the lab is wrong: a file, a field, a flag.

    The message is one line that names the file (or flag), the field, and the mend.
    The command line prints it and exits with code 2; in a notebook it is an ordinary exception.
    """
