# %% [markdown]
# # 00 · A tour of Hybrid Task Cascade
#
# **Goal.** See what a cascade does to boxes and masks, stage by stage, and switch off each idea of the
# paper [Hybrid Task Cascade for Instance Segmentation](https://arxiv.org/abs/1901.07518) (CVPR 2019) in a
# trained model.
#
# An instance segmentation model gives every object a box, a class, a score and a mask. HTC does this three
# times in a row: each stage starts from the previous stage's boxes and improves them.
#
# Run the cells one at a time with Shift+Enter, or all of them with *Run ▸ Run All Cells*.

# %% tags=["parameters"]
model_name = "classroom/htc"
pictures = 12

# %%
import torch

import htc_lab
from htc_lab.course.working_folder import go_to_root
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.explorer.stage_view import StageView
from htc_lab.plots import show_sample, show_stages

go_to_root()
model = htc_lab.load(model_name)
samples = classroom_samples(pictures)
sample = samples[1]

with torch.inference_mode():
    features = model.encode([sample.image])
    proposals = model.propose(features)
    trace = model.cascade(features, proposals)
show_stages(sample.image, trace, model.class_names, sample.targets)

# %% [markdown]
# Read the row from left to right.
#
# - **Proposals.** The region proposal network (RPN) says where *something* might be: boxes without a class.
#   Those that end up as objects are in colour.
# - **Stages 1 to 3.** Each stage looks at the picture inside its boxes, moves the boxes, classifies what they
#   contain, and draws a mask on a grid of 28 × 28 cells. The next stage starts from these improved boxes.
# - **Mean.** The final result: the boxes of stage 3, each with the mean of the three stages' masks.
#
# IoU (intersection over union) is the area that two shapes share, divided by the area they cover together: 1
# is a perfect match. The line below each picture gives its mean over the same objects, so you can see which
# stage improved what.
#
# ## What is really there
#
# The scenes are drawn by a program, so the truth is known to the pixel. Objects are bicycles, boats, kites
# and the like. A *decoy*, say a watering can in the sky, looks like one of them but is in the wrong place and
# counts as background; nothing marks decoys in the pictures, so what looks like a missed bicycle may be one.
# The semantic map also names the stuff (sky, sand, road...): it teaches HTC where each kind of object
# belongs.

# %%
show_sample(sample, model.class_names)

# %% [markdown]
# ## Three calls
#
# `encode` runs the backbone; it is the slow part, needed once per image. `propose` runs the RPN. `cascade`
# runs the three stages and records everything they saw and predicted in a `StageTrace`; the pictures above
# and below are drawn from such traces.

# %%
told = trace.with_truth([sample.targets])
found = trace.scores >= 0.3
print(f"{int(found.sum())} detections score at least 0.3; mean over them:")
for t, stage in enumerate(told.stages):
    own = told.stage_scores(t)[found]
    iou = stage.truth.iou[told.detected][found]
    print(f"stage {t + 1}: box IoU with the nearest true object {iou.mean():.2f}, score {own.mean():.2f}")

# %% [markdown]
# ## Switch the ideas off
#
# Four switches lead from a plain cascade to a hybrid task cascade:
#
# - **Interleaved**: a stage predicts its masks on the boxes it has *just* refined, not on those it received.
# - **Mask information flow**: each mask head also receives the features of the mask head before it.
# - **Semantic → boxes** and **Semantic → masks**: features from a branch that has learnt to label the whole
#   scene (here is sky, there is road) are added to what the box heads and the mask heads look at.
#
# Try these, and read the line under the picture each time:
#
# 1. Press *Proposals*, *Stage 1*, *Stage 2*, *Stage 3*, *Mean* in turn. Which stage moves the boxes most?
# 2. Go to *Stage 3* and switch *Mask information flow* off and on.
# 3. Go to *Mean* and switch *Interleaved* off: nothing moves. Interleaving is an idea about training; at test
#    time the final masks always come from the final boxes. On *Stage 1* you can see what it changes.
# 4. Switch *Truth* on (white dashes) and look for missed and false objects in other pictures. One object can
#    be both: a detection with the wrong class is false, and the object it lies on still counts as missed.

# %%
view = StageView(model, samples)
view

# %% [markdown]
# A switch here cuts an idea out of a model that was **trained with it**. That shows what this part does, not
# what the idea is worth: for that you need a second model, trained without it. The ablation in lesson 06
# trains one.
#
# ## Take-away
#
# - A cascade refines: each stage starts from better boxes than the one before.
# - HTC joins the two tasks inside the cascade: boxes help masks (interleaving), masks help later masks
#   (information flow), and the scene helps both (semantic branch).
# - One picture proves nothing. Lesson 06 trains all four models and compares them on many pictures.
#
# **Open next:** [01 · Data and COCO truth](01_data.ipynb), or [06 · The ablation](06_ablation.ipynb).
# **Read next:** `htc_lab/stages/`, one file per idea.
