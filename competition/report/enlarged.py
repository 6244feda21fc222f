"""A digit, enlarged: what a page shows of some training rows when one of them is chosen."""

import numpy as np

from competition.config import PLAIN
from competition.data.dataset import Dataset
from competition.ensemble.neighbours import Neighbours
from competition.ensemble.occlusion import Occlusion, occlusions
from competition.network.member import Member
from competition.report.html import inline
from competition.report.units import counted, probability
from competition.runs.run import Run

LARGEST = 300  # rows that are enlarged: 3 kB each, and 169 images to predict
NEAREST = 6  # training digits that are shown
AGAINST, FOR = (196, 130, 59), (12, 89, 232)  # BGR: ink that lowers the predicted digit's probability; that raises it


def enlarge(run: Run, dataset: Dataset, members: list[Member], rows, probabilities) -> dict:
    """What the page shows of some rows, for the script that fills in its dialog.

    The members predict each row with the run's test-time augmentation, whether they validated it or trained on it, as
    refit members did. The occlusion map is of the image as it is, by the first of the members that validated the row.

    Args:
        members: those that the submission averages.
        rows: int array (n,), training rows that members validated.
        probabilities: float array (n, 10), out of fold, of those rows.

    Returns:
        `members`, their names; and `rows`: by row number, from 1, the ten probabilities, each member's prediction, how
        many of these differ from the row's, the nearest training digits, the map as a picture and in words.

    Raises:
        CompetitionError: a member's network is missing or damaged.
    """
    from competition.ensemble.export import load_model  # these load Keras
    from competition.ensemble.networks import prepare_for
    from competition.network.augmentation import average_predictions, tta_transforms
    from competition.network.training import predict_probabilities

    images, labels = dataset.train.images[rows], dataset.train.labels
    validated = np.stack([np.isin(rows, member.val_rows) for member in members])
    first = validated.argmax(axis=0)
    transformed = np.concatenate([images, *(transform(images) for transform in tta_transforms(run.config))])
    prepare_for(run)
    by_member: list[np.ndarray] = []
    maps: dict[int, Occlusion] = {}
    for i, member in enumerate(members):
        network = load_model(run, member.name)

        def predict(seen, network=network):
            return predict_probabilities(network, seen)[PLAIN]

        by_member.append(average_predictions(predict(transformed).reshape(-1, len(rows), 10)))
        own = np.flatnonzero(first == i)
        maps |= dict(zip(own, occlusions(images[own], predict), strict=True)) if len(own) else {}
    member_probs = np.stack(by_member, axis=1)
    member_labels = member_probs.argmax(axis=2)
    neighbours = Neighbours(dataset)
    shown = {}
    for i, row in enumerate(map(int, rows)):
        nearest = [int(other) for other in neighbours.nearest(images[i], NEAREST + 1)[1] if other != row][:NEAREST]
        shown[row + 1] = {
            "probs": [[round(float(p), 3), probability(p)] for p in probabilities[i]],
            "members": [
                [int(label), probability(probs[label]), bool(val)]
                for label, probs, val in zip(member_labels[i], member_probs[i], validated[:, i], strict=True)
            ],
            "disagreement": int(np.sum(member_labels[i] != probabilities[i].argmax())),
            "nearest": [[int(labels[other]), other + 1, inline(dataset.train.images[other])] for other in nearest],
            "map": inline(heat_map(maps[i])),
            "words": in_words(maps[i], members[first[i]].name),
        }
    return {"members": [member.name for member in members], "rows": shown}


def heat_map(occlusion: Occlusion) -> np.ndarray:
    """A picture to lay over the digit, uint8 (14, 14, 4), BGRA: opaque where the ink decides."""
    drops = occlusion.blocks
    opacity = np.abs(drops) / max(np.abs(drops).max(), 0.05)  # where hardly anything decides the map stays clear
    colors = np.where(drops[..., None] > 0, FOR, AGAINST)
    return np.dstack([colors, 230 * opacity]).round().astype(np.uint8)


def in_words(occlusion: Occlusion, member: str) -> str:
    """The map in a sentence or two."""
    others = occlusion.labels[occlusion.labels != occlusion.label]
    before, left = map(probability, (occlusion.probability, occlusion.probability - float(occlusion.drops.max())))
    digits = " or ".join(map(str, np.unique(others)))
    return (
        f"{member} predicts {occlusion.label} for the image as it is ({before}), and {left} "
        "without the 4×4 pixels that matter most. "
        + (f"{counted(len(others), 'such patch', 'such patches')} of 169 would make it {digits}." if len(others) else
           "No such patch would change the digit.")
    )  # fmt: skip
