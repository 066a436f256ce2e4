# %% [markdown]
# # 05 · The semantic branch
#
# **Goal.** Know what the semantic branch is, what the boxes and masks get from it, and how its loss treats
# pixels that nobody has labelled.
#
# $$\mathbf x^{box}_t=\mathcal P(\mathbf x,\mathbf r_{t-1})+\mathcal P(S(\mathbf x),\mathbf r_{t-1}),\qquad
# \mathbf x^{mask}_t=\mathcal P(\mathbf x,\mathbf r_t)+\mathcal P(S(\mathbf x),\mathbf r_t)\tag{6}$$
#
# *About 40 minutes. Builds on lessons 01 and 04.*

# %% tags=["parameters"]
model_name = "classroom/htc"
other_name = "classroom/mask_flow"  # trained alike, but without the branch
pictures = 60
shown = 1  # place of the picture we look at

# %%
import dataclasses

import torch
import torch.nn.functional as F

import htc_lab
from htc_lab.config import PAPER_SEMANTIC, REFERENCE_SEMANTIC
from htc_lab.course.checking import check, yours_or_ours
from htc_lab.course.lesson05.context import class_iou, count_decoys
from htc_lab.course.lesson05.figures import plot_class_iou, plot_decoys, show_features, show_prediction
from htc_lab.course.live import live_context
from htc_lab.course.looked_at import look_at
from htc_lab.course.plugging import fusing_with
from htc_lab.course.shipped import shipped_table
from htc_lab.course.working_folder import go_to_root
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.data.classroom.scenes import SCENE_STUFF, SCENE_THINGS
from htc_lab.plots import show_model

go_to_root()
model = htc_lab.load(model_name)
samples = classroom_samples(pictures)
scenes = look_at(model, samples)
scene = scenes[shown]
names = (*SCENE_THINGS, *SCENE_STUFF)
show_prediction(scene, names)

# %% [markdown]
# **How do I see what the branch predicts?** Like this: `features.semantic_logits` holds a score for each
# class in each cell; the class with the highest score is drawn on the right. It needs no boxes: the branch
# labels every pixel of the scene at once, objects and surroundings alike.

# %%
plot_class_iou(class_iou(scenes, len(names)), names, len(SCENE_THINGS))

# %% [markdown]
# Large areas of stuff are easy, small things are hard. Keep that in mind: what the boxes learn from the
# branch is above all **where they are**.
#
# ## A dummy: the simplest branch
#
# All levels of the feature pyramid, brought to one size and added up. That is already a map that knows fine
# detail (from the first levels) and the whole scene (from the last). The paper's model adds up five levels at
# stride 8, one cell for 8 × 8 px; this small one has four, and adds them up at stride 4.

# %%
levels = scene.features.levels
show_features({f"P{i + 2}, stride {4 * 2**i}": level for i, level in enumerate(levels)})

# %% [markdown]
# ### Exercise 05.1 · Merge the pyramid at one level


# %% tags=["exercise"]
def merge_levels(levels, target):
    """All levels at the size of one, added up.

    levels: list of (B, C, h, w) float32, finest first; target: the place of the level whose size counts.
    Returns (B, C, h, w) at that size. Resize bilinearly with align_corners=True, as the reference does.
    """
    ### BEGIN SOLUTION
    size = levels[target].shape[-2:]
    return sum(F.interpolate(level, size=size, mode="bilinear", align_corners=True) for level in levels)
    ### END SOLUTION


check("05.1")

# %% [markdown]
# ## The real one
#
# The branch passes each resized level through a 1 × 1 convolution and the sum through several 3 × 3
# convolutions, and has **two outputs**: class logits for its own loss, and a feature $S(\mathbf x)$ for boxes
# and masks. The box and mask heads never see the logits.

# %%
merged = yours_or_ours("05.1")(levels, model.config.semantic.level)
feature = scene.features.semantic_feature
show_features({"Your sum of the levels": merged, "S(x), the feature that is fused": feature})

# %% [markdown]
# ### Exercise 05.2 · Fuse the semantic feature for boxes and masks
#
# $\mathcal P(S(\mathbf x),\mathbf r)$ is pooled once, at 14 × 14. Mask heads take it as it is. Box heads look
# at 7 × 7 cells, so for them it is averaged down.


# %% tags=["exercise"]
def fuse_context(features, context):
    """P(x, r) + P(S(x), r).

    features: (N, C, s, s) float32, s = 7 for boxes, 14 for masks; context: (N, C, 14, 14).
    Returns (N, C, s, s); where s is 7, each cell gets the mean of 2 x 2 cells of the context.
    """
    ### BEGIN SOLUTION
    if features.shape[-1] == context.shape[-1]:
        return features + context
    return features + F.avg_pool2d(context, 2)
    ### END SOLUTION


check("05.2")

# %%
with fusing_with(yours_or_ours("05.2")):
    mine = model.cascade(scene.features, scene.proposals)
own = model.cascade(scene.features, scene.proposals)
print("the model with it says the same, bit for bit:", torch.equal(mine.scores, own.scores))

# %% [markdown]
# (In the model itself, the context for the box heads is already averaged when it arrives: averaging while
# pooling gives the same values and is cheaper.)
#
# **What if?** Three times the context: what happens to the objects, and what to the false ones? Try other
# rules: the context alone, or upside down (`features + context.flip(2)`), so that the heads are told about a
# different place.


# %%
def what_if(features, context):
    return features + 3 * context


with fusing_with(what_if):
    picture = show_model(model, samples[shown])
    explorer = htc_lab.explore(samples[shown], {"what if": model})
picture

# %%
explorer

# %% [markdown]
# ## What is it good for? Decoys
#
# The scenes contain *decoys*: the outline of a kite, but on sand; a can, but in the sky. They look like the
# thing but count as background, and only the surroundings give them away. How many does the model fall for,
# with the semantic feature and with it switched off? And how many does a model fall for that was trained the
# same way but without the branch?

# %%
other = htc_lab.load(other_name)
plot_decoys(
    {
        "trained with S(x)": count_decoys(model, scenes, first=0, semantic=True),
        "the same, S(x) switched off": count_decoys(model, scenes, first=0, semantic=False),
        "trained without S(x)": count_decoys(other, look_at(other, samples), first=0, semantic=False),
    }
)

# %% [markdown]
# The second bar shows how much the model relies on the feature: with it switched off, its heads look at
# something they have never seen. The third shows what the idea is worth. A model without the branch is not
# blind to the surroundings either: the coarse levels of the pyramid see far beyond a box. And ask whether a
# difference is larger than chance: a count varies by about its square root.
#
# On the test pictures of the lab's report the same two models reach:

# %%
shipped_table(["mask_flow", "htc"])

# %% [markdown]
# In the paper the branch is the only idea that also improves box AP (+0.7; mask AP +0.6; table 2). Does it
# here? Masks gain about as much as in the paper, boxes don't. Would you publish it? This is one training of
# each, and lesson 06 shows what other seeds say.
#
# **Will it help on my data?** It can help where the surroundings say what a thing is, and does little where
# every picture has the same plain background: then the map holds nothing that the boxes don't already know.
#
# ## A loss with unknown pixels
#
# In a map, 255 means *unknown*. It is not a class, and nothing has to be renumbered for it. Pictures of
# different sizes are padded to make a batch, and the padding is 255 as well. None of these pixels enters the
# loss. But what is the sum over the others **divided by**: the number of known pixels, or of all pixels?
#
# ### Exercise 05.3 · Semantic loss with ignored pixels


# %% tags=["exercise"]
def segmentation_loss(logits, labels, count_ignored):
    """Cross-entropy of the semantic branch.

    logits: (B, S, h, w) float32; labels: (B, h, w) int64, 255 is unknown.
    count_ignored: divide the sum by all pixels instead of by the known ones.
    Returns a scalar tensor; 0 where no pixel is known.
    """
    ### BEGIN SOLUTION
    total = F.cross_entropy(logits, labels, ignore_index=255, reduction="sum")
    pixels = labels.numel() if count_ignored else int((labels != 255).sum())
    return total / max(pixels, 1)
    ### END SOLUTION


check("05.3")

# %% [markdown]
# **Weight 1 or 0.2?** The paper gives the branch's loss a weight of 1 (table 5 compares 0.5, 1, 2 and 3)
# and doesn't say which pixels the mean is taken over; the lab's paper setting takes the known ones. The
# reference's configs have a weight of 0.2, and it divides by all pixels. Here is what is left of the loss
# of one and the same map as more and more of it becomes unknown:

# %%
loss = yours_or_ours("05.3")
logits = scene.features.semantic_logits
stride = scene.image.shape[-1] // logits.shape[-1]
labels = scene.targets.semantic[::stride, ::stride].long()[None]
chance = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0))
print("unknown   paper   reference")
for share in (0.0, 0.25, 0.5, 0.75):
    some = labels.clone()
    some[chance < share] = 255
    row = []
    for config in (PAPER_SEMANTIC, REFERENCE_SEMANTIC):
        row.append(config.loss_weight * float(loss(logits, some, not config.mean_over_valid)))
    print(f"   {share:4.0%}   {row[0]:.4f}   {row[1]:.4f}")

# %% [markdown]
# With the reference's rule, the more of a batch is padding or unknown, the less the branch is trained. The
# lab has both as presets (`PAPER_SEMANTIC`, `REFERENCE_SEMANTIC`). A loss weight says little unless you
# also say how the loss is averaged.
#
# ## Live
#
# Switch *Semantic → boxes* and *Semantic → masks* off and on, one at a time, and look for false objects
# (hatched) and missed ones in several pictures. Which of the two switches moves the boxes? The *Model* list
# also has the model that was trained without the branch.

# %%
live_context({"htc": model, "mask_flow": other}, samples[:12])

# %%
for name in ("semantic_box", "semantic_mask"):
    off = dataclasses.replace(model.config.toggles, **{name: False})
    trace = model.cascade(scene.features, scene.proposals, off)
    moved = float((trace.stages[-1].boxes - own.stages[-1].boxes).abs().max())
    print(f"{name} off: the final boxes move by up to {moved:.1f} px")

# %% [markdown]
# ## Take-away
#
# - The branch sees the whole scene, pixel by pixel, and hands a *feature* to boxes and masks; its class
#   logits only serve its own loss.
# - Maps are needed for training only. Where there are none, they are made from the instance masks (lesson
#   01).
# - When you state the weight of a loss, say how the loss is averaged.
#
# **Next:** [06 · The ablation](06_ablation.ipynb): train all four models and see which gains are real.
