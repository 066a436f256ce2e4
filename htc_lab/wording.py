"""Numbers and sentences as people write them: "1 object", "+0.3", one mark at the end."""

from collections.abc import Sequence


def counted(number: int, one: str, many: str | None = None) -> str:
    """``"1 object"``, ``"3 objects"``.

    Args:
        number: how many.
        one: what they are, in the singular.
        many: the plural, where it is not ``one`` with an s.
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def signed(value: float, decimals: int = 1) -> str:
    """A difference with its sign; one that rounds to zero has none."""
    text = f"{value:+.{decimals}f}"
    return text if float(text) else text[1:]


def sentence(text: str) -> str:
    """The text with one mark at its end, whatever it ended in."""
    text = text.rstrip().rstrip(":;,")
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."


def listed(words: Sequence[str], last: str = "and") -> str:
    """``"a"``, ``"a and b"``, ``"a, b and c"``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def uncapitalised(words: str) -> str:
    """The words as they stand within a sentence: ``"mask information flow"``."""
    return words[:1].lower() + words[1:]
