"""Checks of installed packages. Each runs in a process of its own: a broken library may crash or hang."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from htc_lab.doctor.finding import INSTALL, Finding
from htc_lab.web.export import WEB, browser_files
from htc_lab.web.joiner import JoinError

_SECONDS = 180.0
"""Enough for a cold start of torch on a slow disk."""

_DRIVER = Path("/proc/driver/nvidia/version")

_TORCH = """
import torch, torchvision
from torchvision.ops import nms, roi_align
kept = nms(torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.], [20., 20., 30., 30.]]), torch.rand(3), 0.5)
pooled = roi_align(torch.ones(1, 1, 8, 8), torch.tensor([[0., 0., 0., 4., 4.]]), 2, aligned=True)
assert len(kept) == 2 and pooled.shape == (1, 1, 2, 2), "nms or roi_align gives nonsense"
gpu = None
if torch.cuda.is_available():
    size = torch.cuda.get_device_properties(0).total_memory / 2**30
    gpu = f"{torch.cuda.get_device_name(0)}, {size:.0f} GiB"
    assert float((torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda"))[0, 0]) == 64
say(torch=torch.__version__, torchvision=torchvision.__version__, cuda=torch.version.cuda, gpu=gpu,
    threads=torch.get_num_threads())
"""

_MMCV = """
import mmcv
from mmcv.cnn import ConvModule
full = False
try:
    import mmcv._ext
    full = True
except ImportError as error:
    reason = str(error)
ops = None
if full:
    try:
        from mmcv.ops import RoIAlign, nms
        ops = True
    except Exception as error:
        ops, reason = False, str(error)
say(version=mmcv.__version__, full=full, ops=ops, reason=reason if not full or ops is False else "")
"""

_OPENCV = "import cv2; say(version=cv2.__version__)"

_LAB = """
import json, os, sys
import jupyterlab, ipykernel
from jupyter_client.kernelspec import KernelSpecManager
spec = KernelSpecManager().get_kernel_spec("python3")
say(version=jupyterlab.__version__, python=spec.argv[0])
"""

_WIDGETS = """
import anywidget, ipywidgets
from jupyter_core.paths import jupyter_path
say(anywidget=anywidget.__version__, ipywidgets=ipywidgets.__version__, places=jupyter_path("labextensions"))
"""

_SAY = "import json, sys\ndef say(**found): print('FOUND ' + json.dumps(found), flush=True)\n"


def _probe(code: str) -> tuple[dict[str, Any] | None, str]:
    """What the code reports, or else the last line of its error."""
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _SAY + code],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {_SECONDS:.0f} s"
    for line in done.stdout.splitlines():
        if line.startswith("FOUND "):
            found: dict[str, Any] = json.loads(line[6:])
            return found, ""
    if done.returncode < 0:
        return None, f"the process was ended by signal {-done.returncode}"
    last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
    return None, " ".join((last or [f"exit code {done.returncode}"])[0].split())[:300]


def python() -> Finding:
    """The Python that runs this."""
    version = ".".join(map(str, sys.version_info[:3]))
    says = f"Python {version}, {sys.executable}"
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        return Finding(
            "Python", "wrong", f"{says}; the lab needs 3.11 to 3.14", "make install PYTHON=python3.12"
        )
    if sys.maxsize < 2**32:
        return Finding("Python", "wrong", f"{says} is of 32 bits; torch needs 64", "install a 64-bit Python")
    if "PYTHONPATH" in os.environ or "PYTHONHOME" in os.environ:
        return Finding(
            "Python",
            "warning",
            f"{says}; PYTHONPATH or PYTHONHOME is set, so other packages may stand in for the lab's",
            "unset PYTHONPATH PYTHONHOME",
        )
    return Finding("Python", "ok", says)


def torch() -> list[Finding]:
    """torch and torchvision together, with an operator of each run once; and the GPU that torch sees."""
    found, error = _probe(_TORCH)
    if found is None:
        says = f"torch {_version('torch')}, torchvision {_version('torchvision')}: {error}"
        return [
            Finding("torch", "wrong", says, INSTALL),
            Finding("GPU", "warning", "can't be checked without torch", "fix torch first"),
        ]
    says = f"torch {found['torch']}, torchvision {found['torchvision']}: operators run"
    tested = _range("torch")
    state = Finding("torch", "ok", says)
    if found["torch"].split("+")[0] not in tested:
        state = Finding("torch", "warning", f"{says}; the lab is tested with torch {tested}", INSTALL)
    return [state, _gpu(found)]


def _gpu(found: dict[str, Any]) -> Finding:
    if found["gpu"]:
        return Finding("GPU", "ok", f"{found['gpu']}, CUDA {found['cuda']}")
    if not _DRIVER.exists():
        return Finding("GPU", "ok", "none; everything runs on the CPU (--device cpu)")
    first = " ".join(_DRIVER.read_text(errors="replace").split("\n")[0].split()[-6:])
    if found["cuda"] is None:
        says, fix = f"there is an NVIDIA driver ({first}), but this torch is for CPUs", INSTALL
    else:
        says = f"there is an NVIDIA driver ({first}), but torch for CUDA {found['cuda']} can't use it"
        fix = "nvidia-smi (check that it lists the GPU; update the driver if its CUDA version is lower)"
    return Finding("GPU", "warning", says, fix)


def mmcv() -> Finding:
    """Whether mmcv is absent, lite or full, and whether the parts the lab uses can be imported."""
    found, error = _probe(_MMCV)
    if found is None:
        return Finding("mmcv", "wrong", error, INSTALL)
    if not found["full"]:
        return Finding("mmcv", "ok", f"{found['version']}, lite: all that the lab needs")
    if not found["ops"]:
        says = f"{found['version']}, full, but its operators can't be imported: {found['reason']}"
        return Finding("mmcv", "warning", says, f"uv pip uninstall mmcv; then {INSTALL}")
    return Finding("mmcv", "ok", f"{found['version']}, full: its operators can be imported")


def opencv() -> Finding:
    """Whether cv2 can be imported; the build with window support can't be if libGL is missing."""
    found, error = _probe(_OPENCV)
    kinds = [name for name in ("opencv-python", "opencv-python-headless") if _version(name) != "absent"]
    fix = f"uv pip uninstall opencv-python opencv-python-headless; then {INSTALL}"
    if found is None:
        hint = " (a window library is missing; the headless build needs none)" if "lib" in error else ""
        return Finding("opencv", "wrong", f"{error}{hint}", fix)
    if len(kinds) > 1:
        says = f"{found['version']}: {' and '.join(kinds)} overwrite each other's files"
        return Finding("opencv", "warning", says, fix)
    return Finding("opencv", "ok", f"{found['version']}, {' '.join(kinds) or 'of unknown origin'}")


def jupyterlab() -> Finding:
    """Whether it starts, and whether its kernel is the Python that has the lab."""
    found, error = _probe(_LAB)
    if found is None:
        return Finding("JupyterLab", "wrong", error, INSTALL)
    kernel = found["python"]
    own = kernel in ("python", "python3") or Path(kernel).absolute() == Path(sys.executable).absolute()
    if not own:
        says = f"{found['version']}, but its kernel python3 runs {kernel}, where the lab may be missing"
        fix = f"{sys.executable} -m ipykernel install --sys-prefix"
        return Finding("JupyterLab", "wrong", says, fix)
    return Finding("JupyterLab", "ok", str(found["version"]))


def widgets() -> Finding:
    """anywidget and its browser part, and the explorer's own files."""
    found, error = _probe(_WIDGETS)
    if found is None:
        return Finding("widgets", "wrong", error, INSTALL)
    says = f"anywidget {found['anywidget']}, ipywidgets {found['ipywidgets']}"
    for extension in ("anywidget", "@jupyter-widgets/jupyterlab-manager"):
        if not any((Path(place) / extension / "package.json").is_file() for place in found["places"]):
            return Finding("widgets", "wrong", f"{says}; JupyterLab has no {extension} extension", INSTALL)
    try:
        browser_files(WEB)
    except JoinError as error:
        return Finding("widgets", "wrong", str(error), "git checkout htc_lab/web")
    return Finding("widgets", "ok", says)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _range(name: str) -> SpecifierSet:
    """The versions the lab asks for; any where it isn't installed."""
    try:
        wanted = metadata.requires("htc-lab") or []
    except metadata.PackageNotFoundError:
        wanted = []
    asked = (Requirement(line) for line in wanted)
    return next((one.specifier for one in asked if one.name == name), SpecifierSet())
