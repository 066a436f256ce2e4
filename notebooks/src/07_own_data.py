# %% [markdown]
# # 07 · The explorer and your own data
#
# **Goal.** Bring your own pictures: to look at with a trained model, and as a data set to train on, without
# semantic maps and without writing a line of loading code.
#
# *About 30 minutes. Builds on lessons 00 and 01.*

# %% tags=["parameters"]
pictures = 12
folder = "data/own_example"

# %%
import json
from pathlib import Path

import htc_lab
from htc_lab.course.checking import check, yours_or_ours
from htc_lab.course.lesson07.own_data import write_example
from htc_lab.course.working_folder import go_to_root
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.plots import show_model, show_sample

go_to_root()
model = htc_lab.load("classroom/htc")
samples = classroom_samples(pictures)
own = write_example(Path(folder), samples, model.class_names)
data = find_data(own)
dataset = CocoDataset(data.train, semantic_classes(data))
show_sample(dataset[0], dataset.class_names)

# %% [markdown]
# The cell wrote a small data set such as you might have: a folder of pictures and **one JSON file** with
# boxes and masks. No semantic maps, no splits. The row shows what the lab reads from it; the semantic map on
# the right was made from the masks (exercise 01.4).
#
# ## What the lab has understood

# %%
print(data.describe())
print("semantic branch:", semantic_classes(data).source)

# %% [markdown]
# - A single JSON is split by a seed; `instances_train.json` and `instances_val.json` would be used as they
#   are, and so would COCO's own tree.
# - The lab looks for maps in `stuffthingmaps/` and `semantic/`. Where there are none, it makes them from the
#   masks.
#
# On the command line: `htc-lab data show --data FOLDER`.
#
# ## The smallest file that works

# %%
tree = json.loads((own / "annotations.json").read_text())
print(json.dumps({"images": tree["images"][:1], "categories": tree["categories"][:2]}, indent=1))
print(json.dumps(tree["annotations"][0])[:200], "...")

# %% [markdown]
# `segmentation` can also be polygons. `area` and `iscrowd` are filled in where they are missing.
#
# ### Exercise 07.1 · From category ids to labels
#
# The ids of the categories can be any numbers: COCO's run from 1 to 90 with ten gaps. A model has K outputs
# and needs labels 0 to K - 1, without gaps. Labels that start at 1, or a K that doesn't fit, are the usual
# reason for a loss that is `nan` or a branch that learns nothing.


# %% tags=["exercise"]
def labels_of(category_ids, of_objects):
    """The label of each object.

    category_ids: list of int, the ids of the file's `categories`, in the file's order, which is the labels'.
    of_objects: list of int, the `category_id` of each object.
    Returns a list of int in 0..K-1, K = len(category_ids).
    """
    ### BEGIN SOLUTION
    return [category_ids.index(category) for category in of_objects]
    ### END SOLUTION


check("07.1")

# %%
own_ids = [category["id"] for category in tree["categories"]]
first = dataset.image_ids[0]
of_first = [row["category_id"] for row in tree["annotations"] if row["image_id"] == first]
print(f"categories of the objects of picture {first}:", of_first)
print("their labels by your function:        ", yours_or_ours("07.1")(own_ids, of_first))
print("as the model gets them:               ", dataset[0].targets.labels.tolist())

# %% [markdown]
# ## When something is wrong
#
# Data is checked before anything is computed, and a message names the file, the field and the fix. Break
# something:

# %%
broken = json.loads((own / "annotations.json").read_text())
broken["annotations"][0]["category_id"] = 99
other = own.parent / "own_broken"
(other / "images").mkdir(parents=True, exist_ok=True)
(other / "annotations.json").write_text(json.dumps(broken))
try:
    find_data(other)
except htc_lab.InputError as error:
    print(error)

# %% [markdown]
# ## Run a model on a picture
#
# Here a shipped model looks at one of these pictures. It knows only the six drawn classes of the classroom
# scenes: bicycles, boats, cans, kites, starfish and wreaths. Whatever it finds on a holiday photo is
# nonsense; it is still worth a try.

# %%
show_model(model, dataset[1])

# %% [markdown]
# ## The explorer
#
# All eight shipped models look at the picture, one for each combination of the three ideas. Everything their
# stages predicted goes to the browser once, and every switch is answered there. *Off means* decides what a
# switch shows: a model that was **trained without** the idea, or the idea **switched off** in a model that
# was trained with it. Click an object and follow its life through the stages; put the plain cascade
# beside it with *Compare A|B*; drag a picture file onto the explorer to see your own.

# %%
explorer = htc_lab.explore(dataset[1])
explorer

# %% [markdown]
# For a report, or where widgets don't run, the same state as a still picture:

# %%
explorer.figure()

# %% [markdown]
# The explorer's settings fit into one line of text, which you can share. A teacher can hide the controls of
# ideas that haven't come up yet: replace the empty list by `["semantic", "compare"]`, run the cell, and look
# at the explorer above.

# %%
explorer.hide = []
print(explorer.state)

# %% [markdown]
# The explorer can also be saved as a web page that needs neither Python nor a network:

# %%
page = explorer.save_html(Path(folder) / "explorer.html")
print(f"{page.name}: {page.stat().st_size / 2**20:.1f} MiB")

# %% [markdown]
# ## Train on it
#
# In [06 · The ablation](06_ablation.ipynb) set `data` to your folder: the four rungs are then trained on your
# pictures, and the table, the figures and the verdict are about them. On the command line:
#
# ```
# htc-lab ablate --quick --data my_photos
# htc-lab train --data my_photos --run runs/mine
# htc-lab predict photo.jpg --checkpoint runs/mine
# ```
#
# How many pictures do you need? The ladder runs with a few dozen, but the intervals will be wide: expect "not
# significant".
#
# ## Take-away
#
# - One JSON and a folder of pictures are enough. Semantic maps are made where there are none.
# - Faulty data is refused with one line that says how to fix it.
# - The explorer shows any picture; its state is a line of text, its page a single file.
#
# **Next:** [08 · COCO](08_coco.ipynb)
