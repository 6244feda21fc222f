"""The walk-through that `kernel.py` packs for Kaggle, as a notebook or as a script; it is never imported.

Cells are marked as in Jupytext's percent format. What stands above the first of them is not packed, and in the
cell of settings the values are replaced by those of the pack.
"""

# ruff: noqa: E402

# %% [markdown]
# # Digit Recognizer: from the CSV to the submission
#
# 42,000 labelled pictures of handwritten digits teach an ensemble of small convolutional networks; 28,000
# others wait for their labels. Each picture that teaches one network tests another one, so the score below is
# an honest forecast of the leaderboard's.
#
# Everything here calls the Python package `competition`. It travels inside the next cell, so this page needs
# no internet and nothing installed.

# %% hide-input
PACKED = ""  # the package's files: a zip archive, in base64; empty where the package is at hand

import base64
import io
import os
import sys
import tempfile
import zipfile

if PACKED:
    unpacked = tempfile.mkdtemp()
    zipfile.ZipFile(io.BytesIO(base64.b64decode(PACKED))).extractall(unpacked)
    sys.path.insert(0, unpacked)
    os.environ["PYTHONPATH"] = unpacked  # for the processes that train

# %% [markdown]
# ## Settings
# A recipe is a named set of settings; `competition/config.py` explains each of them.

# %%
RECIPE = "fast"
SETTINGS = {}  # what differs from the recipe, such as {"epochs": 2}
SOURCE = "auto"
FOLDERS = {}  # where data and runs lie; on Kaggle they are found
MINUTES = None  # for the training: the members that fit make the submission; None: what Kaggle's limit leaves
RUN = None  # None trains a new one; a finished run's name shows that one

# %%
import inspect
from collections import Counter

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import Image, display
from matplotlib.figure import Figure
from sklearn.metrics import classification_report, confusion_matrix

from competition import pipeline
from competition.config import choose_config
from competition.data.dataset import load_dataset
from competition.data.submission import check_submission
from competition.ensemble import folds, scoring
from competition.execution.engines import Processes
from competition.network.augmentation import Augmenter
from competition.network.device import choose_setup, prepare
from competition.network.models import ARCHITECTURES, after_the_stem, build_model
from competition.report import figures
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.run import find_run

drawn = {}


def show(name, figure):
    """Show a figure, and remember it: the last cell keeps all of them in the run's folder."""
    drawn[name] = figures.to_png(figure)
    if get_ipython():  # a script shows nothing
        display(Image(drawn[name], width=int(100 * figure.get_figwidth())))


def show_digits(name, images, titles, columns=10):
    """A sheet of digits with a line above each."""
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(0.7 * columns, 0.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, image, title in zip(axes, images, titles, strict=False):
        axis.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=255)
        axis.set_title(title, fontsize=7)
    show(name, figure)


# %% [markdown]
# ## 1. The data
# Each row of `train.csv` is a label and 28 × 28 grey values, 0 (paper) to 255 (ink). Every value is checked
# while it is read.

# %%
folders = Folders.find(**FOLDERS)
dataset = load_dataset(folders, SOURCE)
images, labels = dataset.train.images, dataset.train.labels
print(f"{len(labels)} training digits {images.shape}, {len(dataset.test)} test digits. Source: {dataset.source}.")
print("Of each digit 0…9:", *np.bincount(labels, minlength=10))

# %%
examples = np.concatenate([np.flatnonzero(labels == digit)[:10] for digit in range(10)])
show_digits("digits", images[examples], labels[examples])

# %% [markdown]
# ## 2. Preprocessing
# Pixels stay as they are: the network scales them to [0, 1] itself. What helps most is more handwriting, so each
# picture is turned, scaled, shifted and sheared a little, anew in every epoch. Never mirrored: no digit survives
# that. Here is one digit and nineteen ways in which the networks meet it.

# %%
config = choose_config(RECIPE, dataset.source, SETTINGS)
augmenter = Augmenter(config, config.seed)
variants = [augmenter(images[:1], np.array([0]), epoch)[0] for epoch in range(19)]
show_digits("augmentation", [images[0], *variants], [f"{labels[0]} as it is", *[""] * 19])

# %% [markdown]
# The rows are dealt into folds with equal shares of each digit. A network learns from all folds but one and is
# then asked about that one.

# %%
member = folds.plan_members(config, labels)[0]
learned, asked = len(member.train_rows), len(member.val_rows)
print(f"{config.members} networks; the first learns from {learned} digits, {asked} test it.")

# %% [markdown]
# ## 3. The network
# A small convolutional network (the first, where the settings name several kinds), in the package's own words:

# %%
setup = Processes().allocate(choose_setup(), config.members)  # the cores are divided among the members
source = inspect.getsource(ARCHITECTURES[member.config.architecture])
print(source + inspect.getsource(after_the_stem) * ("after_the_stem" in source))
prepare(setup, config.seed)
build_model(member.config).summary()

# %% [markdown]
# ## 4. Training
# Each network trains with the recipe's optimizer and a learning rate that climbs, then falls to zero. Early stopping
# watches a small slice of the network's own training rows; the fold that tests it chooses nothing.

# %%
run = find_run(folders, RUN) if RUN else pipeline.train(folders, setup, RECIPE, SETTINGS, SOURCE, minutes=MINUTES)
config, scores = run.config, run.scores

# %% [markdown]
# One line a network that was trained. Training is measured on distorted digits, the early-stopping slice on plain ones,
# so the second can be better. A loss there that rises again would show overfitting; one still falling at the end,
# underfitting.

# %%
facts = {name: run.member_facts()[name] for name in folds.members_of(run)}
histories = [pd.read_csv(run.path / "members" / name / "history.csv") for name in facts]
kept = [network["kept_epoch"] for network in facts.values()]
show("accuracy", figures.curves(histories, kept, "accuracy"))
show("loss", figures.curves(histories, kept, "loss", config.label_smoothing))

# %% [markdown]
# ## 5. Evaluation
# Each digit as seen by the networks that never learned from it: the out-of-fold predictions.

# %%
probabilities = run.read_arrays("probabilities.npz")
variant = config.submitted  # 1: averaged over views of the picture
out_of_fold, answers = probabilities["out_of_fold"][variant], probabilities["test"][variant]
rows = scoring.rows_predicted(out_of_fold)  # all of them, unless the recipe asks about a random part, or time ran out
out_of_fold, labels, images = out_of_fold[rows], labels[rows], images[rows]
predicted = out_of_fold.argmax(axis=1)
oof, board = scores["out_of_fold"], scores["leaderboard"]
print(f"Out-of-fold accuracy   {oof['accuracy']:.5f}  (95 % interval {oof['low']:.5f} – {oof['high']:.5f})")
print(f"Predicted leaderboard  {board['score']:.5f}  ({board['low']:.5f} – {board['high']:.5f})\n")
print(classification_report(labels, predicted, labels=range(10), digits=4, zero_division=0))

# %%
show("confusion", figures.confusion_matrix(confusion_matrix(labels, predicted, labels=range(10))))

# %% [markdown]
# ## 6. The errors
# Worst first: the true label, what it was read as, and how much probability was left for the truth. Many would
# puzzle a human reader; some labels may be wrong.

# %%
wrong = np.flatnonzero(predicted != labels)
truth = out_of_fold[np.arange(len(labels)), labels]
worst = wrong[np.argsort(truth[wrong])][:40]
confused = Counter(zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True)).most_common(5)
print(f"{len(wrong)} errors. " + "; ".join(f"{a} read as {b}: {times}" for (a, b), times in confused))
show_digits("errors", images[worst], [f"{labels[i]} → {predicted[i]}, {truth[i]:.0%}" for i in worst], columns=8)

# %% [markdown]
# ## 7. The submission
# The mean of all networks' probabilities, its most probable digit for each test row. Training wrote the file;
# here are the check that Kaggle would accept it, its first rows, and the figures.

# %%
for warning in check_submission(run.submission_csv, len(dataset.test), dataset.train.labels):
    print("Warning:", warning)
submission = pd.read_csv(run.submission_csv)
print(f"{folders.published or run.submission_csv}: {len(submission)} rows, Kaggle would accept it.\n")
print(submission.head().to_string(index=False))

# %%
sure = answers.max(axis=1)
doubtful = np.argsort(sure)[:10]
rows = np.concatenate([np.arange(30), doubtful])
titles = [f"{submission.Label[row]}, {sure[row]:.0%}" for row in rows]
show_digits("submission", dataset.test.images[rows], titles)
print("Above, the first thirty test digits as submitted; in the last row the ten that were hardest to tell.")
for name, png in drawn.items():
    files.write(run.path / "figures" / f"notebook-{name}.png", png)
