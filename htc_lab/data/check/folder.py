"""A linter for data folders: reads everything once and reports every fault, not only the first."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from htc_lab.data.check.image import Finding, ImageJob, ImageResult, look_at
from htc_lab.data.check.maps import Inside, map_findings
from htc_lab.data.coco import (
    CocoData,
    Row,
    annotation_fault,
    category_fault,
    decode_mask,
    image_fault,
    nested_note,
    read_tree,
    table,
    with_flat_polygons,
)
from htc_lab.data.file_names import renamed_notes
from htc_lab.data.layout import Split, choose_jsons, find_images, map_folder, map_name, same_categories
from htc_lab.data.notices import (
    SOME,
    corner_notice,
    left_aside_notice,
    one_value_notice,
    picture_notices,
)
from htc_lab.errors import InputError
from htc_lab.wording import listed

_FEW = 200
"""Up to this number of images, starting worker processes costs more than it saves."""


@dataclass
class Report:
    """What the linter found.

    Attributes:
        root: the folder.
        class_names: class names of the first split.
        counts: split -> {"images", "empty_images", "objects", "crowds", "maps", "palette_maps"}.
        objects: split -> number of single objects of each class.
        findings: errors first.
        notes: what could not be checked, and why.
    """

    root: Path
    class_names: tuple[str, ...] = ()
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    objects: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def errors(self) -> int:
        """The number of findings that are errors."""
        return sum(finding.level == "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "root": str(self.root),
            "classes": list(self.class_names),
            "counts": self.counts,
            "objects": self.objects,
            "errors": self.errors,
            "warnings": len(self.findings) - self.errors,
            "findings": [vars(finding) for finding in self.findings],
            "notes": self.notes,
        }

    def as_text(self, examples: int = 3) -> str:
        """A table of counts, then the findings by kind, with up to ``examples`` examples of each."""
        splits = list(self.counts)
        width = max([16, *(len(name) for name in self.class_names)])
        lines = [f"{self.root}", " " * width + "".join(f"{name:>10}" for name in splits)]
        for key in next(iter(self.counts.values()), {}):
            cells = "".join(f"{self.counts[name][key]:>10}" for name in splits)
            lines.append(f"{key.replace('_', ' '):<{width}}{cells}")
        lines.append("objects by class")
        for name in self.class_names:
            cells = "".join(f"{self.objects[split].get(name, 0):>10}" for split in splits)
            lines.append(f"{name:<{width}}{cells}")
        groups: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault((finding.level, finding.code), []).append(finding)
        for (level, code), members in groups.items():
            lines.append(f"{level} {code}: {len(members)}")
            lines += [f"  {member.split}: {member.message}" for member in members[:examples]]
            if len(members) > examples:
                lines.append(f"  ... and {len(members) - examples} more")
        lines += [f"note: {note}" for note in self.notes]
        lines.append(f"{self.errors} errors, {len(self.findings) - self.errors} warnings")
        return "\n".join(lines)


def check_data(
    root: Path,
    *,
    splits: Sequence[str] = (),
    train_json: Path | None = None,
    val_json: Path | None = None,
    test_json: Path | None = None,
    images: Path | None = None,
    semantic: Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Report:
    """Check a whole data folder. A single JSON is treated as the split train.

    Args:
        root: the folder.
        splits: only these; by default all that have annotations.
        train_json, val_json, test_json, images, semantic: as for ``find_data``.
        workers: processes; 0 for none besides this one, None for one per core (none for few images).
        progress: show progress bars.

    Raises:
        InputError: there is no data to check: no folder, no annotation file, or a file that is not JSON.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; name the folder of a COCO-format data set")
    jsons = choose_jsons(root, train_json, val_json, test_json)
    for name in splits:
        if name not in jsons:
            raise InputError(f"{root}: has no split {name}; it has {', '.join(jsons)}")
    report = Report(root)
    found: list[Split] = []
    for name, path in jsons.items():
        if splits and name not in splits:
            continue
        coco = _read(path, name, report)
        report.class_names = report.class_names or coco.class_names
        if found:
            with _noted(report, name, "categories"):
                same_categories(found[0].coco, coco)
        _count(report, name, coco)
        with _noted(report, name, "images.folder"):
            if coco.images:
                folder, coco, renamed = find_images(root, name, coco, images, missing_ok=True)
                for note in renamed_notes([] if renamed is None else [renamed]):
                    message = note.removeprefix(f"{name}: ")
                    report.findings.append(Finding("warning", "images.file_name", name, message))
                found.append(Split(name, coco, folder, map_folder(root, name, coco, semantic)))
    results, inside = _look(found, workers, progress)
    for result in results:
        report.findings += result.findings
    for split in found:
        own = [result for result in results if result.split == split.name]
        report.counts[split.name]["maps"] = sum(result.values is not None for result in own)
        report.counts[split.name]["palette_maps"] = sum(result.palette for result in own)
    report.findings += _leaks(results)
    report.findings += _notices(root, found, results)
    said, notes = map_findings(root, found, results, inside)
    report.findings += said
    report.notes += notes
    report.findings.sort(key=lambda finding: finding.level != "error")
    return report


@contextmanager
def _noted(report: Report, split: str, code: str) -> Iterator[None]:
    """Turn an InputError raised inside into a finding."""
    try:
        yield
    except InputError as error:
        report.findings.append(Finding("error", code, split, str(error)))


def _read(path: Path, split: str, report: Report) -> CocoData:
    """The valid entries of an annotation file; the others become findings."""
    tree = read_tree(path)

    def sound(key: str, row: Row, i: int, fault: str | None) -> bool:
        if fault:
            field_name = fault[1:].partition(":")[0].partition(".")[0].partition("[")[0]
            message = f"{path}: {key}[{i}] (id {row.get('id')}){fault}"
            report.findings.append(Finding("error", f"{key}.{field_name}", split, message))
        return not fault

    seen: set[int] = set()
    categories = []
    for i, row in enumerate(table(path, tree, "categories")):
        if sound("categories", row, i, category_fault(row, seen)):
            seen.add(row["id"])
            categories.append(row)
    categories.sort(key=lambda row: row["id"])
    for name, count in Counter(row["name"] for row in categories).items():
        if count > 1:
            message = f"{path}: {count} categories are named {name!r}; give each its own name"
            report.findings.append(Finding("warning", "categories.name", split, message))
    by_image: dict[int, list[Row]] = {}
    images = []
    for i, row in enumerate(table(path, tree, "images")):
        if sound("images", row, i, image_fault(row, set(by_image))):
            by_image[row["id"]] = []
            images.append(row)
    sizes = {row["id"]: (row["height"], row["width"]) for row in images}
    annotation_ids: set[int] = set()
    nested = 0
    for i, row in enumerate(table(path, tree, "annotations")):
        row, changed = with_flat_polygons(row)
        nested += changed
        if sound("annotations", row, i, annotation_fault(row, sizes, seen, annotation_ids)):
            annotation_ids.add(row["id"])
            row = {"iscrowd": 0} | row
            row.setdefault("area", int(decode_mask(row, *sizes[row["image_id"]]).sum()))
            by_image[row["image_id"]].append(row)
    if nested:
        finding = Finding("warning", "annotations.segmentation", split, nested_note(path, nested))
        report.findings.append(finding)
    names = tuple(row["name"] for row in categories)
    return CocoData(path, images, by_image, categories, names, {c["id"]: k for k, c in enumerate(categories)})


def _count(report: Report, split: str, coco: CocoData) -> None:
    rows = [row for rows in coco.annotations_by_image.values() for row in rows]
    single = Counter(row["category_id"] for row in rows if not row["iscrowd"])
    report.counts[split] = {
        "images": len(coco.images),
        "empty_images": sum(not members for members in coco.annotations_by_image.values()),
        "objects": single.total(),
        "crowds": len(rows) - single.total(),
        "maps": 0,
        "palette_maps": 0,
    }
    names = {row["id"]: row["name"] for row in coco.categories}
    report.objects[split] = {name: single[i] for i, name in names.items()}
    empty = [name for i, name in names.items() if not single[i]]
    if empty:
        shown = ", ".join(empty[:8]) + (", ..." if len(empty) > 8 else "")
        message = f"{coco.path}: {len(empty)} of {len(names)} classes have no single object: {shown}"
        report.findings.append(Finding("warning", "class-empty", split, message))
    for file_name, count in Counter(row["file_name"] for row in coco.images).items():
        if count > 1:
            message = f"{coco.path}: {count} image entries name the file {file_name}; keep one"
            report.findings.append(Finding("error", "images.file_name", split, message))


def _look(
    splits: list[Split], workers: int | None, progress: bool
) -> tuple[list[ImageResult], dict[str, Inside]]:
    """Every image, and for each split the totals of what its maps show inside the objects of each class."""
    jobs = [
        ImageJob(
            split.name,
            image,
            split.coco.annotations_by_image[image["id"]],
            split.images / image["file_name"],
            split.semantic / map_name(image["file_name"]) if split.semantic else None,
        )
        for split in splits
        for image in split.coco.images
    ]
    results = []
    inside: dict[str, Inside] = {split.name: {} for split in splits}
    for result in tqdm(
        _each(jobs, workers), total=len(jobs), desc="checking", unit="image", disable=not progress
    ):
        sums = inside[result.split]
        for category, counts in result.inside.items():
            sums[category] = sums[category] + counts if category in sums else counts
        # For COCO, one histogram for each class of each image would fill the memory.
        result.inside = {}
        results.append(result)
    return results, inside


def _each(jobs: list[ImageJob], workers: int | None) -> Iterator[ImageResult]:
    if workers == 0 or (workers is None and len(jobs) <= _FEW):
        yield from map(look_at, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(look_at, jobs, chunksize=16)


def _notices(root: Path, splits: list[Split], results: list[ImageResult]) -> list[Finding]:
    """What is no fault of a single image."""
    own = {split.name: [r for r in results if r.split == split.name] for split in splits}
    facts = {name: [r.facts for r in part if r.digest] for name, part in own.items()}
    said = [*picture_notices(facts), corner_notice(splits, SOME)]
    for split in splits:
        if split.name == "train" and split.semantic is not None:
            said.append(one_value_notice(split.semantic, (r.values or b"" for r in own["train"])))
    if splits and splits[0].name == "train" and not any(split.semantic for split in splits):
        said.append(left_aside_notice(root, splits))
    return [Finding("warning", n.code, listed(n.splits), n.message) for n in said if n is not None]


def _leaks(results: list[ImageResult]) -> list[Finding]:
    """The same picture twice: an error between splits, a warning within one."""
    first: dict[str, ImageResult] = {}
    findings = []
    for result in results:
        for key in (result.digest, str(result.path.resolve())):
            other = first.setdefault(key, result) if key else result
            if other is not result:
                within = other.split == result.split
                what = "is the same picture as" if key == result.digest else "is the same file as"
                message = f"{result.path} {what} {other.path} of {other.split}"
                level, code = ("warning", "twice") if within else ("error", "leak")
                findings.append(Finding(level, code, result.split, message))
                break
    return findings
