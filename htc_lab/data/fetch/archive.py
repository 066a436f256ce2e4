"""Unpacking untrusted archives: nothing leaves its folder, and a folder appears whole or not at all."""

import errno
import os
import shutil
import stat
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm.auto import tqdm

from htc_lab.data.fetch.verify import require_room
from htc_lab.errors import InputError

_CHUNK = 1 << 20
# Pictures hardly shrink, and annotation files shrink at most tenfold; a factor of hundreds means a zip bomb.
_MOST_GROWTH = 100
_CLUSTER = 4096


def unpack(archive: Path, folders: dict[str, Path], progress: bool = True) -> dict[str, int]:
    """Unpack folders of a zip archive.

    Each is written under a temporary name and renamed once all of them are complete and every file's CRC was
    right. A folder that already exists gets the files it lacks, and keeps its own.

    Args:
        archive: the zip file.
        folders: name of a folder in the archive (at any depth) -> the folder to create from it.
        progress: show a progress bar.

    Returns:
        The number of files in the archive for each name.

    Raises:
        InputError: it is not a zip archive, is damaged or unsafe (a path that leaves its folder, a link, a
            password, far larger than it claims), lacks one of the folders, or there is no space; names the
            archive and the entry.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(archive, opened, folders)
            _enough_room(archive, opened, members, next(iter(folders.values())))
            return _unpack(opened, members, folders, f"unpacking {archive.name}", progress)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(f"{archive}: is damaged ({error}); delete it and download it again") from None
    except FileNotFoundError:
        raise InputError(f"{archive}: no such archive; download it again") from None
    except OSError as error:
        # If the beginning of an archive is lost, its entries lie before the file's first byte.
        if error.errno == errno.EINVAL:
            raise InputError(f"{archive}: is damaged; delete it and download it again") from None
        raise InputError(
            f"{archive}: cannot be unpacked ({error.strerror or error}); free space, or choose another folder"
        ) from None


def _members(
    archive: Path, opened: zipfile.ZipFile, folders: dict[str, Path]
) -> dict[str, list[tuple[zipfile.ZipInfo, PurePosixPath]]]:
    """Entries of each folder with their paths inside it; every entry of the archive is checked."""
    found: dict[str, list[tuple[zipfile.ZipInfo, PurePosixPath]]] = {name: [] for name in folders}
    seen: set[str] = set()
    for entry in opened.infolist():
        fault = _entry_fault(entry)
        if not fault and entry.filename in seen:
            fault = "occurs twice"
        if fault:
            raise InputError(
                f"{archive}: entry {entry.filename!r:.120} {fault}; nothing was unpacked: get another copy"
            )
        seen.add(entry.filename)
        parts = PurePosixPath(entry.filename).parts
        # __MACOSX holds a Mac archiver's metadata, under the names of the files.
        if entry.is_dir() or "__MACOSX" in parts:
            continue
        for name in folders:
            if name in parts[:-1]:
                found[name].append((entry, PurePosixPath(*parts[parts.index(name) + 1 :])))
    for name, entries in found.items():
        if not entries:
            raise InputError(f"{archive}: holds no folder {name} with files; is it the right archive?")
        if len({inside for _, inside in entries}) < len(entries):
            raise InputError(f"{archive}: holds several folders {name}; is it the right archive?")
    return found


def _entry_fault(entry: zipfile.ZipInfo) -> str | None:
    name = entry.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name or not name:
        return "leaves the folder it is unpacked into"
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device, not a file"
    if entry.flag_bits & 1:
        return "needs a password"
    return None


def _enough_room(
    archive: Path,
    opened: zipfile.ZipFile,
    members: dict[str, list[tuple[zipfile.ZipInfo, PurePosixPath]]],
    folder: Path,
) -> None:
    size = sum(entry.file_size for entries in members.values() for entry, _ in entries)
    count = sum(map(len, members.values()))
    packed = archive.stat().st_size
    if size > _MOST_GROWTH * packed:
        raise InputError(
            f"{archive}: its {packed} bytes claim to hold {size}; nothing was unpacked: get another copy"
        )
    require_room(folder, size + count * _CLUSTER / 2, f"unpacking {archive.name}")


def _unpack(
    opened: zipfile.ZipFile,
    members: dict[str, list[tuple[zipfile.ZipInfo, PurePosixPath]]],
    folders: dict[str, Path],
    title: str,
    progress: bool,
) -> dict[str, int]:
    beside = {name: folder.with_name(f".{folder.name}.unpacking") for name, folder in folders.items()}
    size = sum(entry.file_size for entries in members.values() for entry, _ in entries)
    fresh = {folder.parent for folder in folders.values() if not folder.parent.exists()}
    try:
        with tqdm(total=size, desc=title, unit="B", unit_scale=True, disable=not progress) as bar:
            for name, entries in members.items():
                shutil.rmtree(beside[name], ignore_errors=True)
                for entry, inside in entries:
                    _write(opened, entry, beside[name] / inside, bar)
        for name, folder in folders.items():
            _put(beside[name], folder)
    finally:
        for place in beside.values():
            shutil.rmtree(place, ignore_errors=True)
        for parent in fresh:
            # Fails, as it should, if anything was put into it.
            with suppress(OSError):
                parent.rmdir()
    return {name: len(entries) for name, entries in members.items()}


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, bar: "tqdm[Any]") -> None:
    """Write one file; the reader checks its CRC at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with opened.open(entry) as source, path.open("xb") as target:
        while block := source.read(_CHUNK):
            written += len(block)
            if written > entry.file_size:
                raise zipfile.BadZipFile(f"{entry.filename} is longer than its {entry.file_size} bytes")
            target.write(block)
            bar.update(len(block))
    if written != entry.file_size:
        raise zipfile.BadZipFile(f"{entry.filename} has {written} bytes, not {entry.file_size}")


def _put(made: Path, folder: Path) -> None:
    """Move the finished folder into place; into an existing folder, file by file."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.replace(made, folder)
        return
    for source in sorted(made.rglob("*")):
        target = folder / source.relative_to(made)
        if source.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
