"""The doctor before faults that are really there: broken packages on the path, read-only and full places."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from htc_lab.cli import main
from htc_lab.doctor import machine, packages
from htc_lab.doctor.finding import Finding
from htc_lab.toggles import BESIDE_THE_LADDER, RUNGS
from htc_lab.web.export import EXPLORER_STYLES, WEB

ROOT = Path(__file__).parents[2]


def broken(folder: Path, **modules: str) -> Path:
    """A folder that, on PYTHONPATH, puts these modules before the installed ones."""
    for name, text in modules.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts broken modules before the installed ones, for the processes that the doctor starts."""

    def put(**modules: str) -> None:
        monkeypatch.setenv("PYTHONPATH", str(broken(tmp_path / "broken", **modules)))

    return put


def assert_ill(finding: Finding, says: str, state: str = "wrong") -> None:
    assert finding.state == state, finding
    assert says in finding.says
    assert finding.fix
    assert len(str(finding).splitlines()) == 1


def test_a_sound_installation_has_nothing_wrong(tmp_path: Path) -> None:
    """The one these tests run in, looked at as a person does."""
    done = subprocess.run(
        [sys.executable, "-m", "htc_lab", "doctor", "--root", str(tmp_path), "--json"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    found = json.loads(done.stdout)
    by_name = {finding["name"]: finding for finding in found["findings"]}
    packaged = ("Python", "torch", "mmcv", "opencv", "JupyterLab", "widgets", "classroom models")
    for name in (*packaged, "data/", "runs/"):
        assert by_name[name]["state"] != "wrong", by_name[name]
    assert done.returncode == (found["wrong"] > 0)
    assert list(tmp_path.iterdir()) == []


def test_it_speaks_where_nothing_can_be_imported(tmp_path: Path) -> None:
    """torch, numpy, tyro and mmcv all broken: the doctor starts all the same and says so."""
    crash = "raise ImportError('libGL.so.1: cannot open shared object file')"
    names = ("torch", "numpy", "tyro", "mmcv", "cv2", "anywidget", "jupyterlab")
    folder = broken(tmp_path, **dict.fromkeys(names, crash))
    done = subprocess.run(
        [sys.executable, "-m", "htc_lab.doctor"],
        capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    wrong = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("wrong")]
    assert {"torch:", "mmcv:", "opencv:", "JupyterLab:", "widgets:"} <= set(wrong)


def test_a_pair_that_does_not_fit_is_wrong_for_its_operators(before) -> None:
    """As torchvision fails when its compiled part was made for another torch."""
    before(torch="", torchvision="raise RuntimeError('operator torchvision::nms does not exist')")
    pair, gpu = packages.torch()
    assert_ill(pair, "operator torchvision::nms does not exist")
    assert "make install" in pair.fix
    assert gpu.name == "GPU"


def test_a_library_that_crashes_is_told_from_one_that_is_missing(before) -> None:
    before(torch="import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert_ill(packages.torch()[0], "ended by signal 11")


def test_the_flavours_of_mmcv(before) -> None:
    lite = "__version__ = '2.2.0'\n__path__ = []\n"
    head = "import sys, types\nsys.modules['mmcv.cnn'] = cnn = types.ModuleType('cnn')\ncnn.ConvModule = 1\n"
    before(mmcv=lite + head)
    assert packages.mmcv().state == "ok"
    assert "lite" in packages.mmcv().says
    full = head + "sys.modules['mmcv._ext'] = types.ModuleType('_ext')\n"
    before(mmcv=lite + full)
    assert_ill(packages.mmcv(), "its operators can't be imported", "warning")
    ops = "sys.modules['mmcv.ops'] = o = types.ModuleType('ops')\no.RoIAlign = o.nms = 1\n"
    before(mmcv=lite + full + ops)
    assert packages.mmcv().state == "ok"
    assert "full" in packages.mmcv().says
    before(mmcv="raise ModuleNotFoundError(\"No module named 'mmengine'\")")
    assert_ill(packages.mmcv(), "No module named 'mmengine'")


def test_opencv_without_libgl(before) -> None:
    before(cv2="raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')")
    assert_ill(packages.opencv(), "libGL.so.1")
    assert "opencv-python-headless" in packages.opencv().fix


def test_a_kernel_of_another_python(before, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before(jupyterlab="__version__ = '4.5'", ipykernel="")
    rival = tmp_path / "kernels" / "python3"
    rival.mkdir(parents=True)
    spec = {"argv": ["/opt/other/python", "-m", "ipykernel"], "display_name": "rival", "language": "python"}
    (rival / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    assert_ill(packages.jupyterlab(), "/opt/other/python")


def test_a_front_end_that_is_missing(before, tmp_path: Path) -> None:
    where = f"def jupyter_path(*names): return [{str(tmp_path)!r}]"
    path = tmp_path / "broken" / "jupyter_core" / "paths.py"
    path.parent.mkdir(parents=True)
    path.write_text(where)
    (path.parent / "__init__.py").write_text("")
    before(anywidget="__version__ = '0.9'", ipywidgets="__version__ = '8.1'")
    assert_ill(packages.widgets(), "no anywidget extension")


def test_a_foreign_path_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert_ill(packages.python(), "PYTHONPATH", "warning")
    monkeypatch.delenv("PYTHONPATH")
    assert packages.python().state == "ok"


@pytest.mark.parametrize(
    ("version", "most", "says"),
    [
        ((3, 10, 4), 2**63 - 1, "needs 3.11 to 3.14"),
        ((3, 15, 0), 2**63 - 1, "needs"),
        ((3, 12, 1), 2**31 - 1, "32 bits"),
    ],
)
def test_a_python_the_lab_is_not_for(
    version: tuple[int, ...], most: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(packages.sys, "version_info", version)
    monkeypatch.setattr(packages.sys, "maxsize", most)
    assert_ill(packages.python(), says)


TORCH = {"torch": "2.11.0", "torchvision": "0.26.0", "cuda": None, "gpu": None, "threads": 2}


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch):
    """Sets what a process that imports a package says."""

    def put(**found: object) -> None:
        monkeypatch.setattr(packages, "_probe", lambda _: (found, ""))

    return put


def test_a_torch_the_lab_is_not_tried_with(probed) -> None:
    probed(**TORCH)
    assert packages.torch()[0].state == "ok"
    probed(**TORCH | {"torch": "2.11.0+cpu"})
    assert packages.torch()[0].state == "ok"
    for other in ("2.4.1", "2.12.0"):
        probed(**TORCH | {"torch": other})
        assert_ill(packages.torch()[0], "tested with torch <2.12,>=2.8", "warning")


def test_a_driver_that_torch_does_not_use(probed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "version"
    monkeypatch.setattr(packages, "_DRIVER", driver)
    probed(**TORCH)
    assert packages.torch()[1].state == "ok"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54  Tue Feb  6 2024\nGCC version:")
    assert_ill(packages.torch()[1], "but this torch is for CPUs", "warning")
    assert "550.54" in packages.torch()[1].says
    probed(**TORCH | {"cuda": "12.8"})
    assert_ill(packages.torch()[1], "torch for CUDA 12.8 can't use it", "warning")
    assert "nvidia-smi" in packages.torch()[1].fix
    probed(**TORCH | {"cuda": "12.8", "gpu": "A GPU, 80 GiB"})
    assert packages.torch()[1].state == "ok"


def test_a_package_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_SECONDS", 0.2)
    monkeypatch.setattr(packages, "_OPENCV", "import time; time.sleep(60)")
    assert_ill(packages.opencv(), "no answer within")


def test_two_builds_of_opencv(probed, monkeypatch: pytest.MonkeyPatch) -> None:
    probed(version="4.13.0")
    assert packages.opencv().state == "ok"
    monkeypatch.setattr(packages, "_version", lambda name: "4.13.0")
    assert_ill(packages.opencv(), "overwrite each other's files", "warning")


def test_a_jupyterlab_that_does_not_start(before) -> None:
    before(jupyterlab="raise ImportError('No module named jupyter_server')")
    assert_ill(packages.jupyterlab(), "No module named jupyter_server")


def test_files_of_the_lab_that_are_missing(probed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("anywidget", "@jupyter-widgets/jupyterlab-manager"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "package.json").touch()
    probed(anywidget="0.9", ipywidgets="8.1", places=[str(tmp_path)])
    assert packages.widgets().state == "ok"
    shutil.copytree(WEB, tmp_path / "web")
    monkeypatch.setattr(packages, "WEB", tmp_path / "web")
    assert packages.widgets().state == "ok"
    for name in (EXPLORER_STYLES[0], "explorer/masks.js"):
        part = tmp_path / "web" / name
        part.unlink()
        assert_ill(packages.widgets(), f"{part} is missing")
    for name in ("base", *RUNGS, *BESIDE_THE_LADDER):
        (tmp_path / f"{name}.safetensors").write_bytes(bytes(200_000))
    monkeypatch.setattr(machine, "_SHIPPED", tmp_path)
    assert machine.models().state == "ok"
    # As a clone without large files has it.
    (tmp_path / "htc.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    assert_ill(machine.models(), "htc missing in")


def test_a_container_has_less_memory_than_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 8388608 kB\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory().says == "8.0 GiB free"
    (tmp_path / "memory.max").write_text(str(2**30))
    (tmp_path / "memory.current").write_text(str(2**29))
    assert_ill(machine.memory(), "0.5 GiB free; a notebook needs 1")


def test_a_machine_that_others_keep_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (7.5, 0.0, 0.0), raising=False)
    assert_ill(machine.threads(), "others keep 7.5 busy", "warning")


def test_room_and_memory(tmp_path: Path) -> None:
    assert machine.disk(tmp_path, 2**40).state == "ok"
    assert_ill(machine.disk(tmp_path, 2**30), "1.0 GiB free", "warning")
    assert_ill(machine.disk(tmp_path, 2**20), "a training needs")
    assert machine.memory(2**33).state == "ok"
    assert_ill(machine.memory(2**31), "2.0 GiB", "warning")
    assert_ill(machine.memory(2**28), "a notebook needs")
    assert machine.memory().name == "memory"


@pytest.mark.parametrize(
    ("asked", "state"), [("1", "ok"), ("9999", "warning"), ("many", "warning"), ("1,1", "ok")]
)
def test_threads_against_cores(asked: str, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert machine.threads().state == state


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    assert machine.folder(tmp_path, "data").state == "ok"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").write_text("a file")
    assert_ill(machine.folder(tmp_path, "runs"), "is a file")
    assert_ill(machine.folder(Path("/proc/self"), "data"), "can't be written")


def test_no_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_ill(machine.browser(), "no Chromium", "warning")
    chromium = tmp_path / "chromium"
    chromium.write_text("#!/bin/sh\n")
    chromium.chmod(0o755)
    assert machine.browser().state == "ok"


def test_something_wrong_is_exit_code_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though all packages are well, which takes seconds to find out and is not looked at here."""
    well = Finding("package", "ok", "")
    for name in ("mmcv", "opencv", "jupyterlab", "widgets"):
        monkeypatch.setattr(packages, name, lambda: well)
    monkeypatch.setattr(packages, "torch", lambda: [well])
    for name in ("memory", "models"):
        monkeypatch.setattr(machine, name, lambda: well)
    monkeypatch.setattr(machine, "disk", lambda _: well)
    monkeypatch.chdir(tmp_path)
    main(["doctor"])
    assert " 0 wrong" in capsys.readouterr().out
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(SystemExit) as stop:
        main(["doctor"])
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert "wrong    runs/: " in out
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--root", "nowhere"])
    assert stop.value.code == 2


def test_the_bug_report_asks_for_it() -> None:
    template = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug_report.md").read_text(encoding="utf-8")
    assert "htc-lab doctor" in template
