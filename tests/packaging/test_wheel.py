"""The built wheel, installed where nothing of the repository is on the path: it is complete and it works."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
DEPENDENCIES = sysconfig.get_paths()["purelib"]
BUILD = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=inherited, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, so that nothing is left in the tree."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "htc_lab", source / "htc_lab", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "dist").mkdir()
    built = run(sys.executable, "-c", BUILD, "dist", cwd=source).stdout.splitlines()[-1]
    return source / "dist" / built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    installer = [shutil.which("uv") or Path(sys.prefix) / "bin" / "uv", "pip", "install", "--python", python]
    run(*installer, "--offline", "--no-deps", wheel, cwd=folder)
    site = next((folder / "lib").glob("python*/site-packages"))
    # A folder on the path whose own .pth files, the editable install's among them, are not read.
    (site / "dependencies.pth").write_text(f"{DEPENDENCIES}\n")
    return folder / "bin"


def test_the_wheel_holds_what_the_package_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("htc_lab/")}
    listed = subprocess.run(
        ["git", "ls-files", "htc_lab"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        assert packed >= set(listed.stdout.splitlines())
    assert {"htc_lab/models/classroom/htc.safetensors", "htc_lab/web/explorer/explorer.js"} <= packed


def test_the_explorer_is_exported_by_the_installed_package(bare: Path, tmp_path: Path) -> None:
    where = run(bare / "python", "-c", "import htc_lab; print(htc_lab.__file__)", cwd=tmp_path).stdout
    assert str(bare.parent) in where
    assert "--html" in run(bare / "htc-lab", "explore", "--help", cwd=tmp_path).stdout
    Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), 30).convert("RGB").save(tmp_path / "picture.png")
    words = ["explore", "picture.png", "--checkpoint", "classroom/htc", "--html", "page.html"]
    run(bare / "htc-lab", *words, cwd=tmp_path)
    assert "<script" in (tmp_path / "page.html").read_text()
