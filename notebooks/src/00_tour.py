# %% [markdown]
# # 00 · A tour of Hybrid Task Cascade
#
# **Goal.** See what a cascade does to boxes and masks, stage by stage, and switch off each idea of the
# paper [Hybrid Task Cascade for Instance Segmentation](https://arxiv.org/abs/1901.07518) (CVPR 2019) in a
# trained model.
#
# An instance segmentation model gives every object a box, a class, a score and a mask. HTC does this three
# times in a row: each stage starts from the boxes of the one before and makes them better.
#
# Run the cells one by one with Shift+Enter, or all of them with *Run ▸ Run All Cells*.

# %% tags=["parameters"]
model_name = "classroom/htc"
pictures = 12

# %%
import torch

import htc_lab
from htc_lab.course.scenes import classroom_samples
from htc_lab.course.working_folder import go_to_root
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
# - **Proposals.** The region proposal network (RPN) says where *something* may be: boxes without a class.
#   Those that will end as an object are in colour.
# - **Stages 1 to 3.** Each stage looks at the picture inside its boxes, moves them, says what they hold,
#   and draws a mask of 28 × 28 cells. Its own result is where the next stage starts.
# - **Mean.** The result: the boxes of stage 3, and for each the mean of the three stages' masks.
#
# IoU is the area that two shapes share, divided by the area they cover together: 1 is a perfect hit. Below
# each picture stands its mean over the same objects, so you can see which stage improved what.
#
# ## What is really there
#
# The scenes are made by a program, so the truth is known to the pixel. Objects are bicycles, boats, kites
# and the like; a *decoy*, say a watering can in the sky, looks like one of them in the wrong place and
# counts as background. The semantic map names the stuff (sky, sand, road...) as well: with it, HTC learns
# where a thing may be.

# %%
show_sample(sample, model.class_names)

# %% [markdown]
# ## Three calls
#
# `encode` runs the backbone and is the slow part, once an image. `propose` is the RPN. `cascade` runs the
# three stages and keeps everything they saw and said in a `StageTrace`: all pictures of this lab come from
# such a trace.

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
# Four ideas make a plain cascade a hybrid task cascade:
#
# - **Interleaved**: a stage takes its masks on the boxes it has *just* refined, not on those it received.
# - **Mask information flow**: each mask head also sees what the mask head before it saw.
# - **Semantic → boxes** and **Semantic → masks**: what a branch for the whole scene has learnt (here is
#   sky, there is road) is added to what the box and the mask heads look at.
#
# Try these, and read the line under the picture each time:
#
# 1. Press *Proposals*, *Stage 1*, *Stage 2*, *Stage 3*, *Mean* in turn. Which stage moves the boxes most?
# 2. Go to *Stage 3* and switch *Mask information flow* off and on.
# 3. Go to *Mean* and switch *Interleaved* off: nothing moves. It is an idea about training; at test time
#    the final masks always come from the final boxes. On *Stage 1* you see what it changes.
# 4. Switch *Truth* on (white dashes) and look for missed and false objects in other pictures.

# %%
view = StageView(model, samples)
view

# %% [markdown]
# A switch here cuts an idea out of a model that was **trained with it**. That shows what the part does, not
# what the idea is worth: for that, a second model has to be trained without it. This is what the ablation
# does.
#
# ## Take-away
#
# - A cascade refines: each stage starts from better boxes than the one before.
# - HTC joins the two tasks inside the cascade: boxes help masks (interleaving), masks help later masks
#   (information flow), and the scene helps both (semantic branch).
# - One picture proves nothing. Lesson 06 trains all four models and compares them on many pictures.
#
# **Open next:** [01 · Data and COCO truth](01_data.ipynb), or [06 · The ablation](06_ablation.ipynb).
# **Read next:** `htc_lab/stages/`, one file for each idea.
