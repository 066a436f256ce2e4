# %% [markdown]
# # 01 · Data and COCO truth
#
# **Goal.** Know what an instance segmentation network is trained on, and make it yourself: a mask from a
# polygon, a run-length code, a box, and the semantic map that HTC needs and most data sets lack.
#
# *About 35 minutes. Builds on lesson 00.*

# %% tags=["parameters"]
scenes = (1000, 200, 500)  # train, val and test images; drawn once, some 20 seconds
picture = 2

# %%
import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from htc_lab.course.checking import check, yours_or_ours
from htc_lab.course.lesson01.figures import show_grid, show_maps
from htc_lab.course.working_folder import go_to_root
from htc_lab.data.classroom.samples import classroom_data
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.rle import decode_segmentation
from htc_lab.data.semantic import semantic_classes
from htc_lab.plots import show_sample

go_to_root()
data = classroom_data(scenes)
dataset = CocoDataset(data.train, semantic_classes(data))
sample = dataset[picture]
show_sample(sample, dataset.class_names)

# %% [markdown]
# One picture and everything that is known about it: for every **object** a class, a box and a mask, and for
# every **pixel** a class in the *semantic map*. In the map two bicycles have the same colour, and wall, road,
# sand and grass are classes too: it names *things* (countable objects) and *stuff* (sky, sand and the
# like), but it doesn't tell one object from another.
#
# ## What the file contains
#
# COCO keeps pictures, objects and classes in three lists in one JSON file. This is one object:

# %%
entry = data.train.coco.annotations_by_image[sample.image_id][0]
for name in ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"):
    print(f"{name:>13}: {str(entry[name])[:80]}")

# %% [markdown]
# `bbox` is x, y, **width, height**; inside a model, boxes are x1, y1, x2, y2. `segmentation` is either a list
# of polygons or a run-length code (as here). Both are turned into pixels before training, so let's do that by
# hand.
#
# **How exercises work.** Replace the line that raises `NotImplementedError` with your own code and run the
# cell. `check` calls your function with several inputs and tells you what differs, where it differs first,
# and what to think about. The cell below the exercise uses your function once it passes and the lab's own
# until then, so you can move on and come back later. You can't break anything: a function that hangs is
# stopped after ten seconds.
#
# ### Exercise 01.1 · Polygon to mask
#
# A pixel belongs to the object if its **centre** lies inside the outline.


# %% tags=["exercise"]
def polygon_to_mask(polygon, height, width):
    """Fill a polygon.

    polygon: list x1, y1, x2, y2, ... in px; the last point joins the first.
    Returns (height, width) uint8, 1 where the centre (column + 0.5, row + 0.5) of a pixel lies inside.
    """
    ### BEGIN SOLUTION
    points = np.array(polygon).reshape(-1, 2)
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.zeros((height, width), dtype=bool)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            inside ^= crosses & (x < x1 + (y - y1) / (y2 - y1) * (x2 - x1))
    return inside.astype(np.uint8)
    ### END SOLUTION


check("01.1")

# %% [markdown]
# COCO's own tools draw a polygon by a different rule: they trace the outline on a finer grid, so a few pixels
# along it may differ. On small objects such a rim changes the IoU by several points, which is why the masks
# for training and for evaluation should be made by the same tool.

# %%
turns, reach = np.arange(10) * np.pi / 5, np.tile([7.3, 3.2], 5)
star = np.stack([8.2 + reach * np.sin(turns), 8.1 - reach * np.cos(turns)], axis=1).ravel().tolist()
by_centres = yours_or_ours("01.1")(star, 15, 16)
by_coco = decode_segmentation([star], 15, 16)
same = (by_centres & by_coco).sum() / (by_centres | by_coco).sum()
print(f"IoU of the two masks of one polygon: {same:.2f}")
show_grid({"Centres inside": by_centres, "COCO's rule": by_coco}, star)

# %% [markdown]
# ### Exercise 01.2 · Run-length encoding
#
# Masks of crowds and machine-made masks come as run lengths: how many pixels **outside**, inside, outside,
# ... reading **down the columns**.


# %% tags=["exercise"]
def rle_counts(mask):
    """Run lengths of a mask.

    mask: (H, W) uint8, 0 or 1.
    Returns a list of int, columns after columns; the first run is outside and may be 0 long.
    """
    ### BEGIN SOLUTION
    pixels = mask.T.ravel()
    changes = np.flatnonzero(np.diff(pixels)) + 1
    lengths = np.diff([0, *changes, len(pixels)]).tolist()
    return [0, *lengths] if pixels[0] == 1 else lengths
    ### END SOLUTION


check("01.2")

# %%
counts = yours_or_ours("01.2")(by_coco)
back = decode_segmentation({"size": [15, 16], "counts": counts}, 15, 16)
print(f"{by_coco.size} pixels, {len(counts)} runs: {counts[:8]} ...")
print("decoded again the same:", bool((back == by_coco).all()))

# %% [markdown]
# ### Exercise 01.3 · Box of a mask


# %% tags=["exercise"]
def box_of_mask(mask):
    """The tight box of a mask.

    mask: (H, W) uint8 with at least one pixel.
    Returns [x1, y1, x2, y2] as float, px; x2 - x1 is the number of columns it spans.
    """
    ### BEGIN SOLUTION
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
    ### END SOLUTION


check("01.3")

# %%
x1, y1, x2, y2 = yours_or_ours("01.3")(sample.targets.masks[0].numpy())
print("from the mask:", [x1, y1, x2 - x1, y2 - y1], "   in the file:", entry["bbox"])

# %% [markdown]
# ## Where do semantic maps come from?
#
# This is the question most people have when they want to train HTC. For COCO they are a separate download
# (*stuffthingmaps*). For your own photos there are none, but the instance masks already contain half of what
# you need: the things. All other pixels become a single class, background.
#
# ### Exercise 01.4 · Semantic map from instances
#
# Where objects overlap, the **smaller** one lies on top: a ball in front of a player must not vanish.


# %% tags=["exercise"]
def semantic_map(masks, labels, num_classes):
    """A semantic map of the things alone.

    masks: (n, H, W) uint8; labels: (n,) int in 0..num_classes-1.
    Returns (H, W) uint8: the class of the thing at each pixel, num_classes where there is none.
    """
    ### BEGIN SOLUTION
    semantic = np.full(masks.shape[1:], num_classes, dtype=np.uint8)
    by_area = sorted(range(len(masks)), key=lambda i: -int(masks[i].sum()))
    for i in by_area:
        semantic[masks[i] > 0] = labels[i]
    return semantic
    ### END SOLUTION


check("01.4")

# %%
masks, labels = sample.targets.masks.numpy(), sample.targets.labels.numpy()
made = torch.from_numpy(yours_or_ours("01.4")(masks, labels, len(dataset.class_names)))
show_maps(
    {"With stuff, from the file": sample.targets.semantic, "From the instances": made},
    ["sky, sand, road, ... have classes", "things, and one class for the rest"],
)

# %% [markdown]
# The right-hand map can still teach a branch *what is a thing and what is not*; what it can't teach is that
# boats belong on water. Lesson 05 shows what the stuff is good for. Where a data set has no maps, the lab
# makes them from the masks in just this way.
#
# ## Two traps with maps
#
# **Resizing.** A map contains names, not amounts: class 5 is not the mean of class 2 and class 8.

# %%
semantic = sample.targets.semantic
half = {}
for title, how in (
    ("Nearest", {"mode": "nearest"}),
    ("Bilinear", {"mode": "bilinear", "align_corners": False}),
):
    half[title] = F.interpolate(semantic[None, None].float(), scale_factor=0.5, **how)[0, 0].round().byte()
before = set(semantic.unique().tolist())
lines = [f"classes that were not there: {sorted(set(m.unique().tolist()) - before)}" for m in half.values()]
show_maps(half, lines)

# %% [markdown]
# The outlines on the right are classes that nobody painted there. A map also has to follow the picture
# through every flip, crop and change of size (`htc_lab/data/transforms.py` moves image, boxes, masks and
# map together).
#
# **Colour pictures.** Some archives store maps as *palette* images: each pixel is an index, and the file also
# says which colour to show for it. What you get depends on how you open it:

# %%
file = io.BytesIO()
palette_picture = Image.fromarray(semantic.numpy(), mode="P")
palette_picture.putpalette([value for k in range(256) for value in (k, 97 * k % 256, 255 - k)])
palette_picture.save(file, format="png")
for way in ("P", "RGB"):
    pixels = np.asarray(Image.open(file).convert(way))
    print(f"opened as {way:>3}: shape {pixels.shape}, one pixel: {pixels[60, 60]}")
print("the class there:", int(semantic[60, 60]))

# %% [markdown]
# Three numbers per pixel are colours, not classes, and a loss that expects class indices fails. The lab reads
# the indices, and refuses a true-colour picture with one line that names the file.
#
# ## Why 183 classes, when COCO-Stuff has 171 and COCO 80?
#
# Count them:

# %%
never_used = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}  # thing ids that COCO gave away and never filled
ids = range(1, 183)
things = [i for i in ids if i <= 91 and i not in never_used]
stuff = [i for i in ids if i > 91]
print(f"{len(things)} things + {len(stuff)} stuff = {len(things) + len(stuff)} classes that occur")
print(f"ids run from 0 (unlabelled) to {max(ids)}: {max(ids) + 1} channels if every id has its own")
print(f"the maps hold id - 1: stop sign, id 13, is {13 - 1} there, but a detector's label {things.index(13)}")

# %% [markdown]
# So the reference implementation simply has one channel per id; a dozen of its 183 channels never see a
# pixel. And a thing's number in a map is **not** its label in the detector. In a map, 255 means *unknown*:
# such pixels don't count in the loss (lesson 05).
#
# ## Take-away
#
# - Polygons and run-length codes become pixels before training; a box in the file is x, y, width, height.
# - A semantic map names the thing or stuff at every pixel. Instance masks give you the things for free.
# - Maps are resized with *nearest*, and move together with the picture. 255 is "unknown"; background is a
#   class.
#
# **Next:** [02 · The plain cascade](02_plain_cascade.ipynb)
