# %% [markdown]
# # 03 · Interleaved execution
#
# **Goal.** See which boxes a mask head is trained on and which it is tested on, why the two used to differ,
# and what changing a single index does about it.
#
# $$\text{eq. 1: } \mathbf x^{mask}_t=\mathcal P(\mathbf x,\mathbf r_{t-1})\qquad\longrightarrow\qquad
# \text{eq. 2: } \mathbf x^{mask}_t=\mathcal P(\mathbf x,\mathbf r_{t})\tag{2}$$
#
# *About 35 minutes. Builds on lesson 02.*

# %% tags=["parameters"]
model_name = "classroom/interleaved"
other_name = "classroom/plain_cascade"  # trained alike, but by eq. 1
pictures = 40
shown = 16  # place of the picture we look at

# %%
import dataclasses

import torch
from torchvision.ops import roi_align

import htc_lab
from htc_lab.course.checking import check, yours_or_ours
from htc_lab.course.lesson01.figures import show_grid
from htc_lab.course.lesson03.figures import plot_heads_on_boxes, plot_mask_boxes, show_received_and_refined
from htc_lab.course.lesson03.masks import heads_on_boxes, mask_training_boxes
from htc_lab.course.live import live_interleaving
from htc_lab.course.looked_at import look_at
from htc_lab.course.shipped import shipped_table
from htc_lab.course.working_folder import go_to_root
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.layers.boxes import pairwise_iou

go_to_root()
model = htc_lab.load(model_name)
samples = classroom_samples(pictures)
scenes = look_at(model, samples)
scene = scenes[shown]
show_received_and_refined(model, scene)

# %% [markdown]
# Stage 1 on one scene. Left: masks predicted on the boxes that the stage *received* (the proposals), as in
# the plain cascade. Right: on the boxes it has *just refined*. A mask can't reach beyond its box. (This
# scene was chosen because it shows the effect clearly; in many the difference is small. It is measured
# below.)
#
# ## A toy: one object, one box
#
# A mask head that knows the answer but can only draw inside its box:

# %%
mask = torch.zeros(40, 60, dtype=torch.uint8)
mask[8:32, 14:46] = 1
for words, (x1, y1, x2, y2) in {"proposal": (4, 4, 36, 24), "refined": (12, 7, 45, 33)}.items():
    inside = mask[y1:y2, x1:x2].sum()
    print(f"{words}: at best a mask IoU of {float(inside / mask.sum()):.2f}")

# %% [markdown]
# ## Which boxes does mask stage t get?
#
# There are four sets of boxes: the proposals $\mathbf r_0$, and $\mathbf r_1,\mathbf r_2,\mathbf r_3$. In
# training, eq. 1 and eq. 2 choose differently. At **test** time neither matters: masks are drawn once, at the
# end, on the final boxes, by all three heads.
#
# ### Exercise 03.1


# %% tags=["exercise"]
def mask_boxes(boxes, stage, interleaved, training):
    """The boxes that stage `stage` (1, 2, 3) takes its masks on.

    boxes: [r_0, r_1, r_2, r_3], each (n, 4); r_0 are the proposals, r_t is what box stage t made of r_{t-1}.
    interleaved: eq. 2 instead of eq. 1; training: or test time.
    Returns one of the four.
    """
    ### BEGIN SOLUTION
    if not training:
        return boxes[-1]
    return boxes[stage] if interleaved else boxes[stage - 1]
    ### END SOLUTION


check("03.1")

# %% [markdown]
# ## The mismatch, measured
#
# We take scenes through the steps of training (match, sample, refine) and compare the boxes that each mask
# head would be trained on by eq. 1 and by eq. 2 with those it meets at test time.

# %%
plot_mask_boxes(mask_training_boxes(model, scenes))

# %% [markdown]
# Look at mask head 1. With eq. 1 it learns on boxes that are, on average, much poorer than those it will be
# tested on. With eq. 2 the two come closer. For head 3 there is little left to gain: its boxes are good
# either way. The plot shows two more effects:
#
# - With eq. 2 the refined boxes are **matched again**: a box that was background may have become a
#   positive, and one that the head has made worse drops out. The counts in the legend show this.
# - Boxes that started out as ground truth are left out of the refined set: they would teach the head that
#   boxes are always perfect.
#
# ### Exercise 03.2 · What an interleaved mask head learns on


# %% tags=["exercise"]
def mask_positives(refined, from_truth, truth, least_iou):
    """The boxes an interleaved mask head is trained on.

    refined: (n, 4) xyxy px, r_t; from_truth: (n,) bool, those that began as ground truth;
    truth: (g, 4), g at least 1; least_iou: of the stage.
    Returns (boxes (p, 4), object of each (p,) int64), in their order: those that did not begin as truth and
    have an IoU of at least least_iou with an object, the one they overlap most.
    """
    ### BEGIN SOLUTION
    kept = refined[~from_truth]
    best, index = pairwise_iou(kept, truth).max(dim=1)
    positive = best >= least_iou
    return kept[positive], index[positive]
    ### END SOLUTION


check("03.2")

# %% [markdown]
# ### Exercise 03.3 · Mask targets
#
# What should a mask head draw in a box? The true mask, seen through **just this box**, on the head's own
# grid.


# %% tags=["exercise"]
def mask_target(mask, box, size):
    """The true mask seen through a box.

    mask: (H, W) uint8; box: (4,) float32 xyxy px, may reach out of the picture; size: cells of the grid.
    Returns (size, size) float32: 1 where at least half of a cell is object. First clip the box to the image.
    roi_align(input (1, C, H, W), rois (1, 5), (size, size), 1.0, 0, aligned=True) averages within cells; a
    roi is (0, x1, y1, x2, y2).
    """
    ### BEGIN SOLUTION
    height, width = mask.shape
    box = torch.minimum(box.clamp(min=0), torch.tensor([width, height, width, height]))
    rois = torch.cat([torch.zeros(1), box])[None]
    soft = roi_align(mask[None, None].float(), rois, (size, size), 1.0, 0, aligned=True)
    return (soft[0, 0] >= 0.5).float()
    ### END SOLUTION


check("03.3")

# %%
target = yours_or_ours("03.3")
trace = model.cascade(scene.features, scene.proposals)
best = int(pairwise_iou(trace.stages[0].boxes, scene.targets.boxes)[trace.detected[0]].argmax())
grids = {}
for title, box in (("On the proposal", trace.stages[0].rois), ("On the refined box", trace.stages[0].boxes)):
    grids[title] = target(scene.targets.masks[best], box[trace.detected[0]], 28).numpy()
show_grid(grids)

# %% [markdown]
# One object, two boxes, two different targets. A head that has only ever seen the left kind draws the right
# kind less well.
#
# ## Is the mismatch harmful? Ask the heads
#
# Two models whose trainings differ in this one index only. Each of their mask heads runs on each set of
# boxes, always for the same objects:

# %%
other = htc_lab.load(other_name)
plot_heads_on_boxes(
    {
        "Trained by eq. 1": heads_on_boxes(other, look_at(other, samples)),
        "Trained by eq. 2": heads_on_boxes(model, scenes),
    }
)

# %% [markdown]
# Better boxes give better masks with every head: about three hundredths, nearly all of it in the first step,
# from the proposals to stage 1. At test time every head gets the boxes at the right end. Compare mask head 1
# of the two models there.
#
# ## What is it worth?
#
# The same two models on the test pictures of the lab's report: the mask AP of their final result and of each
# stage's masks alone, and the box AP. (AP, average precision, scores a detector from 0 to 100; lesson 06
# computes it.)

# %%
shipped_table(["plain_cascade", "interleaved"])

# %% [markdown]
# Mask head 1 gains by far the most: its training boxes were the furthest from those it is tested on. Head 3
# had little to gain. The final result, a mean over three heads, gains about half a point; the paper reports
# +0.2 (table 2). And box AP? Nothing about the boxes has changed, yet the two values differ a little: no two
# trainings come out the same. So how much of half a point is chance? (Lesson 06.)
#
# ## Does the switch change anything at test time?

# %%
plain = dataclasses.replace(model.config.toggles, interleaved=False)
on = model.cascade(scene.features, scene.proposals)
off = model.cascade(scene.features, scene.proposals, plain)
print("final masks the same, bit for bit:", torch.equal(on.mask_probabilities, off.mask_probabilities))
print("view of stage 1 the same:         ", torch.equal(on.stages[0].mask_logits, off.stages[0].mask_logits))

# %% [markdown]
# No: interleaving is an idea about **training**. What the switch changes is the view of the stages along the
# way.
#
# ## Live
#
# On *Stage 1* switch *Interleaved* off and on. Then go to *Mean* and do the same. The *Model* list also has
# the model that was trained without interleaving.

# %%
live_interleaving({"interleaved": model, "plain_cascade": other}, samples[:12])

# %% [markdown]
# ## Take-away
#
# - Plain: the mask head learns on the boxes *before* refinement and is tested on the boxes after it.
# - Interleaved: one index changes, and training matches testing. No new weights; some extra work in training,
#   none at test time.
# - A mask target belongs to a box. Refined boxes are matched and sampled again.
#
# **Next:** [04 · Mask information flow](04_mask_flow.ipynb)
