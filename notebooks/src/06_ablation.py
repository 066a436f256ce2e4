# %% [markdown]
# # 06 · The ablation
#
# **Goal.** Train the four rungs of the paper's ladder yourself, measure what each idea adds, and say what the
# numbers do and don't prove.
#
# Plain cascade → + interleaved → + mask information flow → + semantic branch (HTC)
#
# The rungs differ in their switches and in nothing else: same pictures in the same order, same number of
# steps, same initial weights wherever two rungs share a part. So a difference in AP is due to the idea or to
# chance. Which of the two is the question of this lesson.
#
# *About 45 minutes. Builds on lessons 02 to 05.* Choose in the next cell what to train:
#
# | `size` | steps per rung | test pictures | two cores, no GPU |
# |---|---|---|---|
# | `"quick"` | 600 | 200 | six to ten minutes |
# | `"classroom"` | 1000 | 1000 | about three quarters of an hour |
#
# With `data = "path/to/folder"` the same ladder is trained on your own pictures (lesson 07 says what the
# folder must contain). Finished trainings stay in `runs/` and are not repeated; a stopped one continues where
# it left off.

# %% tags=["parameters"]
data = None  # a folder with COCO-format data; None: the classroom scenes
size = "quick"  # or "classroom"; "tiny" only shows that all parts work
seeds = (0,)  # one training of every rung for each
out = None  # folder of the runs; None: one for each data set and size

# %%
from itertools import pairwise
from pathlib import Path

import numpy as np
from IPython.display import Markdown

from htc_lab.ablation.ladder import ladder_folder, open_ladder
from htc_lab.course.checking import check, yours_or_ours
from htc_lab.course.lesson06.figures import plot_seeds
from htc_lab.course.lesson06.gain import image_scores
from htc_lab.course.lesson06.kept import beside_kept, kept_findings, kept_record, kept_report
from htc_lab.course.lesson06.training import finished_rung, train_beside
from htc_lab.course.working_folder import go_to_root
from htc_lab.data.dataset import CocoDataset
from htc_lab.explorer.stage_view import StageView
from htc_lab.plots import compare_rungs, show_model, show_sample
from htc_lab.report.ladder_figures import plot_ladder, plot_losses, plot_stage_ap
from htc_lab.report.situation_figures import plot_situations

go_to_root()
own = None if data is None else Path(data)
folder = ladder_folder(own, size) if out is None else Path(out)
ladder = open_ladder(own, folder, size=size, seeds=tuple(seeds))
test = CocoDataset(ladder.data.test, ladder.semantic)
first = [test[i] for i in range(min(20, len(ladder.test)))]
sample = max(first, key=lambda s: len(s.targets.boxes))
print(ladder.data.describe())
print(f"Each rung: {ladder.schedule.steps} steps of {ladder.schedule.batch} images, {len(seeds)} seed(s).")
show_sample(sample, test.class_names)

# %% [markdown]
# This test picture stays with us: of the first twenty, the one with the most objects. No rung sees it in
# training.
#
# ## Start the trainings
#
# They run in processes of their own, as many side by side as there are cores, so this notebook stays free.
# The dashboard shows the losses, the AP reached so far, and sample pictures. *Stop* ends a training after its
# current step; *Resume* continues it. Closing the notebook stops nothing, and after a restart this cell finds
# the training again.
#
# To have enough steps in a few minutes, the size `quick` keeps the backbone of the base as it is: its
# features of every picture are computed once, and all four rungs learn from them. Everything behind it is
# trained.
#
# Read on while it trains. Do you expect the four curves to separate?

# %%
board = train_beside(ladder, data, size)
board

# %% [markdown]
# ## Rung 1: plain cascade
#
# Three stages in a row. Stage $t$ pools features inside the boxes of the stage before, $\mathbf r_{t-1}$,
# once for the box head and once for the mask head. Boxes are passed on to the next stage; masks are not.
#
# $$\mathbf x^{box}_t=\mathcal P(\mathbf x,\mathbf r_{t-1}),\quad \mathbf r_t=B_t(\mathbf x^{box}_t),\qquad
# \mathbf x^{mask}_t=\mathcal P(\mathbf x,\mathbf r_{t-1}),\quad \mathbf m_t=M_t(\mathbf x^{mask}_t)\tag{1}$$
#
# The next cell waits until this rung is trained. (If no process is training it, because you pressed *Stop*,
# the cell continues the training itself.)

# %%
plain = finished_rung(ladder, "plain_cascade")
Markdown(ladder.markdown())

# %% [markdown]
# The losses of this training: boxes and masks of all three stages, the proposals, and their sum.

# %%
plot_losses(plain.run_folders[0])

# %% [markdown]
# What each stage makes of our picture:

# %%
show_model(ladder.load("plain_cascade"), sample)

# %% [markdown]
# ## Rung 2: + interleaved execution
#
# The mask head of a stage waits for the box head of the same stage and uses the boxes it has **just**
# refined. So in training, each mask head learns on the kind of boxes it will get at test time.
#
# $$\mathbf x^{mask}_t=\mathcal P(\mathbf x,\mathbf r_{t}),\quad \mathbf m_t=M_t(\mathbf x^{mask}_t)\tag{2}$$

# %%
finished_rung(ladder, "interleaved")
Markdown(ladder.markdown())

# %%
show_model(ladder.load("interleaved"), sample)

# %% [markdown]
# ## Rung 3: + mask information flow
#
# So far the three mask heads know nothing of each other. Now the mask feature of the previous head,
# $\mathbf m^-_{t-1}$, passes through a 1 × 1 convolution $\mathcal G_t$ and is added to what the head sees.
# It is computed again on the *current* boxes, so that both features describe the same region.
#
# $$\mathbf m_t=M_t\big(\mathbf x^{mask}_t+\mathcal G_t(\mathbf m^-_{t-1})\big)\tag{3, 4}$$

# %%
finished_rung(ladder, "mask_flow")
Markdown(ladder.markdown())

# %%
show_model(ladder.load("mask_flow"), sample)

# %% [markdown]
# ## Rung 4: + semantic branch = HTC
#
# A small fully convolutional branch $S$ learns to label every pixel of the scene. Its feature is pooled
# inside the boxes and added for both tasks, so that "there is sky around it" can count for a kite and against
# a watering can.
#
# $$\mathbf x^{box}_t=\mathcal P(\mathbf x,\mathbf r_{t-1})+\mathcal P(S(\mathbf x),\mathbf r_{t-1}),\qquad
# \mathbf x^{mask}_t=\mathcal P(\mathbf x,\mathbf r_{t})+\mathcal P(S(\mathbf x),\mathbf r_{t})\tag{6}$$

# %%
finished_rung(ladder, "htc")
Markdown(ladder.markdown())

# %%
show_model(ladder.load("htc"), sample)

# %% [markdown]
# ## The ladder
#
# The table above puts your figures beside those reported in the paper (table 2): COCO val2017, ResNet-50, 20
# epochs on 16 GPUs. Yours come from a small model, different pictures and a short training, so compare the
# **steps** from rung to rung, not the heights.

# %%
results = ladder.results()
ladder.save()
plot_ladder(results)

# %% [markdown]
# **Verdict.** The interval says how far chance alone could have moved the difference. If it contains 0, the
# honest sentence is "not significant", whatever the bars look like.

# %%
print(ladder.verdict())

# %% [markdown]
# ## Where it comes from
#
# The masks of each stage alone, on the same final boxes, and their mean. The paper (table 3) finds that the
# mask information flow helps the later stages, and that the mean is better than any single stage. Is that so
# in your run?

# %%
plot_stage_ap(results)

# %% [markdown]
# Our picture, as the four models see it. One picture is an example, not a proof.

# %%
models = {name: ladder.load(name) for name in ladder.rungs}
compare_rungs(sample.image, models, test.class_names, sample.targets)

# %% [markdown]
# ## Trained without it, or switched off?
#
# Choose a model, then use the switches. *Plain cascade* was trained without the flow. Cutting the flow out of
# *HTC* is a different matter: its later mask heads have learnt to rely on it. That is why an ablation trains
# each rung from scratch.

# %%
StageView(models, first)

# %% [markdown]
# ## Is the gain real?
#
# AP sums up many pictures in one number, and the pictures were drawn by chance. Before you believe a gain,
# ask what other pictures would have said.
#
# ### Exercise 06.1 · AP at one IoU


# %% tags=["exercise"]
def average_precision(scores, hits, objects):
    """AP of one class at one IoU threshold, 0..1.

    scores: (n,) float64, of the detections of all pictures, in no order; n may be 0.
    hits: (n,) bool: found an object that nobody had found before; objects: how many there are.
    Returns a float: at each of the recalls 0, 0.01, ..., 1 the best precision at this recall or a higher one
    (0 where the recall is never reached), and the mean of these.
    """
    ### BEGIN SOLUTION
    hits = hits[np.argsort(-scores)]
    found = np.cumsum(hits)
    precision, recall = found / np.arange(1, len(hits) + 1), found / objects
    levels = [precision[recall >= level].max(initial=0.0) for level in np.linspace(0, 1, 101)]
    return float(np.mean(levels))
    ### END SOLUTION


check("06.1")

# %% [markdown]
# ### Exercise 06.2 · Bootstrap the gain, in pairs
#
# Draw pictures with replacement, as many as there are, and compute the gain in each draw. Both models were
# tested on the **same** pictures, so each draw is the same for both.


# %% tags=["exercise"]
def gain_interval(a, b, draws):
    """The 95 % interval of what model b gains over model a.

    a, b: (n,) float64, a value for each picture; draws: (r, n) int64, in each row the pictures of one draw.
    Returns (low, high): the 2.5 and 97.5 percentiles, over the draws, of mean(b) - mean(a).
    """
    ### BEGIN SOLUTION
    gains = b[draws].mean(axis=1) - a[draws].mean(axis=1)
    low, high = np.percentile(gains, [2.5, 97.5])
    return float(low), float(high)
    ### END SOLUTION


check("06.2")

# %% [markdown]
# ### Exercise 06.3 · Say what the interval says


# %% tags=["exercise"]
def is_gain(low, high):
    """ "better", "worse" or "not significant", from the ends of the 95 % interval of b's gain over a."""
    ### BEGIN SOLUTION
    if low > 0:
        return "better"
    return "worse" if high < 0 else "not significant"
    ### END SOLUTION


check("06.3")

# %% [markdown]
# Your two functions on the bottom and the top rung: the mean mask IoU in each of the pictures above, where a
# missed object counts as 0.

# %%
a, b = (image_scores(models[name], first) for name in (next(iter(models)), list(models)[-1]))
draws = np.random.default_rng(0).integers(0, len(a), (1000, len(a)))
low, high = yours_or_ours("06.2")(a, b, draws)
print(f"{len(a)} pictures: mean mask IoU {a.mean():.3f} and {b.mean():.3f}")
print(f"gain {b.mean() - a.mean():+.3f}, 95 % interval {low:+.3f} to {high:+.3f}")
print("so the top rung is:", yours_or_ours("06.3")(low, high))

# %% [markdown]
# Twenty pictures decide little. The verdict above rests on all the test pictures of your run and on the AP
# itself (`htc_lab/evaluate/statistics.py`). But both measure only one kind of chance.
#
# ## Three kinds of chance
#
# - **Which pictures** were tested: the bootstrap over pictures measures this.
# - **Which training** it was: different initial weights and another order of pictures give a different model.
#   One training per rung says nothing about this.
# - **How long** it was trained: a model in the first tenth of its training is judged by how fast it starts.
#
# The repository keeps the results of a longer ladder: several seeds of 1000 steps, tested on 1000 pictures
# that nobody had looked at before. Here they are, beside yours and the paper's.

# %%
kept = kept_record()
beside_kept(results, kept)

# %%
plot_seeds(results, kept)

# %% [markdown]
# Each row is a step of the ladder: what a rung gains over the one before. Each blue dot is that gain as
# **one** seed would have shown it: anyone who had trained only that seed would have published that dot. The
# black line is the interval that all seeds together give. Your diamond is a single dot of this kind, from a
# shorter training. For each row, ask:
#
# - Do all dots lie on the same side of 0? Then nearly any seed would have told the right story.
# - Does the black line contain 0? Then even all of them together leave the question open.
# - Is your diamond among the dots? It need not be: 600 steps from a frozen backbone and 1000 steps of the
#   whole network are two different questions, and your own pictures would be a third.
#
# ### Exercise 06.4 · The interval over training seeds
#
# Both models of a seed see the same pictures in the same order and share their initial weights. So the seeds
# come in pairs, too.


# %% tags=["exercise"]
def seed_interval(a, b, t):
    """The 95 % interval of the mean gain over training seeds, by Student's t.

    a, b: (n,) float64, AP of the two models, a value for each seed, n at least 2, in the same order.
    t: Student's factor for n seeds, e.g. 2.776 for five.
    Returns (low, high): the mean of the differences b - a, minus and plus t * s / sqrt(n), s their standard
    deviation (with n - 1 below).
    """
    ### BEGIN SOLUTION
    gains = b - a
    reach = t * gains.std(ddof=1) / np.sqrt(len(gains))
    return float(gains.mean() - reach), float(gains.mean() + reach)
    ### END SOLUTION


check("06.4")

# %% [markdown]
# Your function on the kept seeds: on the first two, and then on more and more of them. More seeds help twice:
# the mean of more values varies less, and $t$ shrinks, since the spread itself is known better.

# %%
interval, judge = yours_or_ours("06.4"), yours_or_ours("06.3")
student = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # t by the number of seeds
rungs = [(rung["title"], np.array(rung["mask_ap"])) for rung in kept["rungs"]] if kept else []
for (_, before), (title, ap) in pairwise(rungs):
    for n in (n for n in student if n <= len(ap)):
        low, high = interval(before[:n], ap[:n], student[n])
        print(f"{title}, {n} seeds: {low:+.2f} to {high:+.2f}, {judge(low, high)}")

# %% [markdown]
# What this proves, if a line says *better*: that on **these scenes**, with **this small model** and **this
# length** of training, the idea gains mask AP on average over training seeds. It proves nothing about COCO;
# the paper's table gives one number per row and no spread. And *not significant* doesn't mean that an idea is
# worthless. It means that these seeds can't tell.
#
# ## Where each rung helps
#
# AP is a mean over all kinds of objects. The kept report breaks it down: small, occluded, thin, touching...
# On the right, filled points are gains whose interval excludes 0.

# %%
report = kept_report()
plot_situations(report) if report else None

# %%
kept_findings(report)

# %% [markdown]
# Read this as a hint where to look: anyone who tests forty things at 95 % finds two by chance. The whole
# report, with types of errors and all stages, is `results/classroom/report.md`; all tables are in
# `docs/results.md`. For your own runs: `htc-lab ablate --quick --report`.
#
# ## Take-away
#
# - Interleaving costs nothing at test time; the flow costs two 1 × 1 convolutions; the semantic branch
#   costs the most and needs semantic maps (the lab makes them from instance masks where there are none).
# - In the paper, box AP improves only with the semantic branch: the other two ideas are about masks.
# - A gain counts when it is larger than what chance can do: the chance of the pictures **and** that of the
#   training. A single seed tells you nothing about the second.
#
# **Try next:** `seeds = (0, 1, 2)`, or `data = "path/to/your/folder"`. On the command line: `htc-lab ablate
# --quick --data DIR`.
