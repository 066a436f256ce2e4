"""Commands on full disks, in closed folders and without memory: ``python -m tests.faults.commands FOLDER``.

Each runs through the real entry point in a child of a warm process; how it ended is printed as JSON and
looked at by ``test_commands.py``.
"""

import contextlib
import dataclasses
import importlib
import io
import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import torch
from PIL import Image

from htc_lab.ablation.ladder import config_for
from htc_lab.checkpoint.files import save_model
from htc_lab.cli import main as htc_lab
from htc_lab.config import ImageConfig
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.model import build_model
from tests.faults import system
from tests.faults.small import child, ended, small
from tests.unit.tiny import TINY

ROOT = Path(__file__).parents[2]
ROOM_KIB = 4
MEMORY_MIB = 48
ANSWER = (
    "import torch\ndef mean_mask(logits):\n    return torch.sigmoid(torch.stack(list(logits))).mean(dim=0)"
)

_BOTH = "--cascade GIVEN/tiny.safetensors --htc GIVEN/tiny.safetensors"
_TEST = "--annotations GIVEN/scenes/annotations/instances_test.json --images GIVEN/scenes/test"
WRITERS = {
    "predict": ("GIVEN/picture.png --checkpoint GIVEN/tiny.safetensors --out OUT", "picture.png"),
    "explore": ("GIVEN/picture.png --checkpoint GIVEN/tiny.safetensors --html OUT/page.html", "page.html"),
    "convert": ("--checkpoint GIVEN/tiny.safetensors --out OUT/model.pth", "model.pth"),
    "course grade": (
        "GIVEN/handed_in --exercises 04.4 --out OUT/grades.csv --feedback OUT/words",
        "words/anna.md",
    ),
    "course build": ("--lessons 04_mask_flow --out OUT/course", "course"),
    "data classroom": ("--root OUT/scenes --train 1 --val 1 --test 1 --size 64", "scenes"),
    "reproduce": (f"--coco GIVEN/scenes {_TEST} {_BOTH} --out OUT", "results.json"),
    "train": ("--data GIVEN/scenes --run OUT/run --steps 1 --batch 1", "run/checkpoint.safetensors"),
    "ablate": ("--data GIVEN/scenes --quick --out OUT/ablation", "ablation/results.json"),
}
"""Every command that writes: its words, GIVEN being what it reads, and the last file it makes in OUT."""

SCRIPTS = {
    "make_subset.py": ("GIVEN/scenes OUT/small --count 1 --copy", "small"),
    "make_semantic_maps.py": ("GIVEN/scenes --out OUT/maps", "maps/semantic_classes.json"),
}
"""The same of data_scripts/ that the lab itself does not call."""

HUNGRY = {
    "predict": "GIVEN/large.png --checkpoint GIVEN/large.safetensors --out OUT",
    "explore": "GIVEN/large.png --checkpoint GIVEN/large.safetensors --html OUT/page.html",
    "eval": "--data GIVEN/scenes --checkpoint GIVEN/large.safetensors --split test",
}
"""What takes more memory than there is."""

WARM = (
    *("ablation.costs", "ablation.reproduce", "board.look", "course.copies", "course.grading.grade"),
    *("course.notebooks", "explorer.explore", "plots.drawing", "train.loop", "web.export"),
)
"""Modules that the commands would otherwise import again in every child."""


def given(folder: Path) -> Path:
    """Scenes, tiny models of their classes, pictures, a submission."""
    folder.mkdir()
    small(folder / "scenes")
    data = find_data(folder / "scenes")
    config = config_for(TINY, data, semantic_classes(data))
    large = dataclasses.replace(config, image=ImageConfig(short=1600, long=1600))
    for name, chosen in (("tiny", config), ("large", large)):
        model = build_model(chosen, 0)
        model.class_names = data.class_names
        save_model(model, folder / f"{name}.safetensors")
    Image.open(folder / "scenes/test/000001.png").save(folder / "picture.png")
    Image.new("RGB", (1600, 1600), (90, 120, 60)).save(folder / "large.png")
    (folder / "handed_in").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ANSWER)])
    nbformat.write(notebook, folder / "handed_in/anna.ipynb")
    return folder


def full_disk(out: Path) -> None:
    system.own_mounts()
    system.small_disk(out, ROOM_KIB)


def closed_folder(out: Path) -> None:
    try:
        system.own_mounts()
        system.read_only(out)
    except system.NotHere:
        out.chmod(0o555)
        system.as_nobody()


def little_memory(_: Path) -> None:
    system.memory_left(MEMORY_MIB)


def output_that_is_full(_: Path) -> None:
    sys.stdout = open("/dev/full", "w")  # noqa: SIM115


def run(arguments: list[str]) -> None:
    """A command of the lab, or a script of data_scripts/."""
    if not arguments[0].endswith(".py"):
        htc_lab(arguments)
        return
    sys.argv = arguments
    runpy.run_path(str(ROOT / "data_scripts" / arguments[0]), run_name="__main__")


def tried(
    name: str, words: str, trouble: Callable[[Path], None], folder: Path, place: Path
) -> dict[str, Any]:
    """Run a command in that trouble: its exit code, what it said on stderr, what it left in OUT."""
    place.mkdir()
    (out := place / "out").mkdir()
    arguments = [
        word.replace("GIVEN", str(folder)).replace("OUT", str(out)) for word in f"{name} {words}".split()
    ]
    result = place / "result.json"

    def work() -> None:
        said = io.StringIO()
        code: Any = 0
        # Opened before: who has given up rights could not.
        with result.open("w") as file:
            try:
                trouble(out)
            except system.NotHere as reason:
                json.dump({"not_here": str(reason)}, file)
                return
            with contextlib.redirect_stderr(said):
                try:
                    run(arguments)
                except SystemExit as stop:
                    code = stop.code
            left = sorted(str(path.relative_to(out)) for path in out.rglob("*"))
            json.dump({"code": code, "said": said.getvalue(), "left": left}, file)

    code = ended(child(work))
    text = result.read_text()
    return json.loads(text) if code == 0 and text else {"code": code, "said": "it did not end by itself"}


def main(folder: Path) -> dict[str, dict[str, Any]]:
    """Every command in every trouble that can befall it."""
    torch.set_num_threads(1)
    os.environ["TQDM_DISABLE"] = "1"
    for name in WARM:
        importlib.import_module(f"htc_lab.{name}")
    have = given(folder / "given")
    cases = [
        (kind, name, words, trouble)
        for kind, trouble in (("full disk", full_disk), ("closed folder", closed_folder))
        for name, (words, _) in (WRITERS | SCRIPTS).items()
    ]
    cases += [("little memory", name, words, little_memory) for name, words in HUNGRY.items()]
    cases.append(("full output", "data show", "--data GIVEN/scenes", output_that_is_full))
    found: dict[str, dict[str, Any]] = {}
    for number, (kind, name, words, trouble) in enumerate(cases):
        found.setdefault(kind, {})[name] = tried(name, words, trouble, have, folder / str(number))
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
