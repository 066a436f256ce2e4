"""Checks of the machine: disk, memory, threads, browser, folders that must be writable."""

import os
import shutil
import tempfile
from pathlib import Path

from htc_lab.doctor.finding import Finding
from htc_lab.toggles import BESIDE_THE_LADDER, RUNGS

_GIB = 2**30
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MODELS = ("base", *RUNGS, *BESIDE_THE_LADDER)
_SHIPPED = Path(__file__).resolve().parents[1] / "models" / "classroom"
_MEMINFO, _GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def disk(root: Path, free: int | None = None) -> Finding:
    """Space for runs and pictures.

    Args:
        root: a folder on the disk.
        free: bytes, instead of what the system reports.
    """
    free = shutil.disk_usage(root).free if free is None else free
    says, fix = (
        f"{free / _GIB:.1f} GiB free at {root.resolve()}",
        f"df -h {root.resolve()}; then delete old files",
    )
    if free < 0.25 * _GIB:
        return Finding("disk", "wrong", f"{says}; a training needs 0.25", fix)
    if free < 2 * _GIB:
        return Finding("disk", "warning", f"{says}; an ablation with its runs takes up to 2", fix)
    return Finding("disk", "ok", says)


def memory(available: int | None = None) -> Finding:
    """Free memory, also under a container's limit.

    Args:
        available: bytes, instead of what the system reports.
    """
    available = _available() if available is None else available
    if available is None:
        return Finding("memory", "ok", "this system does not report how much is free")
    says, fix = f"{available / _GIB:.1f} GiB free", "close other notebooks (Running Terminals and Kernels)"
    if available < 1 * _GIB:
        return Finding("memory", "wrong", f"{says}; a notebook needs 1", fix)
    if available < 2.5 * _GIB:
        return Finding("memory", "warning", f"{says}; training beside an open notebook needs 2.5", fix)
    return Finding("memory", "ok", says)


def _available() -> int | None:
    found = []
    try:
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(1024 * int(line.split()[1]))
        limit = (_GROUP / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            found.append(int(limit) - int((_GROUP / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):
        pass
    return min(found) if found else None


def threads() -> Finding:
    """OMP_NUM_THREADS compared with the cores this process may use, and whether these are busy."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    says = f"{cores} cores, OMP_NUM_THREADS {asked or 'unset'}"
    if asked and not asked.isdigit():
        return Finding("threads", "warning", f"{says}, which is not a number", "unset OMP_NUM_THREADS")
    if asked and int(asked) > cores:
        return Finding("threads", "warning", f"{says}: threads wait for each other", "unset OMP_NUM_THREADS")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if not asked and cores > 1 and load > cores:
        says = f"{says}, but others keep {load:.1f} busy: everything will be slower"
        return Finding("threads", "warning", says, "close other programs (top lists them)")
    return Finding("threads", "ok", says)


def browser() -> Finding:
    """Chromium, which only the tests need."""
    for name in _BROWSERS:
        found = shutil.which(name)
        if found:
            return Finding("browser for tests", "ok", found)
    return Finding(
        "browser for tests",
        "warning",
        "no Chromium on the PATH: make test needs one, the lab does not",
        "sudo apt install chromium (Fedora: dnf install chromium; macOS: brew install --cask chromium)",
    )


def folder(root: Path, name: str) -> Finding:
    """Whether a file can be written into ``root/name``, or the folder can be created."""
    place = root / name
    what = f"{name}/"
    if place.exists() and not place.is_dir():
        return Finding(what, "wrong", f"{place.resolve()} is a file, not a folder", f"mv {place} {place}.old")
    existing = place if place.is_dir() else root
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        says = f"{existing.resolve()} can't be written ({error.strerror})"
        return Finding(what, "wrong", says, f"sudo chown -R $(id -un) {existing.resolve()}")
    return Finding(what, "ok", f"{place.resolve()} can be {'written' if place.is_dir() else 'created'}")


def models() -> Finding:
    """The classroom models that come with the lab."""
    whole = {path.stem for path in _SHIPPED.glob("*.safetensors") if path.stat().st_size > 100_000}
    missing = [name for name in _MODELS if name not in whole]
    if missing:
        says = f"{', '.join(missing)} missing in {_SHIPPED}, or incomplete"
        return Finding(
            "classroom models", "wrong", says, "git checkout htc_lab/models (or unpack the lab again)"
        )
    return Finding("classroom models", "ok", f"{len(whole)} files")
