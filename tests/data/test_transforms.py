"""Resizing and flipping keep image, boxes, masks and semantic map in step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from htc_lab.data.dataset import Sample
from htc_lab.data.image_config import ColourConfig, ImageConfig
from htc_lab.data.transforms import TrainTransform, resize_image, train_transform
from htc_lab.structures import Targets


def make_sample(height: int, width: int, count: int, seed: int) -> Sample:
    """Rectangles, each with its own colour and semantic index, later ones over earlier ones."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    owner = torch.zeros((height, width), dtype=torch.uint8)
    for i in range(count):
        x, y = draw(0, width - 4), draw(0, height - 4)
        owner[y : y + draw(3, height), x : x + draw(3, width)] = i + 1
    shown = [i + 1 for i in range(count) if (owner == i + 1).any()]
    masks = (
        torch.stack([owner == i for i in shown]).to(torch.uint8)
        if shown
        else owner.new_zeros((0, height, width))
    )
    boxes = torch.stack([tight(m) for m in masks]) if shown else torch.zeros((0, 4))
    targets = Targets(boxes, torch.tensor(shown, dtype=torch.int64), masks, owner)
    return Sample((owner * 20).expand(3, -1, -1).contiguous(), targets, 5, (height, width))


def tight(mask: Tensor) -> Tensor:
    ys, xs = torch.nonzero(mask, as_tuple=True)
    return torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]).float()


def is_solid(mask: Tensor) -> bool:
    """Whether the mask fills its box."""
    x1, y1, x2, y2 = (int(v) for v in tight(mask))
    return bool(mask[y1:y2, x1:x2].all())


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


sizes = st.integers(8, 60)


@settings(deadline=None, max_examples=60)
@given(
    sizes, sizes, st.integers(0, 5), st.integers(0, 10_000), st.integers(8, 90), st.sampled_from([0.0, 1.0])
)
def test_the_truth_stays_in_step(
    height: int, width: int, count: int, seed: int, short: int, flip: float
) -> None:
    before = make_sample(height, width, count, seed)
    after = TrainTransform((short,), 120, flip)(before, generator(seed))
    new_height, new_width = after.image.shape[-2:]
    targets = after.targets
    assert targets.semantic is not None
    assert targets.semantic.shape == targets.masks.shape[1:] == (new_height, new_width)
    assert (after.image_id, after.original_size) == (5, (height, width))
    assert (targets.boxes >= 0).all()
    assert (targets.boxes <= torch.tensor([new_width, new_height, new_width, new_height])).all()
    solid = {
        label
        for label, mask in zip(before.targets.labels.tolist(), before.targets.masks, strict=True)
        if is_solid(mask)
    }
    for box, label, mask in zip(targets.boxes, targets.labels.tolist(), targets.masks, strict=True):
        assert (targets.semantic[mask > 0] == label).all()
        assert (targets.semantic == label).sum() == mask.sum()
        # Of a shape that others have eaten into, a sliver that holds the box may fall between the pixels.
        if label in solid:
            assert (box - tight(mask)).abs().max() <= 0.5 + 1e-4, (
                "nearest pixel centres: at most half a pixel off"
            )
    kept = set(targets.labels.tolist())
    scale = new_width / width
    for label, mask in zip(before.targets.labels.tolist(), before.targets.masks, strict=True):
        x1, y1, x2, y2 = tight(mask).tolist()
        if (x2 - x1) * scale >= 2 and (y2 - y1) * scale >= 2 and is_solid(mask):
            assert label in kept


@given(sizes, sizes, st.integers(4, 90), st.integers(4, 120))
def test_resize_keeps_the_ratio_and_the_limits(height: int, width: int, short: int, long: int) -> None:
    image = torch.zeros((3, height, width), dtype=torch.uint8)
    resized, scale_x, scale_y = resize_image(image, short, long)
    new_height, new_width = resized.shape[-2:]
    assert (new_width, new_height) == (round(width * scale_x), round(height * scale_y))
    assert max(new_height, new_width) <= max(long, 1)
    assert min(new_height, new_width) <= max(short, 1)
    assert max(new_height, new_width) == long or min(new_height, new_width) == short
    assert abs(new_height / height * width - new_width) <= 0.5 * (1 + width / height) + 1e-6
    # Done twice, it is done once: a picture at the network's size is that picture.
    assert resize_image(resized, short, long)[0] is resized


def test_resize_gives_the_same_tensor_if_nothing_changes() -> None:
    image = torch.zeros((3, 20, 30), dtype=torch.uint8)
    resized, scale_x, scale_y = resize_image(image, 20, 60)
    assert resized is image
    assert (scale_x, scale_y) == (1.0, 1.0)


def test_flip_is_a_mirror() -> None:
    before = make_sample(20, 30, 3, 1)
    after = TrainTransform((20,), 60, 1.0)(before, generator(0))
    assert (after.image == before.image.flip(-1)).all()
    assert (after.targets.masks == before.targets.masks.flip(-1)).all()
    expected = before.targets.boxes[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor(
        [30, 0, 30, 0]
    )
    assert (after.targets.boxes == expected).all()
    assert type(after.image) is type(after.targets.boxes) is type(after.targets.masks) is Tensor
    again = TrainTransform((20,), 60, 1.0)(after, generator(0))
    assert (again.image == before.image).all()
    assert (again.targets.boxes == before.targets.boxes).all()


def test_all_randomness_comes_from_the_generator() -> None:
    before = make_sample(20, 30, 3, 1)
    transform = TrainTransform((16, 20, 24, 32), 90)
    outcomes = set()
    for seed in range(24):
        torch.manual_seed(seed)
        first = transform(before, generator(seed))
        torch.manual_seed(1000 - seed)
        second = transform(before, generator(seed))
        assert first.image.equal(second.image)
        outcomes.add((first.image.shape[-2], bool(first.targets.boxes[0, 0] == second.targets.boxes[0, 0])))
    assert {height for height, _ in outcomes} == {16, 20, 24, 32}


def test_vanishing_objects_are_dropped() -> None:
    masks = torch.zeros((2, 40, 40), dtype=torch.uint8)
    masks[0, 5:30, 5:30] = 1
    masks[1, 1:3, 1:3] = 1
    boxes = torch.stack([tight(m) for m in masks])
    sample = Sample(
        torch.zeros((3, 40, 40), dtype=torch.uint8), Targets(boxes, torch.tensor([1, 0]), masks), 1, (40, 40)
    )
    after = TrainTransform((8,), 90, 0.0)(sample, generator(0))
    assert after.targets.labels.tolist() == [1]
    assert after.targets.semantic is None
    assert len(after.targets.masks) == 1


@pytest.mark.parametrize("short", [10, 40])
def test_no_objects(short: int) -> None:
    before = make_sample(20, 30, 0, 0)
    after = TrainTransform((short,), 90, 1.0)(before, generator(0))
    assert after.targets.boxes.shape == (0, 4)
    assert after.targets.masks.shape == (0, *after.image.shape[-2:])


@pytest.mark.parametrize(("chances", "dims"), [((0.0, 1.0, 0.0), (-2,)), ((0.0, 0.0, 1.0), (-2, -1))])
def test_the_other_flips(chances: tuple[float, float, float], dims: tuple[int, ...]) -> None:
    before = make_sample(20, 30, 3, 1)
    flip, vertical, both = chances
    after = TrainTransform((20,), 60, flip, flip_vertical=vertical, flip_both=both)(before, generator(0))
    assert torch.equal(after.image, before.image.flip(dims))
    assert torch.equal(after.targets.masks, before.targets.masks.flip(dims))
    assert before.targets.semantic is not None
    assert after.targets.semantic is not None
    assert torch.equal(after.targets.semantic, before.targets.semantic.flip(dims))
    solid = [is_solid(mask) for mask in after.targets.masks]
    assert any(solid)
    for box, mask, whole in zip(after.targets.boxes, after.targets.masks, solid, strict=True):
        assert not whole or torch.equal(box, tight(mask))


def test_flips_share_one_draw() -> None:
    before = make_sample(20, 30, 3, 1)
    transform = TrainTransform((20,), 60, 0.25, flip_vertical=0.25, flip_both=0.25)
    seen = {"none": 0, "horizontal": 0, "vertical": 0, "both": 0}
    flips = {"none": (), "horizontal": (-1,), "vertical": (-2,), "both": (-2, -1)}
    for seed in range(400):
        image = transform(before, generator(seed)).image
        (name,) = (n for n, dims in flips.items() if torch.equal(image, before.image.flip(dims)))
        seen[name] += 1
    assert all(70 <= count <= 130 for count in seen.values())


def test_sizes_may_be_drawn_in_pairs_or_each_side_on_its_own() -> None:
    before = make_sample(20, 40, 1, 1)
    each = TrainTransform((10, 20), 60, 0.0, longs=(20, 40))
    assert {each(before, generator(s)).image.shape[1:] for s in range(40)} == {(10, 20), (20, 40)}
    square = TrainTransform((20,), 60, 0.0, pairs=((8, 60), (30, 24), (20, 60)))
    assert {square(before, generator(s)).image.shape[1:] for s in range(40)} == {(8, 16), (12, 24), (20, 40)}


def test_a_config_is_a_transform() -> None:
    image = ImageConfig(
        train_short=(8, 9),
        train_long=20,
        train_longs=(10, 20),
        train_pairs=((8, 9),),
        flip=0.1,
        flip_vertical=0.2,
        flip_both=0.3,
        colour=ColourConfig(),
    )
    made = train_transform(image)
    assert (made.short, made.long, made.longs, made.pairs) == ((8, 9), 20, (10, 20), ((8, 9),))
    assert (made.flip, made.flip_vertical, made.flip_both, made.colour) == (0.1, 0.2, 0.3, ColourConfig())
