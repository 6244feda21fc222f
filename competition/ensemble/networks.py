"""A finished run's networks, rebuilt from its settings and filled with their weights, predict any images."""

from pathlib import Path

import numpy as np

from competition.ensemble.export import load_model
from competition.ensemble.folds import member_settings, members_of
from competition.ensemble.manifest import setup_of
from competition.errors import CompetitionError
from competition.network.augmentation import average_predictions, tta_transforms
from competition.network.device import choose_setup, prepare
from competition.network.models import StackedNetworks
from competition.runs.run import Run

BATCH = 60  # images that go through all members at once, in all their TTA transforms


class Ensemble:
    """The members of a run, or of a blend's parents, rebuilt once to predict often.

    Attributes:
        members: their names, of a blend's with their runs'.

    Raises:
        CompetitionError: a member is missing or damaged.
    """

    def __init__(self, run: Run):
        parts = _members_by_run(run)
        self._parts = [_stacked(part, names) for part, names in parts]
        self.members = [name if part is run else f"{part.name}/{name}" for part, names in parts for name in names]

    def predict(self, images, tta: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """The probabilities of the whole ensemble, and of each of its members.

        Args:
            images: uint8 array (n, 28, 28, 1), 0 is paper.
            tta: whether with the run's test-time augmentation, where it has one.

        Returns:
            float32 arrays (n, 10), for the images of test.csv what the run's probabilities.npz holds, and
            (members, n, 10).
        """
        member_probs = [
            _predict(networks, transforms if tta else transforms[:1], images) for networks, transforms in self._parts
        ]
        whole = np.mean([probs.mean(axis=0, dtype=float) for probs in member_probs], axis=0)
        return whole.astype(np.float32), np.concatenate(member_probs)


def probabilities_of(run: Run, images) -> np.ndarray:
    """The probabilities of the whole ensemble, see `Ensemble.predict`: float32 array (n, 10)."""
    return Ensemble(run).predict(images)[0]


def _members_by_run(run: Run) -> list[tuple[Run, list[str]]]:
    """The run, or a blend's parents, and its members: of parents those of its manifest, as they may have more now."""
    records = run.manifest.get("parents", [])
    if not records:
        return [(run, list(members_of(run)))]
    parts = []
    for record in records:
        parent = type(run)(run.path.parent / Path(record["run"]).name)
        names = [name for name in member_settings(parent.config) if name in record["members"]]
        if not names:
            raise CompetitionError(
                f"{run.path}/manifest.json must name members of {parent.name}. Received: none. Next: `make blend`."
            )
        parts.append((parent, names))
    return parts


def _stacked(run: Run, names: list[str]) -> tuple[StackedNetworks, list]:
    """Those members of one run, as one network; and what it predicts of an image: itself first, then by TTA."""
    prepare_for(run)
    return StackedNetworks([load_model(run, name) for name in names]), [np.asarray, *tta_transforms(run.config)]


def prepare_for(run: Run) -> None:
    """Make this process compute as the run's members did.

    Raises:
        CompetitionError: the manifest is damaged.
    """
    prepare(choose_setup(setup_of(run).precision), seed=0)


def _predict(networks: StackedNetworks, transforms: list, images) -> np.ndarray:
    """Float32 array (members, n, 10): the average over the transforms, all of which go through the networks at once."""
    batches = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        probs = networks.predict_on_batch(np.concatenate([transform(batch) for transform in transforms]))
        batches.append(average_predictions(probs.reshape(len(transforms), len(batch), *probs.shape[1:])))
    return np.concatenate(batches).swapaxes(0, 1)
