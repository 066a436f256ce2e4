# %% [markdown]
# # 08 · COCO: checkpoints and full training
#
# **Goal.** Know the full-size models: what they cost, how to check the paper's gain without training, and how
# to train them.
#
# Everything here runs without COCO; if the real data and checkpoints are on this machine, the cells use them.
#
# *About 35 minutes. Builds on lesson 06.*

# %% tags=["parameters"]
coco = "data/coco"  # COCO's own tree, if it is there
checkpoints = "checkpoints"  # released checkpoints, if they are there
images = 20  # of val2017, for a first look
rehearsed = 4  # pictures of the rehearsal
timed = "htc_r50_1x"  # the model whose time is taken
size = (800, 1344)  # of the picture that is timed, height and width in px
scored = 100  # pictures of data/classroom for the question of AP by size
scenes_on_disk = (1000, 200, 500)

# %%
from pathlib import Path

import torch

import htc_lab
from htc_lab.config import PAPER_STAGES
from htc_lab.course.checking import check, yours_or_ours
from htc_lab.course.lesson02.figures import plot_curves
from htc_lab.course.lesson07.own_data import write_example
from htc_lab.course.lesson08.figures import plot_parts
from htc_lab.course.lesson08.full_size import (
    millions,
    published,
    rehearse,
    reproduction_table,
    seconds_a_part,
    val_of,
)
from htc_lab.course.lesson08.size_ap import COCO_LIMITS, size_ap_table
from htc_lab.course.working_folder import go_to_root
from htc_lab.data.classroom.samples import classroom_data, classroom_samples
from htc_lab.data.classroom.scenes import SCENE_THINGS
from htc_lab.data.fetch.released import RELEASED, released_name
from htc_lab.plots import show_model

go_to_root()
plot_parts(
    {name: millions(name) for name in ("cascade_r50_20e", "htc_without_semantic_r50_1x", "htc_r50_20e")}
)

# %% [markdown]
# Where the weights are. The second bar adds the mask information flow to the first: two 1 × 1 convolutions,
# too small to see. The third adds the semantic branch. The box heads, with their fully connected layers,
# are larger than the backbone.
#
# ## What was published

# %%
published()

# %% [markdown]
# A caution when you compare with these: the published HTC was tested with a score threshold of 0.001 and the
# cascade with 0.05, so the gap between the rows is a little too large.
#
# ## Why do APs and APl differ from the paper's, though AP agrees?
#
# People measure 17.9 / 40.7 / 56.6 for small, medium and large objects where the paper has 20.3 / 40.9 /
# 52.3, with the same overall AP. The sizes of the objects come from the annotation file. But how large is a
# **detection**? The evaluation takes the area of its mask; where the results also contain a box, it takes
# the area of the box. Here are both, for the same detections (of the classroom model, whose pictures are
# 128 px wide: the limits between small, medium and large are a fifth of COCO's 32 and 96 px):

# %%
size_ap_table(
    htc_lab.load("classroom/htc"),
    classroom_data(scenes_on_disk),
    scored,
    limits=tuple(limit / 5 for limit in COCO_LIMITS),
)

# %% [markdown]
# The overall AP agrees to the last digit. APs rises and APl falls, the same way in which the paper's
# figures differ: a box is larger than the mask inside it, so many false detections count as larger ones.
# Never compare AP by size across the two rules.
#
# ## Check the gain without training
#
# Released weights of both models, the same pictures, the same threshold, and an interval for the difference:
#
# ```
# python data_scripts/get_coco.py annotations val2017
# python data_scripts/get_checkpoints.py cascade_r50_20e htc_r50_20e
# htc-lab reproduce --coco data/coco --cascade checkpoints/FILE --htc checkpoints/FILE
# ```
#
# This runs both models over 5000 pictures: many hours on a laptop, far less on a GPU (`--device cuda`). Use
# `--first 200` for a first look; a stopped run continues where it left off. Expect what was published, 36.5
# and 38.3 mask AP, with a slightly smaller gap because the thresholds are equal. The paper reports +1.5
# (table 2).
#
# **Rehearse it first.** Before you compute for hours, run the whole pipeline once on a few pictures, scaled
# down, with random weights: wrong paths, odd file formats and full disks show up within a minute. The next
# cell does so on COCO, if it is here, or else on the small data set of lesson 07:

# %%
here = Path(coco)
if not (here / "annotations").is_dir():
    here = write_example(Path("data/own_example"), classroom_samples(12), SCENE_THINGS)
val = val_of(here)
print(f"{here}: {len(val)} pictures, {len(val.class_names)} classes")
reproduction_table(rehearse(val, Path("runs") / f"rehearsal_{here.name}", images=rehearsed))

# %% [markdown]
# Next to nothing for both, and "not significant": that is what random weights must give. Had the table said
# anything else, the evaluation would be wrong.
#
# The files you need:

# %%
for preset in ("cascade_r50_20e", "htc_r50_20e"):
    path = Path(checkpoints) / released_name(preset)
    print(f"{preset}: {path.name} ({'is here' if path.is_file() else 'not on this machine'})")
print(f"released in all: {len(RELEASED)}")

# %%
present = [p for p in ("htc_r50_20e", "cascade_r50_20e") if (Path(checkpoints) / released_name(p)).is_file()]
if present and here == Path(coco):
    model = htc_lab.load(Path(checkpoints) / released_name(present[0]))
    first = (val[i] for i in range(min(images, len(val))))
    found = show_model(model, max(first, key=lambda sample: len(sample.targets.boxes)))
else:
    found = "No checkpoint with COCO here: get both with the commands above, then run this cell again."
found

# %% [markdown]
# ## What a picture costs
#
# HTC R-50 on this machine, at the size at which COCO is tested, with random weights (trained ones take just
# as long):

# %%
for part, seconds in seconds_a_part(timed, *size).items():
    print(f"{part:>8}: {seconds:.2f} s")

# %% [markdown]
# `encode` is backbone, FPN and semantic branch; `cascade` is 1000 proposals through three box heads, and the
# masks. A cascade is expensive: the reference reports 11.2 pictures per second for Cascade Mask R-CNN and 5.8
# for HTC on one V100. Is +1.5 mask AP worth half the speed? That depends on what you use it for; no table can
# answer it.
#
# ## Train it
#
# The paper's training is 20 epochs on 16 GPUs with one picture each. The learning rate, 0.02, belongs to that
# batch of 16; it rises over the first 500 steps and is divided by 10 after epoch 16 and again after epoch 19.
#
# ### Exercise 08.1 · The learning rate of a full training


# %% tags=["exercise"]
def rate_factor(step, steps, batch, decay_at):
    """What the rate 0.02 is multiplied by.

    step: from 0 to steps - 1; steps: of the whole training; batch: pictures a step, 16 in the paper.
    decay_at: two fractions of the training, e.g. (16 / 20, 19 / 20). From step round(fraction * steps) on the
    rate is a tenth of what it was.
    Returns a float. The rate goes with the batch: half the batch, half the rate. In the first 500 steps it is
    furthermore multiplied by 0.001 + 0.999 * step / 500.
    """
    ### BEGIN SOLUTION
    factor = batch / 16
    for fraction in decay_at:
        if step >= round(fraction * steps):
            factor /= 10
    if step < 500:
        factor *= 0.001 + 0.999 * step / 500
    return factor
    ### END SOLUTION


check("08.1")

# %% [markdown]
# **Why are my numbers lower?** Someone tested the epoch 12 checkpoint of a 20-epoch training against the
# table of the 12-epoch training (1x). Both had seen the data 12 times. Look at what the learning rate was:

# %%
factor = yours_or_ours("08.1")
steps_an_epoch = 117266 // 16  # pictures of train2017 that hold an object
epochs = torch.arange(0, 20.01, 0.1)
curves = {}
for words, length, decay_at in (("1x", 12, (8 / 12, 11 / 12)), ("20e", 20, (16 / 20, 19 / 20))):
    steps = length * steps_an_epoch
    rates = [0.02 * factor(int(e * steps_an_epoch), steps, 16, decay_at) for e in epochs if e < length]
    curves[words] = torch.tensor(rates + [float("nan")] * (len(epochs) - len(rates)))
plot_curves(epochs, curves, {}, "Learning rate, batch 16", "epoch", "rate", marks=False)

# %% [markdown]
# After epoch 12 the 1x model is done, with two decays behind it. The 20e model is still at the full rate;
# its weights jump about, and most of its gain comes after epoch 16. How good a checkpoint is depends on how
# far it has come in its own schedule.

# %%
for batch in (16, 8, 2):
    steps = 20 * -(-117266 // batch)
    rate = 0.02 * factor(steps // 2, steps, batch, (16 / 20, 19 / 20))
    print(f"batch {batch:2d}: learning rate {rate:.4f}, {steps} steps")
print("stages:", [(stage.iou, stage.stds[0], stage.loss_weight) for stage in PAPER_STAGES])

# %% [markdown]
# The lab sets the learning rate itself: give it the batch size and leave the rate alone.
#
# ```
# python data_scripts/get_coco.py annotations val2017 train2017 stuffthingmaps
# torchrun --standalone --nproc-per-node 8 -m htc_lab train \
#     --data data/coco --run-folder runs/htc_r50 --preset htc_r50_20e --device cuda --workers 4
# ```
#
# You can stop it at any time; the same command continues it. `docs/training_at_scale.md` covers several
# machines, memory and Slurm.
#
# ## Take-away
#
# - The flow costs next to nothing in weights, the semantic branch a little; the cascade itself costs most of
#   the time.
# - Before you believe a published gap, ask: same threshold, same schedule, same averaging of masks, same rule
#   for small and large?
# - Rehearse on four pictures what will run for a day.
# - The number of steps and the learning rate depend on the batch size.
