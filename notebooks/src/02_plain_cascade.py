# %% [markdown]
# # 02 · The plain cascade
#
# **Goal.** Understand why three box heads in a row beat one, and write the parts that make it work: matching
# at rising IoU thresholds, box deltas scaled for each stage, sampling, and the mean of the scores.
#
# $$\mathbf x^{box}_t=\mathcal P(\mathbf x,\mathbf r_{t-1}),\quad \mathbf r_t=B_t(\mathbf x^{box}_t),\qquad
# \mathbf x^{mask}_t=\mathcal P(\mathbf x,\mathbf r_{t-1}),\quad \mathbf m_t=M_t(\mathbf x^{mask}_t)\tag{1}$$
#
# $\mathcal P$ pools the image features $\mathbf x$ inside boxes, $B_t$ and $M_t$ are the box head and the
# mask head of stage $t$, $\mathbf r_t$ and $\mathbf m_t$ the boxes and masks they return; $\mathbf r_0$ are
# the proposals.
#
# *About 45 minutes. You should know what a box head and RoIAlign do.*

# %% tags=["parameters"]
model_name = "classroom/plain_cascade"
pictures = 40
shown = 11  # place of the picture we look at

# %%
import torch

import htc_lab
from htc_lab.course.checking import check, yours_or_ours
from htc_lab.course.lesson02.boxes import box_journey, toward_truth
from htc_lab.course.lesson02.figures import plot_box_journey, plot_deltas
from htc_lab.course.lesson02.losses import loss_table
from htc_lab.course.live import live_boxes
from htc_lab.course.looked_at import look_at
from htc_lab.course.plugging import decoding_with
from htc_lab.course.working_folder import go_to_root
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.plots import show_model

go_to_root()
model = htc_lab.load(model_name)
samples = classroom_samples(pictures)
show_model(model, samples[shown])

# %% [markdown]
# Five pictures of one scene: the proposals, then what each stage makes of the boxes it gets from the stage
# before, then the result. Look at the **boxes**: they are what cascades here. (The model was trained as a
# plain cascade, the bottom rung of the paper's ladder. Each of the next lessons goes up one rung.)
#
# ## A dummy first
#
# What should a stage do to its boxes? Move each of them part of the way to its object. The dummy below is
# told the truth and goes half the way.

# %%
scenes = look_at(model, samples)
scene = scenes[shown]
truth = scene.targets.boxes
boxes = scene.proposals.rois.boxes
boxes = boxes[pairwise_iou(boxes, truth).max(dim=1).values >= 0.3]
for stage in range(4):
    iou = pairwise_iou(boxes, truth).max(dim=1).values
    print(
        f"after stage {stage}: mean IoU {iou.mean():.2f}, {int((iou >= 0.7).sum())} of {len(iou)} reach 0.7"
    )
    boxes = toward_truth(boxes, truth)

# %% [markdown]
# ## The real one
#
# The same over many scenes, with what the three box heads have learnt. A box counts if it started near an
# object (IoU of 0.3 or more).

# %%
journey = box_journey(model, scenes)
plot_box_journey(journey)

# %% [markdown]
# Look at the right-hand plot. With a single head you would have to choose: train it at IoU 0.7, and few of
# the proposals are positives (boxes matched to an object); train it at 0.5, and it learns to be content
# with poor boxes. The cascade avoids the choice: after stage 1 there are enough boxes beyond 0.6 to train
# stage 2 on, and after stage 2 enough beyond 0.7 to train stage 3.
#
# ### Exercise 02.1 · Match proposals at 0.5, 0.6, 0.7


# %% tags=["exercise"]
def match_at(boxes, truth, least_iou):
    """Which object does each box stand for?

    boxes: (n, 4) float32 xyxy px; truth: (g, 4), g may be 0; least_iou: the stage's threshold.
    Returns (n,) int64: the object each box overlaps most, -1 (background) where that is less than least_iou.
    pairwise_iou(boxes, truth) is there for you: (n, g).
    """
    ### BEGIN SOLUTION
    if len(truth) == 0:
        return torch.full((len(boxes),), -1)
    best, index = pairwise_iou(boxes, truth).max(dim=1)
    return torch.where(best >= least_iou, index, -1)
    ### END SOLUTION


check("02.1")

# %% [markdown]
# Your matching on real boxes: how many positives would each stage have if it started from the proposals, and
# how many does it have in the cascade?

# %%
match = yours_or_ours("02.1")
trace = model.cascade(scene.features, scene.proposals)
for t, stage in enumerate(model.config.cascade.stages):
    alone = int((match(trace.stages[0].rois, truth, stage.iou) >= 0).sum())
    there = int((match(trace.stages[t].rois, truth, stage.iou) >= 0).sum())
    print(
        f"stage {t + 1}, IoU {stage.iou}: {alone:3d} of the proposals, {there:3d} of the boxes it really gets"
    )

# %% [markdown]
# ## Deltas, and why each stage has its own stds
#
# A head doesn't predict a box but how to get there from the box it was given: dx and dy in box widths and
# heights, dw and dh as logarithms. The better the boxes, the shorter the way.

# %%
plot_deltas(journey, model.config.cascade.stages)

# %% [markdown]
# The left-hand plot shows the deltas shrinking from stage to stage: a third head would have to say
# "0.01, -0.02", and a loss on such small numbers hardly moves any weight. Dividing by the stage's standard
# deviations, or stds (0.1, 0.05, 0.033 for dx), gives every head targets of similar size.
#
# ### Exercise 02.2 · Deltas, scaled by the stage's stds


# %% tags=["exercise"]
def encode(boxes, targets, stds):
    """From boxes to the deltas that lead to their targets.

    boxes, targets: (n, 4) float32 xyxy px; stds: four numbers.
    Returns (n, 4): (dx, dy, dw, dh) / stds, with dx = (target centre - centre) / box width, dw = log(target
    width / box width), and the same for y and h.
    """
    ### BEGIN SOLUTION
    size = boxes[:, 2:] - boxes[:, :2]
    target_size = targets[:, 2:] - targets[:, :2]
    move = (targets[:, :2] + targets[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2 / size
    grow = torch.log(target_size / size)
    return torch.cat([move, grow], dim=1) / torch.tensor(stds)
    ### END SOLUTION


check("02.2")

# %% [markdown]
# ### Exercise 02.3 · From deltas back to boxes


# %% tags=["exercise"]
def decode(boxes, deltas, stds, width, height):
    """Move boxes by the deltas a head predicted.

    boxes, deltas: (n, 4) float32; stds: four numbers; width, height: of the picture, px.
    Returns (n, 4) xyxy px, clipped to 0..width and 0..height. (The lab also bounds dw and dh; leave that.)
    """
    ### BEGIN SOLUTION
    deltas = deltas * torch.tensor(stds)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + deltas[:, :2] * size
    size = size * deltas[:, 2:].exp()
    moved = torch.cat([centre - size / 2, centre + size / 2], dim=1)
    limits = torch.tensor([width, height, width, height])
    return torch.minimum(moved.clamp(min=0), limits)
    ### END SOLUTION


check("02.3")

# %% [markdown]
# Your `decode` in the live model: the cascade below runs with it in place of the lab's own.

# %%
decode_here = yours_or_ours("02.3")
with decoding_with(decode_here):
    mine = model.cascade(scene.features, scene.proposals)
far = max(float((a.boxes - b.boxes).abs().max()) for a, b in zip(mine.stages, trace.stages, strict=True))
print(f"largest difference of any box of any stage: {far:.5f} px")

# %% [markdown]
# **What if?** You can plug in any function, even a wrong one. This one goes twice as far as the head says. Do
# the later stages bring the boxes back? Change it as you like (no stds, half the way, dx only) and run the
# cell again.


# %%
def what_if(boxes, deltas, stds, width, height):
    return decode_here(boxes, 2 * deltas, stds, width, height)


with decoding_with(what_if):
    picture = show_model(model, samples[shown])
    explorer = htc_lab.explore(
        samples[shown],
        {"what if": model},
        toggles=model.config.toggles,
        stage=1,
        show=("boxes", "truth"),
        # Ideas of later lessons.
        hide=["interleaved", "mask_flow", "semantic", "presets", "compare", "off_means"],
    )
picture

# %%
explorer

# %% [markdown]
# ## What the loss looks at
#
# Most of the hundred or so boxes in an image are background. Drawing a sample of fixed size, at most a
# quarter of it positives, keeps the loss from being about background alone. The familiar *"1 to 3"*,
# positives to background, is therefore a limit and not a rule: where positives are few, background fills
# the rest. A new sample is drawn at **every** stage, at that stage's own IoU threshold.
#
# ### Exercise 02.4 · Sample


# %% tags=["exercise"]
def draw_sample(index, count, positive_fraction, order):
    """Choose the boxes that enter the loss.

    index: (n,) int64: object of each box, -1 background, -2 ignored (neither of the two).
    count: of the sample; positive_fraction: at most so much of it are positives.
    order: (n,) a random order of the boxes, drawn for you: take the first that fit, in this order.
    Returns (positives, background): two int64 tensors of places, each sorted.
    """
    ### BEGIN SOLUTION
    positives = order[index[order] >= 0][: int(count * positive_fraction)]
    background = order[index[order] == -1][: count - len(positives)]
    return positives.sort().values, background.sort().values
    ### END SOLUTION


check("02.4")

# %% [markdown]
# Your matching and your sampling on the boxes that each stage gets, over all the scenes: samples of 32, as in
# the training of this small model, and of 64. (The paper draws 512 of 2000.) Are a quarter of them positives?

# %%
draw = yours_or_ours("02.4")
fraction = model.config.cascade.positive_fraction
runs = [model.cascade(seen.features, seen.proposals, per_stage_view=False) for seen in scenes]
order_of = torch.Generator().manual_seed(0)
for count in (32, 64):
    for t, stage in enumerate(model.config.cascade.stages):
        drawn = []
        for seen, run in zip(scenes, runs, strict=True):
            index = match(run.stages[t].rois, seen.targets.boxes, stage.iou)
            drawn.append(draw(index, count, fraction, torch.randperm(len(index), generator=order_of)))
        ratios = [len(background) / max(len(positives), 1) for positives, background in drawn]
        more = sum(ratio > 1 / fraction - 1 for ratio in ratios)
        print(
            f"{count} boxes, stage {t + 1}: 1 to {max(ratios):.1f} at most; more than 1 to 3 in {more} scenes"
        )

# %% [markdown]
# Where there are fewer positives, background fills the sample up to its size. (In training, the ground-truth
# boxes are added to the proposals, so that every object has a positive.)
#
# ## What do `s0`, `s1`, `s2` mean in a training log?
#
# They are the stages, counted from 0: each has a loss for classes, boxes and masks, and the share of boxes it
# classifies correctly. Here they are for four training scenes, before and after multiplying by the stages'
# loss weights, 1, 0.5 and 0.25.

# %%
loss_table(model, classroom_samples(4, split="train"))

# %% [markdown]
# Don't compare the raw box losses across stages: each is measured in units of its own stds. And a later stage
# faces *harder* negatives: to stage 3, a box with an IoU of 0.65 is background.
#
# ### Exercise 02.5 · Average the stages' class logits
#
# At test time, a box that has gone through stage 3 has been classified three times. The reference averages
# the **logits** (the scores before the softmax).


# %% tags=["exercise"]
def mean_class(logits):
    """Class probabilities of the cascade.

    logits: list of (n, K + 1) float32, one a stage, background last.
    Returns (n, K): softmax of the mean over the stages, without the background's column.
    """
    ### BEGIN SOLUTION
    return torch.stack(logits).mean(dim=0).softmax(dim=1)[:, :-1]
    ### END SOLUTION


check("02.5")

# %%
scores = yours_or_ours("02.5")([stage.class_logits for stage in trace.stages])[trace.detected, trace.labels]
far = float((scores - trace.scores).abs().max())
print(f"{len(scores)} detections; largest difference to the lab's scores {far:.6f}")

# %% [markdown]
# ## Live: follow the boxes
#
# Press *Proposals*, *Stage 1*, *Stage 2*, *Stage 3*. The white dashes are the truth. Which stage moves the
# boxes most? Do the boxes of any object get worse?

# %%
live_boxes(model, samples[:12])

# %% [markdown]
# ## Is the mask head cascaded too?
#
# In name only: there are three mask heads, and each works on the boxes of its stage. But no mask head sees
# what another one produced. Test it: set some weights of mask head 1 to zero and see whether mask 3
# changes.

# %%
before = model.cascade(scene.features, scene.proposals, htc_lab.PLAIN_CASCADE)
first = next(model.roi_head.mask_head[0].parameters())
kept = first.detach().clone()
with torch.no_grad():
    first.zero_()
after = model.cascade(scene.features, scene.proposals, htc_lab.PLAIN_CASCADE)
with torch.no_grad():
    first.copy_(kept)
for t in range(3):
    same = torch.equal(before.stages[t].final_mask_logits, after.stages[t].final_mask_logits)
    print(f"mask of stage {t + 1}: {'the same, bit for bit' if same else 'changed'}")

# %% [markdown]
# ## Take-away
#
# - A head is good at boxes of the quality it was trained on. A cascade gives each head better boxes than
#   the one before.
# - What makes it trainable: rising thresholds, stds that shrink along with the deltas, and a fresh sample
#   at each stage.
# - Scores are the mean over the stages. Boxes form a cascade; masks, in the plain one, don't. The next
#   lessons fix that.
#
# **Next:** [03 · Interleaved execution](03_interleaved.ipynb)
