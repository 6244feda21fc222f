"""The kernel that only predicts, as `kernel.py` packs it; it is never imported. See `walkthrough.py` for the cells."""

# ruff: noqa: E402

# %% [markdown]
# # Digit Recognizer: inference
#
# The networks were trained elsewhere; their weights are attached as a dataset. Here they label the test images, each
# averaged over the ensemble, without a GPU and without the internet.
#
# The Python package `competition` that built the networks rebuilds them here.

# %% package

# %%
RUN = ""  # the run whose members predict
SHA256 = ""  # of its submission.csv

# %%
from competition.kaggle.inference import predict
from competition.runs.files import sha256_of
from competition.runs.folders import Folders

submission = predict(Folders.find(), RUN)
same = "the run's own labels" if sha256_of(submission) == SHA256 else "labels that differ from the run's own"
print(f"{submission}: {same}.")
