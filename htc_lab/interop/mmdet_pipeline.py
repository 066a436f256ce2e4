"""The pipelines of an mmdet config: how pictures are sized, flipped and coloured, as an :class:`ImageConfig`.

The steps have two spellings, ``Resize(img_scale=...)`` of mmdet 1 and 2 and ``Resize(scale=...)`` of mmdet 3;
both are read here.
"""

import dataclasses
from typing import Any

from htc_lab.config import ImageConfig
from htc_lab.data.image_config import ColourConfig
from htc_lab.interop.fields import Fields

# Steps that bring the data into the form a network takes, which here nobody configures.
_FORMS = ("PackDetInputs", "DefaultFormatBundle", "Collect", "ImageToTensor", "LoadAnnotations")
_RESIZES = ("Resize", "RandomResize", "RandomChoiceResize")
_DIRECTIONS = {"horizontal": "flip", "vertical": "flip_vertical", "diagonal": "flip_both"}
_LONGEST_SIDE = 100_000
_MOST_SIZES = 10_000


def image_sizes(fields: Fields, old: bool) -> ImageConfig:
    """Sizes, flips and colours of the pipelines; mean, standard deviation and padding are the model's.

    Args:
        fields: of a whole config.
        old: whether the steps are those of mmdet 1 or 2, whose defaults are others.
    """
    image = ImageConfig()
    train, test = _pipeline(fields, "train_dataloader"), _pipeline(fields, "test_dataloader")
    if test is None:
        test = _pipeline(fields, "val_dataloader")
    if train is None:
        kept = f"is absent: trained at {image.train_short[0]} to {image.train_long} px, this lab's default"
        fields.tell("train_dataloader", kept)
    else:
        image = _Steps(fields, train, old).training(image)
    if test is None:
        fields.tell(
            "test_dataloader", f"is absent: tested at {image.short} to {image.long} px, this lab's default"
        )
    else:
        image = _Steps(fields, test, old).testing(image)
    return image


def data_set(fields: Fields, loader: str) -> tuple[str, int]:
    """The path of the data set itself, and how often an epoch goes over it."""
    at, times = f"{loader}.dataset", 1
    while fields.has(f"{at}.dataset"):
        if fields.get(f"{at}.type", None) == "RepeatDataset":
            times *= fields.integer(f"{at}.times")
        else:
            fields.cannot(f"{at}.type", "RepeatDataset around a data set, or nothing")
        at = f"{at}.dataset"
    return at, times


def _pipeline(fields: Fields, loader: str) -> str | None:
    if not fields.has(f"{loader}.dataset"):
        return None
    at = data_set(fields, loader)[0]
    if fields.length(at) or fields.has(f"{at}.datasets"):
        fields.cannot(at, "one data set: join the annotation files into one")
        return None
    if not fields.length(f"{at}.pipeline"):
        raise fields.wrong(f"{at}.pipeline", "a list of steps")
    return f"{at}.pipeline"


class _Steps:
    """A pipeline, read step by step."""

    def __init__(self, fields: Fields, at: str, old: bool) -> None:
        self.fields, self.at, self.old = fields, at, old
        self.scale = "img_scale" if old else "scale"
        self.resized = False
        self.flips = 0

    def _each(self) -> list[tuple[str, str]]:
        """Where each step is, and its type."""
        paths = [f"{self.at}.{i}" for i in range(self.fields.length(self.at))]
        return [(path, self.fields.text(f"{path}.type")) for path in paths]

    def training(self, image: ImageConfig) -> ImageConfig:
        image = dataclasses.replace(image, flip=0.0)
        for at, kind in self._each():
            if kind in _RESIZES:
                image = dataclasses.replace(image, **self._train_sizes(at, kind))
            elif kind == "RandomFlip":
                image = self._flipped(image, at)
            elif kind == "PhotoMetricDistortion":
                image = dataclasses.replace(image, colour=self._colours(at))
            else:
                self._other(at, kind, "resizing, flipping and PhotoMetricDistortion")
        self._end()
        return image

    def testing(self, image: ImageConfig) -> ImageConfig:
        for at, kind in self._each():
            if kind == "Resize":
                long, short = self._test_size(at)
                image = dataclasses.replace(image, short=short, long=long)
            elif kind == "MultiScaleFlipAug":
                inner = _Steps(self.fields, f"{at}.transforms", self.old)
                image = inner.augmented(image, at)
                self.resized = inner.resized
            else:
                self._other(at, kind, "resizing")
        self._end()
        return image

    def augmented(self, image: ImageConfig, at: str) -> ImageConfig:
        """mmdet 2's test pipeline: the steps for one size or several, with or without flips."""
        fields = self.fields
        if fields.get(f"{at}.flip", False):
            fields.tell(f"{at}.flip", "is not followed: pictures are not flipped at test time here")
        fields.skip(f"{at}.flip_direction")
        scales = f"{at}.img_scale"
        if fields.length(scales) == 1:
            scales = f"{scales}.0"
        elif fields.length(scales) and fields.length(f"{scales}.0"):
            fields.tell(scales, "is taken for the first size alone: results at several are not averaged here")
            fields.skip(scales)
            scales = f"{scales}.0"
        for inner, kind in self._each():
            if kind == "Resize":
                self._keeps_ratio(inner)
                self._one_resize(inner)
                long, short = self._scale(scales)
                image = dataclasses.replace(image, short=short, long=long)
            elif kind == "RandomFlip":
                # It flips only what the step around it asks for.
                fields.skip(inner)
            else:
                self._other(inner, kind, "resizing")
        return image

    def _end(self) -> None:
        if not self.resized:
            self.fields.cannot(
                self.at, "no Resize in it, and pictures are not used at the size they have here; add a Resize"
            )
        self.fields.note_unread(self.at)

    def _other(self, at: str, kind: str, possible: str) -> None:
        """A step that leaves size, flips and colours alone, or can't be expressed."""
        fields = self.fields
        if kind in _FORMS:
            fields.skip(at)
        elif kind == "LoadImageFromFile":
            fields.expect(f"{at}.color_type", "color")
            fields.expect(f"{at}.channel_order", "bgr")
            fields.skip(*(f"{at}.{name}" for name in ("to_float32", "ignore_empty", "imdecode_backend")))
            fields.skip(f"{at}.backend_args", f"{at}.file_client_args")
        elif self.old and kind == "Normalize":
            fields.skip(at)
        elif self.old and kind == "Pad":
            fields.expect(f"{at}.pad_val", 0, {"img": 0, "masks": 0, "seg": 255})
            fields.skip(f"{at}.size_divisor")
        elif self.old and kind == "SegRescale":
            fields.skip(f"{at}.scale_factor")
        else:
            fields.cannot(at, f"only {possible}")

    # ---- sizes

    def _keeps_ratio(self, at: str) -> None:
        self.fields.expect(f"{at}.keep_ratio", True, default=self.old)
        for name, usual in (("bbox_clip_border", True), ("clip_object_border", True), ("backend", "cv2")):
            self.fields.expect(f"{at}.{name}", usual)
        self.fields.expect(f"{at}.interpolation", "bilinear")

    def _one_resize(self, at: str) -> None:
        if self.resized:
            self.fields.cannot(at, "one step that resizes")
        self.resized = True

    def _scale(self, path: str) -> tuple[int, int]:
        """Long and short side."""
        value = self.fields.get(path)
        # mmcv takes one number for a square.
        sides = [value, value] if type(value) is int else sorted(self.fields.numbers(path, 2))
        if not 1 <= sides[0] <= sides[1] <= _LONGEST_SIDE:
            raise self.fields.wrong(path, f"a long and a short side of 1 to {_LONGEST_SIDE} px")
        return int(sides[1]), int(sides[0])

    def _test_size(self, at: str) -> tuple[int, int]:
        self._one_resize(at)
        self._keeps_ratio(at)
        return self._scale(f"{at}.{self.scale}")

    def _train_sizes(self, at: str, kind: str) -> dict[str, Any]:
        """The fields that say which sizes are drawn in training."""
        self._one_resize(at)
        fields = self.fields
        inside = f"{at}.resize_cfg" if fields.has(f"{at}.resize_cfg") else at
        self._keeps_ratio(inside)
        fields.expect(f"{at}.resize_type", "Resize")
        fields.expect(f"{inside}.type", "Resize", kind)
        path = f"{at}.{'scales' if kind == 'RandomChoiceResize' else self.scale}"
        if self.old:
            several = bool(fields.length(path) and fields.length(f"{path}.0"))
            if several and fields.length(path) == 1:
                path, several = f"{path}.0", False
            ranged = fields.get(f"{at}.multiscale_mode", "range") == "range"
            fields.expect(f"{at}.multiscale_mode", "range", "value")
            fields.expect(f"{at}.override", False)
            kind = "Resize" if not several else "RandomResize" if ranged else "RandomChoiceResize"
        if fields.has(f"{at}.ratio_range"):
            return self._scaled(path, f"{at}.ratio_range")
        if kind == "RandomChoiceResize":
            return self._pairs(path)
        if kind == "RandomResize" and fields.length(f"{path}.0"):
            return self._ranges(path)
        if kind == "RandomResize":
            fields.cannot(path, "a list of (long, short)")
        long, short = self._scale(path)
        return {"train_short": (short,), "train_long": long}

    def _ranges(self, path: str) -> dict[str, Any]:
        """Both sides are drawn between those of the two sizes, each on its own."""
        if self.fields.length(path) != 2:
            raise self.fields.wrong(path, "two sizes, the ends of a range")
        sizes = [self._scale(f"{path}.{i}") for i in range(2)]
        self.fields.get(path)
        longs, shorts = (range(min(ends), max(ends) + 1) for ends in zip(*sizes, strict=True))
        if max(len(longs), len(shorts)) > _MOST_SIZES:
            raise self.fields.wrong(path, f"a range of at most {_MOST_SIZES} px")
        fixed = {"train_short": tuple(shorts), "train_long": longs[-1]}
        return fixed if len(longs) == 1 else {**fixed, "train_longs": tuple(longs)}

    def _pairs(self, path: str) -> dict[str, Any]:
        count = self.fields.length(path)
        if not count:
            raise self.fields.wrong(path, "a list of sizes")
        sizes = [self._scale(f"{path}.{i}") for i in range(count)]
        self.fields.get(path)
        longs = {long for long, _ in sizes}
        if len(longs) == 1:
            return {"train_short": tuple(sorted(short for _, short in sizes)), "train_long": longs.pop()}
        return _drawn_together([(short, long) for long, short in sizes])

    def _scaled(self, path: str, ratios: str) -> dict[str, Any]:
        """One size times a number from a range: a pair of sides for each length the long one can have."""
        long, short = self._scale(path)
        low, high = sorted(self.fields.numbers(ratios, 2))
        least, most = int(long * low), int(long * high)
        if not 1 <= least <= most <= _LONGEST_SIDE or most - least >= _MOST_SIZES or int(short * low) < 1:
            raise self.fields.wrong(ratios, f"two numbers that give sides of 1 to {_LONGEST_SIDE} px")
        return _drawn_together([(short * side // long, side) for side in range(least, most + 1)])

    # ---- flips and colours

    def _flipped(self, image: ImageConfig, at: str) -> ImageConfig:
        fields = self.fields
        self.flips += 1
        if self.old and self.flips > 1:
            fields.cannot(at, "one RandomFlip: of several, mmdet 2 draws for the first one alone")
            return image
        prob = f"{at}.{'flip_ratio' if self.old else 'prob'}"
        named = fields.get(f"{at}.direction", "horizontal")
        names = list(named) if isinstance(named, list | tuple) else [named]
        if not names or any(name not in _DIRECTIONS for name in names if isinstance(name, str)):
            fields.cannot(f"{at}.direction", f"only {', '.join(_DIRECTIONS)}")
            return image
        if not all(isinstance(name, str) for name in names):
            raise fields.wrong(f"{at}.direction", "a direction, or a list of them")
        if isinstance(fields.get(prob, None if self.old else 0.0), list | tuple):
            shares = list(fields.numbers(prob, len(names)))
        elif self.old and not fields.has(prob):
            shares = [0.0] * len(names)
        else:
            shares = [fields.number(prob) / len(names)] * len(names)
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise fields.wrong(prob, "a probability")
        drawn = dict.fromkeys(_DIRECTIONS, 0.0)
        for name, share in zip(names, shares, strict=True):
            drawn[name] += share
        return dataclasses.replace(image, **_one_after_the_other(image, drawn))

    def _colours(self, at: str) -> ColourConfig:
        fields, usual = self.fields, ColourConfig()
        contrast = fields.numbers(f"{at}.contrast_range", 2, usual.contrast)
        saturation = fields.numbers(f"{at}.saturation_range", 2, usual.saturation)
        return ColourConfig(
            brightness=fields.number(f"{at}.brightness_delta", usual.brightness),
            contrast=(contrast[0], contrast[1]),
            saturation=(saturation[0], saturation[1]),
            hue=fields.number(f"{at}.hue_delta", usual.hue),
        )


def _drawn_together(pairs: list[tuple[int, int]]) -> dict[str, Any]:
    """Sizes (short, long) as fields; the largest stands where only one is asked for."""
    short, long = max(pairs, key=lambda pair: (pair[1], pair[0]))
    return {"train_short": (short,), "train_long": long, "train_pairs": tuple(pairs)}


def _one_after_the_other(image: ImageConfig, drawn: dict[str, float]) -> dict[str, Any]:
    """The chances of each flip after a further draw, which doesn't depend on those before."""
    before = {name: getattr(image, field) for name, field in _DIRECTIONS.items()}
    first = [before["horizontal"], before["vertical"], before["diagonal"]]
    second = [drawn["horizontal"], drawn["vertical"], drawn["diagonal"]]
    first_none, second_none = 1 - sum(first), 1 - sum(second)
    return {
        # A flip stays if the other draw does nothing; two different ones make the third.
        field: first[i] * second_none
        + first_none * second[i]
        + first[i - 1] * second[i - 2]
        + first[i - 2] * second[i - 1]
        for i, field in enumerate(_DIRECTIONS.values())
    }
