# %% [markdown]
# # 04 · Mask information flow
#
# **Goal.** Turn the mask heads into a cascade too: write $\mathcal G_t$ and $\mathcal F$, run the earlier
# heads again on the current boxes, average the stages, and see what each of these is good for.
#
# $$\mathbf m_t=M_t\big(\mathcal F(\mathbf x^{mask}_t,\mathbf m^-_{t-1})\big)\tag{3}$$
# $$\mathcal F(\mathbf x^{mask}_t,\mathbf m^-_{t-1})=
# \mathbf x^{mask}_t+\mathcal G_t(\mathbf m^-_{t-1})\tag{4}$$
# $$\mathbf m^-_1=M^-_1(\mathbf x^{mask}_t),\quad \mathbf m^-_2=M^-_2\big(\mathcal F(\mathbf x^{mask}_t,
# \mathbf m^-_1)\big),\ \dots\tag{5}$$
#
# *About 45 minutes. Builds on lessons 02 and 03.*

# %% tags=["parameters"]
model_name = "classroom/mask_flow"
other_name = "classroom/interleaved"  # trained alike, but without the flow
pictures = 40
shown = 11  # place of the picture we look at
scored = 60  # pictures of data/classroom that the AP is measured on
scenes_on_disk = (1000, 200, 500)

# %%
import dataclasses

import torch
import torch.nn.functional as F

import htc_lab
from htc_lab.course.checking import check, yours_or_ours
from htc_lab.course.lesson02.figures import plot_curves
from htc_lab.course.lesson03.figures import found_places, plot_reach, show_soft_masks
from htc_lab.course.lesson03.masks import kept_or_rerun, loss_reach
from htc_lab.course.lesson04.passes import mask_passes, pass_table
from htc_lab.course.lesson04.stage_ap import stage_ap_table
from htc_lab.course.live import live_flow
from htc_lab.course.looked_at import look_at
from htc_lab.course.plugging import flowing_with
from htc_lab.course.shipped import shipped_table
from htc_lab.course.working_folder import go_to_root
from htc_lab.data.classroom.samples import classroom_data, classroom_samples
from htc_lab.layers.mask_head import MaskHead

go_to_root()
model = htc_lab.load(model_name)
samples = classroom_samples(pictures)
scenes = look_at(model, samples)
scene = scenes[shown]
cut = dataclasses.replace(model.config.toggles, mask_flow=False)
with_flow = model.cascade(scene.features, scene.proposals)
without = model.cascade(scene.features, scene.proposals, cut)
show_soft_masks({"flow on": with_flow, "flow off": without}, found_places(with_flow, scene.targets))

# %% [markdown]
# Two objects, each on its final box: the masks of the three mask heads (28 × 28 cells, bright is object)
# and their mean. In the rows *flow off*, the same weights run with the flow cut. Stage 1 is the same in
# both, since nothing comes before it. Stages 2 and 3 have learnt to rely on what they receive.
#
# ## A dummy first: three heads that don't meet
#
# A mask head is a **trunk** of convolutions followed by a deconvolution and an output layer with one logit
# per class. The feature that leaves the trunk is $\mathbf m^-$.

# %%
x = torch.randn(5, 48, 14, 14)  # RoI features of five boxes
heads = [MaskHead(48, 32, 2, 6, takes_flow=t > 0) for t in range(3)]
for t, head in enumerate(heads, start=1):
    trunk = head.trunk(x)
    print(
        f"head {t}: x {tuple(x.shape)} -> m- {tuple(trunk.shape)} -> logits {tuple(head.logits(trunk).shape)}"
    )

# %% [markdown]
# That is the plain cascade: every head starts from `x` alone. Now let them meet.
#
# ### Exercise 04.1 · $\mathcal G_t$, a 1 × 1 convolution


# %% tags=["exercise"]
def flow_layer(previous, weight, bias):
    """G_t: what of the mask feature before is handed on.

    previous: (N, D, h, w) float32; weight: (C, D, 1, 1); bias: (C,).
    Returns (N, C, h, w): a 1x1 convolution, then a ReLU (the reference has one; the paper writes none).
    """
    ### BEGIN SOLUTION
    return F.relu(F.conv2d(previous, weight, bias))
    ### END SOLUTION


check("04.1")

# %% [markdown]
# ### Exercise 04.2 · $\mathcal F$, what mask head t looks at


# %% tags=["exercise"]
def fuse(x, previous, flow):
    """F of eq. 4.

    x: (N, C, h, w) float32, the RoI feature; previous: (N, D, h, w), the mask feature of the head before, or
    None for the first head; flow: a module, G_t: (N, D, h, w) to (N, C, h, w).
    Returns (N, C, h, w).
    """
    ### BEGIN SOLUTION
    if previous is None:
        return x
    return x + flow(previous)
    ### END SOLUTION


check("04.2")

# %% [markdown]
# Your $\mathcal F$ in the live model:

# %%
with flowing_with(yours_or_ours("04.2")):
    mine = model.cascade(scene.features, scene.proposals)
print(
    "masks as with the lab's own, bit for bit:",
    torch.equal(mine.mask_probabilities, with_flow.mask_probabilities),
)
price = sum(
    p.numel() for head in model.roi_head.mask_head if head.conv_res for p in head.conv_res.parameters()
)
print(f"all the weights of the flow: {price} of {sum(p.numel() for p in model.parameters())}")

# %% [markdown]
# **What if?** Plug in another $\mathcal F$ and look at stages 2 and 3: half the flow, as here; the flow
# alone, without $\mathbf x$; twice as much.


# %%
def what_if(x, previous, flow):
    return x if previous is None else x + 0.5 * flow(previous)


with flowing_with(what_if):
    changed = model.cascade(scene.features, scene.proposals)
    explorer = htc_lab.explore(
        samples[shown],
        {"what if": model},
        toggles=model.config.toggles,
        stage=3,
        hide=["semantic", "off_means"],  # the next lesson's
    )
show_soft_masks({"yours": with_flow, "what if": changed}, found_places(with_flow, scene.targets, most=1))

# %%
explorer

# %% [markdown]
# ## Which boxes feed stage t, if stage t - 1 had others?
#
# Nearly every reader of the paper asks this. Stage 2's mask feature was computed on stage 2's boxes; stage 3
# has since moved them. Cell (3, 5) of one feature is not the same spot in the picture as cell (3, 5) of the
# other, so adding the two would mix two places. Eq. 5 is the answer: nothing is kept. The earlier trunks are
# **run again on the current boxes**.
#
# ### Exercise 04.3 · Run the earlier heads again


# %% tags=["exercise"]
def trunk_chain(heads, x):
    """m-_1, ..., m-_t of eq. 5, all on the boxes that x was pooled from.

    heads: mask heads 1..t; head.trunk(features) is M-, head.conv_res is G_t (None for the first).
    x: (N, C, h, w) float32.
    Returns a list of t tensors.
    """
    ### BEGIN SOLUTION
    chain = []
    for head in heads:
        seen = x if not chain else x + head.conv_res(chain[-1])
        chain.append(head.trunk(seen))
    return chain
    ### END SOLUTION


check("04.3")

# %% [markdown]
# **And if we kept them?** An experiment: stage 3 stays on its boxes, but the earlier mask features come from
# boxes that lie further and further away.

# %%
measured = kept_or_rerun(model, scenes, fuse=yours_or_ours("04.2"))
plot_curves(
    measured.box_iou,
    {"features kept from other boxes": measured.kept},
    {"heads run again on these boxes (eq. 5)": measured.rerun, "no flow at all": measured.without},
    "Mask IoU of stage 3",
    "IoU of the earlier boxes with the present ones",
    "mask IoU",
)

# %% [markdown]
# At the right end nothing has moved and there is no difference. The further apart the boxes lie, the more the
# kept feature describes another place.
#
# ## Are boxes updated between the mask stages?
#
# In training, yes: every stage has its own boxes. And at test time? Count how often each trunk runs, and on
# how many sets of boxes:

# %%
passes = mask_passes(model, scene)
pass_table(passes)

# %%
pooled = passes["test"].boxes[0]
print("at test time all mask heads look at the final boxes:", torch.equal(pooled, with_flow.boxes))

# %% [markdown]
# In training, stage 1 runs one trunk, stage 2 two, and stage 3 three: six in all. That is the price of eq. 5.
# At test time the boxes are finished before the first mask is drawn, nothing moves between the mask stages,
# and one pass through the three trunks serves them all.
#
# ## What the flow does in training
#
# No gradient is stopped along the way: the loss of stage 3 also trains the trunks of stages 1 and 2.

# %%
reach = {"flow on": loss_reach(model, scene, flow=True), "flow off": loss_reach(model, scene, flow=False)}
plot_reach(reach)

# %% [markdown]
# Without the flow, the loss of stage 3 trains head 3 and nothing else. With it, the loss reaches every
# trunk and both $\mathcal G$; it doesn't reach the output layers of the earlier heads, because the flow
# branches off before them.
#
# ## Are the masks averaged?
#
# In the paper and in versions 1 and 2 of the reference implementation, yes: the probabilities of all stages
# are. In version 3 one line is indented one level too little and so falls outside the loop over the stages;
# what comes out is the last stage's mask alone. The lab averages; switch *Average masks* off to see the
# other.
#
# ### Exercise 04.4 · Average the stages' masks


# %% tags=["exercise"]
def mean_mask(logits):
    """The final masks.

    logits: list of (N, h, w) float32, one a stage, for the class of each detection.
    Returns (N, h, w): the mean over the stages of the probabilities (sigmoid first, then the mean).
    """
    ### BEGIN SOLUTION
    return torch.stack([stage.sigmoid() for stage in logits]).mean(dim=0)
    ### END SOLUTION


check("04.4")

# %%
mean = yours_or_ours("04.4")([stage.final_mask_logits for stage in with_flow.stages])
print(
    f"largest difference to the lab's masks: {float((mean - with_flow.mask_probabilities).abs().max()):.6f}"
)

# %% [markdown]
# What is averaging worth? Mask AP of each stage's masks and of their mean, on the same final boxes, with the
# flow on and with the flow cut:

# %%
stage_ap_table(model, classroom_data(scenes_on_disk), scored)

# %% [markdown]
# With the flow cut, heads 2 and 3 fall apart: they get less than they have learnt to expect. A model that
# never had the flow is not like that. So here are two models whose trainings differ in the flow only, on
# more pictures:

# %%
shipped_table(["interleaved", "mask_flow"])

# %% [markdown]
# Stage 1 is about as good in both: nothing comes before it. Stages 2 and 3 gain from the flow, stage 3 the
# most. On COCO, as reported in the paper (table 3, mask AP), the three stages reach 35.5, 36.3 and 35.9
# without the flow and their mean 36.7; with the flow 35.5, 37.0, 36.8, and 37.4 for the mean. The same
# pattern, with one difference: there the mean beats every stage. Does it here? With the flow, stage 3
# already knows what the other heads know; averaging then gives the weaker heads a second say.
#
# ## Live
#
# Go to *Stage 3* and use the switch *Mask information flow*. Then go to *Mean* and try *Average masks*. The
# *Model* list also has the model that was trained without the flow.

# %%
live_flow({"mask_flow": model, "interleaved": htc_lab.load(other_name)}, samples[:12])

# %% [markdown]
# ## Take-away
#
# - $\mathcal F$ adds, $\mathcal G_t$ is a 1 × 1 convolution: two small layers turn three mask heads into a
#   cascade.
# - Mask features are never kept from other boxes. The earlier heads run again on the current ones.
# - The flow works in training as well: a late loss trains early trunks.
# - The result is the mean of the stages' probabilities.
#
# **Next:** [05 · The semantic branch](05_semantic.ipynb)
