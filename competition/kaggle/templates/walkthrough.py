"""The walk-through that `kernel.py` packs for Kaggle, as a notebook or as a script; it is never imported.

Cells are marked as in Jupytext's percent format. What stands above the first of them is not packed, and in the
cell of settings the values are replaced by those of the pack.
"""

# ruff: noqa: E402

# %% [markdown]
# # Digit Recognizer: from the CSV to the submission
#
# Which digit did somebody write? An ensemble of small convolutional networks answers, and tells before a submission is
# spent how often it will be right: each labelled picture is also classified by networks that never learned from it.
#
# Every section is a question, a figure and an answer in numbers of this very run. The code calls the Python package
# `competition`, and shows its source where it matters.

# %% package

# %%
RECIPE = "fast"  # a named set of settings, see competition/config.py
SETTINGS = {}  # what differs from the recipe, such as {"epochs": 2}
SOURCE = "auto"
FOLDERS = {}  # where data and runs lie; on Kaggle they are found
MINUTES = None  # for the training: the members that fit make the submission; None: what Kaggle's limit leaves
RUN = None  # None trains a new one; a finished run's name shows that one

# %% hidden
import inspect
from collections import Counter

import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import Image, display
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import classification_report, confusion_matrix
from sklearn.neighbors import NearestNeighbors

from competition import pipeline
from competition.config import TTA, choose_config
from competition.data.dataset import load_dataset
from competition.data.submission import verdict_on
from competition.ensemble import folds, prediction_shift, scoring
from competition.execution.engines import Processes
from competition.network import training
from competition.network.augmentation import Augmenter
from competition.network.device import choose_setup, prepare
from competition.network.models import ARCHITECTURES, after_the_stem, build_model
from competition.report import figures
from competition.runs import files
from competition.runs.folders import Folders
from competition.runs.run import find_run

drawn = {}


def show(name, figure, alt):
    """Show a figure with a description for who cannot see it; the last cell keeps all of them in the run's folder."""
    drawn[name] = figures.to_png(figure)
    if get_ipython():  # a script shows nothing
        display(Image(drawn[name], width=int(100 * figure.get_figwidth()), alt=alt))


def show_digits(name, images, titles, alt, columns=10):
    """A sheet of digits with a line above each."""
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(0.7 * columns, 0.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, image, title in zip(axes, images, titles, strict=False):
        axis.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=255)
        axis.set_title(title, fontsize=7)
    show(name, figure, alt)


# %% [markdown]
# ## The result
# An ensemble is trained here, and its score is measured on the labelled digits, each by networks that never learned
# from it. From that the leaderboard's score is predicted, with an interval. The ten sections below tell how.

# %% quiet
folders = Folders.find(**FOLDERS)
dataset = load_dataset(folders, SOURCE)
config = choose_config(RECIPE, dataset.source, SETTINGS)
setup = Processes().allocate(choose_setup(), config.members)  # the cores are divided among the members
prepare(setup, config.seed)
run = find_run(folders, RUN) if RUN else pipeline.train(folders, setup, RECIPE, SETTINGS, SOURCE, minutes=MINUTES)
config, scores = run.config, run.scores

# %% hidden
oof, board = scores["out_of_fold"], scores["leaderboard"]
result = {"Out-of-fold accuracy": [oof["accuracy"], oof["low"], oof["high"]]}
if board:
    result["Predicted leaderboard"] = [board["score"], board["low"], board["high"]]
table = pd.DataFrame(result, index=["score", "95 % from", "to"]).T
display(table.map("{:.5f}".format))
if not board:  # the prediction assumes that both files are drawn alike
    print(*(f"{name:<22} {text}" for name, text in prediction_shift.in_words(scores["shift"])), sep="\n")

# %% [markdown]
# ## 1. What is in the files?
# Each row is 28 × 28 grey values, 0 (paper) to 255 (ink); those of `train.csv` have a label. Every value is checked
# while it is read.

# %%
images, labels = dataset.train.images, dataset.train.labels
counts = np.bincount(labels, minlength=10)
sheet = np.zeros((6, 10, 28, 28, 1), np.uint8)  # of each digit the mean and five examples, one below the other
for digit in range(10):
    own = images[labels == digit]
    sheet[: 1 + len(own[:5]), digit] = [own.mean(axis=0), *own[:5]] if len(own) else 0
titles = [f"mean {digit}" for digit in range(10)] + [""] * 50
show_digits("digits", sheet.reshape(-1, 28, 28, 1), titles, "The mean of each digit, and five examples below it.")
print(f"{len(labels):,} pictures with labels, {len(dataset.test):,} without ({dataset.source} data).")
print("  ".join(f"{digit}: {count:,}" for digit, count in enumerate(counts)))
print(f"The rarest digit is {counts.argmin()}, the most frequent {counts.argmax()}: no class needs a weight.")

# %% [markdown]
# ## 2. How far apart are the digits?
# A map of two thousand pictures: PCA to 50 dimensions, then t-SNE, which places those near each other that are alike.

# %%
chosen = np.random.default_rng(0).permutation(len(labels))[:2000]
flat = images[chosen].reshape(len(chosen), -1) / 255
reduced = PCA(min(50, len(chosen)), random_state=0).fit_transform(flat)
places = TSNE(perplexity=min(30, len(chosen) / 4), random_state=0).fit_transform(reduced)
figure = Figure(figsize=(6, 5), layout="constrained")
axes = figure.add_subplot()
axes.axis("off")
for digit in range(10):
    x, y = places[labels[chosen] == digit].T
    axes.scatter(x, y, s=5, color=f"C{digit}")
    if len(x):
        axes.text(np.median(x), np.median(y), str(digit), fontsize=16, weight="bold")
show("map", figure, "Map of 2,000 digits by t-SNE, a colour for each label.")
nearest = NearestNeighbors(n_neighbors=1).fit(reduced).kneighbors()[1][:, 0]
pairs = np.sort(np.stack([labels[chosen], labels[chosen][nearest]]), axis=0).T
different = pairs[pairs[:, 0] != pairs[:, 1]]
often = ", ".join(f"{a} and {b}" for (a, b), _ in Counter(map(tuple, different.tolist())).most_common(3))
print(f"The nearest neighbour of {len(different) / len(pairs):.1%} of them is another digit, most often {often}.")

# %% [markdown]
# ## 3. What does a network see?
# More handwriting than there is: each picture is rotated, scaled, shifted and sheared a little, anew in every epoch.
# Never mirrored: no digit survives that. Here is one digit and nineteen ways in which the networks meet it, and the
# code that makes them.

# %%
augmenter = Augmenter(config, config.seed)
augmented = [augmenter(images[:1], np.array([0]), epoch)[0] for epoch in range(19)]
titles = [f"{labels[0]} as it is", *[""] * 19]
show_digits("augmentation", [images[0], *augmented], titles, "One digit, and nineteen augmentations of it.")
print(inspect.getsource(Augmenter.__call__))

# %% [markdown]
# ## 4. Which network, and who checks it?
# The rows are dealt into folds with equal shares of each digit. A network fits all folds but one and is validated on
# that one. It is small, in the package's own words:

# %%
member = folds.plan_members(config, labels)[0]
source = inspect.getsource(ARCHITECTURES[member.config.architecture])
print(source, inspect.getsource(after_the_stem) if "after_the_stem" in source else "", sep="\n")
parameters = build_model(member.config).count_params()
print(f"{config.members} networks of {parameters:,} parameters.")
print(f"The first fits {len(member.train_rows):,} pictures and is validated on {len(member.val_rows):,}.")

# %% [markdown]
# ## 5. Does it learn, and when does it stop?
# The learning rate climbs, then falls to zero. Early stopping watches a small part of the network's own training rows:
# the fold that validates chooses nothing. This is what trains one network:

# %%
print(inspect.getsource(training.fit_member))

# %%
names = folds.members_of(run)
records = [run.member_facts()[name] for name in names]
histories = [pd.read_csv(run.path / "members" / name / "history.csv") for name in names]
kept = [record["kept_epoch"] for record in records]
refit = sum(map(folds.is_refit, names))  # trained on all rows: their lines are dashed
show("accuracy", figures.curves(histories, kept, "accuracy", refit=refit), "Accuracy by epoch of all networks.")
show("loss", figures.curves(histories, kept, "loss", config.label_smoothing, refit), "Loss by epoch of all networks.")
print("One line a network. Training is measured on augmented pictures, the early-stopping rows on plain ones, so the "
      "second can be better.")  # fmt: skip
last = sum(epoch == record["epochs"] for epoch, record in zip(kept, records, strict=True))
print(f"{last} of {len(records)} kept the weights of their last epoch.")

# %% [markdown]
# ## 6. How good is it?
# Each digit as classified by networks that never learned from it: the out-of-fold predictions.

# %%
probabilities = run.read_arrays("probabilities.npz")
out_of_fold, test = (probabilities[name][config.submitted] for name in ("out_of_fold", "test"))
rows = scoring.rows_predicted(out_of_fold)  # all of them, unless the recipe validates on a random part, or time ran out
out_of_fold, labels, images = out_of_fold[rows], labels[rows], images[rows]
predicted = out_of_fold.argmax(axis=1)
counts = confusion_matrix(labels, predicted, labels=range(10))
show("confusion", figures.confusion_matrix(counts), "Confusion matrix: label by row, prediction by column.")
report = classification_report(labels, predicted, labels=range(10), zero_division=0, output_dict=True)
display(pd.DataFrame(report).drop(columns="accuracy", errors="ignore").T.round(4).astype({"support": int}))

# %% [markdown]
# ## 7. What does it get wrong?
# Worst first: label, prediction, and how much probability was left for the label. Many would puzzle a human reader;
# some labels may be wrong.

# %%
wrong = np.flatnonzero(predicted != labels)
of_label = out_of_fold[np.arange(len(labels)), labels]
worst = wrong[np.argsort(of_label[wrong])][:40]
titles = [f"{labels[i]} → {predicted[i]}, {of_label[i]:.0%}" for i in worst]
show_digits("errors", images[worst], titles, "The digits that are misclassified, worst first.", columns=8)
confused = Counter(zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True)).most_common(5)
print(f"{len(wrong)} errors. " + "; ".join(f"{a} predicted as {b}: {times}" for (a, b), times in confused))

# %% [markdown]
# ## 8. Does it know when it is unsure?
# On the line, predictions of 90 % are right nine times in ten.

# %%
bins = scoring.calibration(labels, out_of_fold)
show("calibration", figures.reliability(bins), "Reliability diagram: fraction right by predicted probability.")
for line in scoring.most_confident(labels, out_of_fold, [0.9, 0.98, 1.0]):
    print(f"Of the {line['fraction']:.0%} most confident predictions {line['errors']} of {line['rows']:,} are wrong.")

# %% [markdown]
# ## 9. What does the ensemble bring?
# Single networks differ in what they get wrong; the mean of their probabilities is right more often than each of them.
# Test-time augmentation averages over transforms of the picture as well.

# %%
single = scores["members"]["accuracy"]
print(f"Single networks, mean  {single:.5f}")
if config.repeats > 1:  # else one network validates each row
    print(f"Out of fold            {oof['accuracy']:.5f}, {config.repeats} networks a row")
if board:
    print(f"All networks, expected {board['score']:.5f} on rows that none has seen")
if config.submitted == TTA:
    plain = scoring.accuracy(labels, probabilities["out_of_fold"][0][rows])
    print(f"Without test-time augmentation the out-of-fold accuracy would be {plain:.5f}.")

# %% [markdown]
# ## 10. What is submitted, and what will it score?
# The mean of the submitted networks' probabilities, its most probable digit for each test row: the first thirty test
# digits, and in the last row the ten that were hardest to tell.

# %%
sure = test.max(axis=1)
doubtful = np.argsort(sure)[:10]
shown = np.concatenate([np.arange(min(30, len(test))), doubtful])
titles = [f"{test[row].argmax()}, {sure[row]:.0%}" for row in shown]
show_digits("submission", dataset.test.images[shown], titles, "Test digits with their predictions.")
verdict = verdict_on(run.submission_csv, dataset.source, len(dataset.test), dataset.train.labels)
for warning in verdict.warnings:
    print("Warning:", warning)
print(f"{folders.published or run.submission_csv}: {verdict}.")
if board:
    print(f"Expect {board['score']:.5f} on test digits that come as the training digits do:")
    print(f"in 95 of 100 such competitions the score lies between {board['low']:.5f} and {board['high']:.5f}.")
else:
    print("What it will score is not known: test.csv is not like train.csv.")
if "true_accuracy" in scores:
    print(f"The labels of this sample's test digits are known, and no network saw them: {scores['true_accuracy']:.5f}.")
for name, png in drawn.items():
    files.write(run.path / "figures" / f"notebook-{name}.png", png)

# %% [markdown]
# ## Credits
# Digits: MNIST by Yann LeCun, Corinna Cortes and Christopher J. C. Burges (CC BY-SA 3.0). Standardized weights: Brock,
# De and Smith 2021. Muon: Jordan 2024. Slanted triangular learning rates: Howard and Ruder 2018. Temperature scaling:
# Guo, Pleiss, Sun and Weinberger 2017. t-SNE: van der Maaten and Hinton 2008.
