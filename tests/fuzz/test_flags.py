"""Command lines, through the real entry point: figures, help, or exit code 2 with its one line."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from htc_lab.cli import COMMANDS, main
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from tests.fuzz.outcome import MOST_CHARACTERS, fresh, times, tried

_ODD = [
    *(
        "",
        "-1",
        "0",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "9" * 30,
        "0.5",
        "1.5",
        "True",
        "x",
        "é",
        "<b>",
        "--",
        "-",
        "\n",
    ),
    *(".", "..", "/", "/dev/null", "/proc/self/mem", "~", "x" * 300, "http://localhost/x", "None", "[]"),
]
"""Values for any flag."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes") / "s"
    write_classroom(root, 2, 1, 1, SceneConfig(size=64), progress=False)
    return root


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> str | None:
    """What the command printed, or None where it was refused; anything else fails the test."""
    capsys.readouterr()
    code: object = 0
    try:
        main(list(arguments))
    except SystemExit as stop:
        code = stop.code
    streams = capsys.readouterr()
    assert "Traceback" not in streams.err, arguments
    if code == 0:
        tried["good"] += 1
        return streams.out
    assert code == 2, (arguments, code, streams.err[-500:])
    lines = [line for line in streams.err.splitlines() if line.startswith("error: ")]
    # What the parser of the flags refuses, it says in a box of its own.
    assert len(lines) == 1 or "--help" in streams.err, (arguments, streams.err[-500:])
    assert all(len(line) <= MOST_CHARACTERS for line in lines)
    tried["refused"] += 1
    return None


_TRAIN = ("train", "--run", "run", "--steps", "1", "--batch", "1", "--data")
_FLAGS = {
    "train": [
        *(
            "--preset",
            "--toggles",
            "--steps",
            "--epochs",
            "--batch",
            "--lr",
            "--seed",
            "--device",
            "--workers",
        ),
        *(
            "--checkpoint-every",
            "--init",
            "--accumulate",
            "--timeout",
            "--train-json",
            "--val-json",
            "--images",
        ),
        *("--semantic", "--split-seed", "--val-fraction", "--run"),
    ],
    "eval": [
        "--split",
        "--toggles",
        "--device",
        "--timeout",
        "--checkpoint",
        "--val-json",
        "--images",
        "--data",
        "--views",
        "--merge",
        "--score-threshold",
        "--max-detections",
        "--soft-nms",
    ],
    "predict": [
        *("--checkpoint", "--score", "--toggles", "--device", "--out"),
        *("--views", "--merge", "--score-threshold", "--max-detections", "--soft-nms"),
    ],
    "explore": ["--checkpoint", "--scene", "--html", "--state", "--hide"],
    "ablate": ["--seeds", "--device", "--data", "--out"],
    "convert": ["--checkpoint", "--out", "--toggles", "--config"],
    "reproduce": ["--coco", "--cascade", "--htc", "--first", "--score", "--annotations", "--images", "--out"],
    "course grade": [
        "--exercises",
        "--seconds",
        "--submission-seconds",
        "--memory-mib",
        "--out",
        "--feedback",
    ],
    "course build": ["--lessons", "--out"],
    "data show": ["--data", "--split-seed", "--val-fraction", "--train-json", "--semantic"],
    "data classroom": ["--train", "--val", "--test", "--size", "--seed", "--root"],
}
_HARMLESS = {
    # With these, a command that takes the odd value has nothing to compute and ends at once.
    "train": [*_TRAIN, "nowhere"],
    "eval": ["eval", "--data", "nowhere", "--checkpoint", "classroom/htc"],
    "predict": ["predict", "absent.png"],
    "explore": ["explore", "absent.png"],
    "ablate": ["ablate", "--data", "nowhere"],
    "convert": ["convert", "--checkpoint", "nowhere", "--out", "o.pth"],
    "reproduce": ["reproduce", "--coco", "nowhere", "--cascade", "a.pth", "--htc", "b.pth"],
    "course grade": ["course", "grade", "nowhere"],
    "course build": ["course", "build", "--lessons", "nothing"],
    "data show": ["data", "show", "--data", "nowhere"],
    "data classroom": ["data", "classroom", "--train", "1", "--val", "1", "--test", "1", "--size", "32"],
}


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("command", _FLAGS)
def test_odd_values_of_each_flag(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(command)
    for flag in _FLAGS[command]:
        # "=" so that a value that begins with a dash is one.
        for odd in draw.sample(_ODD, min(len(_ODD), times(3))):
            # The scenes of the lab, which it would train on for minutes.
            if f"{command} {flag}={odd}" == "ablate --data=None":
                continue
            if command == "data classroom" and odd in ("/", "~", ".", "..", "9" * 30):
                continue
            call(capsys, *_HARMLESS[command], f"{flag}={odd}")


@pytest.mark.usefixtures("_here")
def test_words_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    # Alone, these two have something to do.
    words = [
        *(name for name in COMMANDS if name not in ("ablate", "doctor")),
        "show",
        "grade",
        "build",
        "--json",
        "--help",
        "--quick",
        "--data",
        "nowhere",
        "--list",
        *_ODD,
    ]
    for seed in range(times(60)):
        draw = random.Random(seed)
        call(capsys, *(draw.choice(words) for _ in range(draw.randrange(4))))


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    "flag",
    [
        *(
            "--lr=nan",
            "--lr=inf",
            "--seed=-1",
            "--seed=" + "9" * 30,
            "--checkpoint-every=0",
            "--checkpoint-every=-3",
        ),
        *(
            "--workers=-1",
            "--batch=" + "9" * 30,
            "--timeout=nan",
            "--timeout=-1",
            "--split-seed=-1",
            "--device=meta",
        ),
        *(
            "--accumulate=5",
            "--device=",
            "--init=.",
            "--images=/dev/null",
            "--semantic=/dev/null",
            "--device=cuda:99",
        ),
        *("--train-json=/dev/null", "--toggles=", "--run=/dev/null", "--run=/proc/x", "--val-fraction=nan"),
    ],
)
def test_odd_numbers_on_sound_data_for_training(
    flag: str, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, *_TRAIN, str(scenes), flag) is None


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    "words",
    [
        "predict PICTURE --out FILE",
        "predict PICTURE --out /dev/null",
        "predict PICTURE --device meta",
        "predict PICTURE --score nan",
        "predict DATA",
        "explore PICTURE --html DATA --checkpoint classroom/htc",
        "explore PICTURE --html page.htmlx --checkpoint classroom/htc",
        "explore PICTURE --html /dev/null/x.html --checkpoint classroom/htc",
        "explore --scene -1 --checkpoint classroom/htc",
        "explore PICTURE --state stage=99",
        "explore PICTURE --state show=x",
        "explore PICTURE --hide x",
        "explore PICTURE --checkpoint PICTURE",
        "convert --checkpoint PICTURE --out o.pth",
        "convert --checkpoint classroom/htc --out FILE/x.pth",
        "convert --checkpoint classroom/htc --out o.pth --toggles htc",
        "convert --checkpoint classroom/htc --out o.safetensors --config FILE",
        "eval --data DATA --checkpoint PICTURE",
        "eval --data DATA --checkpoint classroom/htc --toggles x",
        "eval --data DATA --checkpoint classroom/htc --timeout nan",
        "data show --data FILE",
        "data show --data DATA --semantic FILE",
        "data classroom --root FILE --train 1 --val 1 --test 1",
        "data classroom --root new --train 0",
        "data classroom --root new --train 1 --val 1 --test 1 --size -5",
        "data classroom --root new --train 1 --val 1 --test 1 --seed -1",
        "course grade FILE",
        "course grade DATA --seconds nan",
        "course grade DATA --seconds -1",
        "course grade DATA --submission-seconds inf",
        "course grade DATA --memory-mib -1",
        "course grade DATA --out grades.txt",
        "course grade DATA --out /dev/null/x.csv",
        "course grade DATA --feedback FILE",
        "course build --out FILE --lessons 01_data",
        "course build --out /dev/null/x --lessons 01_data",
        "ablate --data DATA --seeds -1 --quick --out abl",
        "ablate --data DATA --quick --out FILE",
    ],
)
def test_words_that_cannot_be_served(
    words: str, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    known = {
        "DATA": str(scenes),
        "PICTURE": str(scenes / "test" / "000001.png"),
        "FILE": str(tmp_path / "file"),
    }
    arguments = [known.get(word, word) for word in words.split()]
    arguments = [word.replace("FILE/", f"{tmp_path}/file/") for word in arguments]
    assert call(capsys, *arguments) is None


@pytest.mark.usefixtures("_here")
def test_names_that_no_terminal_can_show(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file name in bytes that are no UTF-8: its picture is found, and the JSON names it."""
    name = os.fsdecode(b"b\xff.png")
    shutil.copy(scenes / "test" / "000001.png", name)
    out = call(capsys, "predict", name, "--out", "out", "--json")
    assert out is not None
    assert len(json.loads(out)["pictures"]) == 1


@pytest.mark.usefixtures("_here")
def test_nothing_that_is_given_is_overwritten(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slips of the shell: the result would take the place of what it is made of, or of another result."""
    picture = tmp_path / "photos" / "a.png"
    picture.parent.mkdir()
    shutil.copy(scenes / "test" / "000001.png", picture)
    (picture.parent / "link").symlink_to(picture.parent)
    for name in ("weights.safetensors", "handed_in/anna.ipynb", "a.jpg"):
        fresh(tmp_path, name, b"somebody's work")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for words in (
        "explore photos/a.png --html photos/a.png",
        "predict photos/a.png --out photos",
        "predict photos/a.png --out photos/link",
        "predict photos/a.png a.jpg --out new",
        "convert --checkpoint weights.safetensors --out photos/../weights.safetensors",
        "course grade handed_in --out handed_in/anna.ipynb",
    ):
        assert call(capsys, *words.split()) is None
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before, words
