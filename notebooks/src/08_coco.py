# %% [markdown]
# # 08 · COCO: checkpoints and full training
#
# **Goal.** Know the full-size models: what they cost, how to check the paper's gain without training, and
# how to train them.
#
# Everything here runs without COCO; where the real data and checkpoints are on this machine, the cells use
# them.
#
# *About 30 minutes. You need lesson 06.*

# %% tags=["parameters"]
coco = "data/coco"  # COCO's own tree, if it is there
checkpoints = "checkpoints"  # released checkpoints, if they are there
images = 20  # of val2017, for a first look
timed = "htc_r50_1x"  # the model whose time is taken
size = (800, 1344)  # of the picture that is timed, height and width in px

# %%
from pathlib import Path

import htc_lab
from htc_lab.config import PAPER_STAGES
from htc_lab.course.experiments.full_size import millions, published, seconds_a_part
from htc_lab.course.place import go_to_root
from htc_lab.data.released import RELEASED, released_name
from htc_lab.plots.full_size import plot_parts

go_to_root()
plot_parts(
    {name: millions(name) for name in ("cascade_r50_20e", "htc_without_semantic_r50_1x", "htc_r50_20e")}
)

# %% [markdown]
# Where the weights are. From the first bar to the second the mask information flow comes in: two 1 × 1
# convolutions, too little to see. From the second to the third, the semantic branch. The box heads with their
# fully connected layers are larger than the backbone.
#
# ## What was published

# %%
published()

# %% [markdown]
# Two cautions when you compare with these. The published HTC was tested with a score threshold of 0.001,
# the cascade with 0.05, so the gap between the rows is a little too large. And **AP by size** (APs, APm,
# APl) can't be compared with the paper's: today's evaluation sorts objects by the area of the *mask*, while
# the paper's figures fit the area of the *box*. The overall AP is the same in both.
#
# ## Check the gain without training
#
# Released weights of both models, the same pictures, the same threshold, and an interval for the difference:
#
# ```
# python data_scripts/get_coco.py annotations val2017
# python data_scripts/get_checkpoints.py cascade_r50_20e htc_r50_20e
# htc-lab reproduce --help
# ```

# %%
for preset in ("cascade_r50_20e", "htc_r50_20e"):
    path = Path(checkpoints) / released_name(preset)
    print(f"{preset}: {path.name} ({'is here' if path.is_file() else 'not on this machine'})")
print(f"released in all: {len(RELEASED)}")

# %%
present = [p for p in ("htc_r50_20e", "cascade_r50_20e") if (Path(checkpoints) / released_name(p)).is_file()]
if present and (Path(coco) / "annotations").is_dir():
    from htc_lab.data.dataset import CocoDataset
    from htc_lab.data.layout import find_data
    from htc_lab.plots import show_model

    val = CocoDataset(find_data(Path(coco)).val)
    model = htc_lab.load(Path(checkpoints) / released_name(present[0]))
    found = show_model(model, max((val[i] for i in range(images)), key=lambda s: len(s.targets.boxes)))
else:
    found = "No checkpoint with COCO here: get both with the commands above, then run this cell again."
found

# %% [markdown]
# ## What a picture costs
#
# HTC R-50 at the size COCO is tested at, with random weights (the time is that of any weights), on this
# machine:

# %%
for part, seconds in seconds_a_part(timed, *size).items():
    print(f"{part:>8}: {seconds:.2f} s")

# %% [markdown]
# `encode` is backbone, FPN and semantic branch; `cascade` is 1000 proposals through three box heads and the
# masks. A cascade costs: the reference reports 11.2 pictures a second for Cascade Mask R-CNN and 5.8 for
# HTC on one V100. Is +1.5 mask AP worth half the speed? That is a question for who uses it, not for a
# table.
#
# ## Train it
#
# The paper's training is 20 epochs on 16 GPUs. The recipe in one cell:

# %%
schedule = htc_lab.Schedule(epochs=20, decay_at=(16 / 20, 19 / 20))
train2017 = 117266  # pictures of train2017 that hold an object
for batch in (16, 8, 2):
    steps = -(-train2017 // batch) * schedule.epochs
    rate = schedule.lr * batch / schedule.lr_batch
    print(f"batch {batch:2d}: learning rate {rate:.4f}, {steps} steps")
print("stages:", [(stage.iou, stage.stds[0], stage.loss_weight) for stage in PAPER_STAGES])

# %% [markdown]
# The learning rate goes with the batch. The lab does this by itself: give it the batch and leave the rate
# alone.
#
# ```
# python data_scripts/get_coco.py annotations val2017 train2017 stuffthingmaps
# torchrun --standalone --nproc-per-node 8 -m htc_lab train \
#     --data data/coco --run-folder runs/htc_r50 --preset htc_r50_20e --device cuda --workers 4
# ```
#
# It may be stopped at any time; the same command goes on. `docs/training_at_scale.md` tells about several
# machines, memory and Slurm.
#
# ## Take-away
#
# - The flow costs next to nothing in weights, the semantic branch a little, the cascade itself most of the
#   time.
# - Before you believe a published gap, ask: same threshold, same schedule, same averaging of masks?
# - Steps and learning rate go with the batch.
