"""Augmented training images, fast and stateless, and the transforms of test-time augmentation (TTA).

Stateless: the augmented image of row i in epoch e depends on (seed, e, i) alone, so the order of the batches, the
number of processes and resuming change nothing. Fast: albumentations spends most of its time on drawing the parameters
of one image. Here the affine parameters of an epoch are drawn at once, one set for each group of `GROUP` rows, other
groups in the next epoch, and OpenCV warps `BATCH` images in a call (`make bench`). No flips: a flipped digit is none.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import cv2
import numpy as np

from competition.config import Config, transforms_of

GROUP = 8  # rows that share their parameters in an epoch
BATCH = 4  # images in each call of OpenCV: with two, or with more than four, remap rounds differently
BLOCK = 256  # groups whose maps are in memory at once: 1.6 MB
CENTER = 13.5  # pixels, of the image, from the middle of the first pixel
PIXELS = np.arange(28, dtype=np.float32) - CENTER
cv2.setNumThreads(0)  # members train in parallel, one process per core: threads of OpenCV's own would slow them down


class Augmenter:
    """Augments the images of any epoch: an affine warp, then `config.augment`'s transforms.

    Args:
        config: the ranges and the transforms.
        seed: the member's.
    """

    def __init__(self, config: Config, seed: int):
        self.config, self.seed = config, seed
        self.transform = compose(config.augment) if config.augment else None

    def __call__(self, images: np.ndarray, rows: np.ndarray, epoch: int) -> np.ndarray:
        """Augment the images of some rows as in an epoch.

        Args:
            images: uint8 array (n, 28, 28, 1), all images.
            rows: int array (m,), the rows to augment, in any order.
            epoch: 0, 1, …

        Returns:
            uint8 array (m, 28, 28, 1).
        """
        c = self.config
        result = images[rows]
        if not any((c.rotation, c.scale, c.shift, c.shear, self.transform)):
            return result
        rng = np.random.default_rng([self.seed, epoch])
        groups = -(-len(images) // GROUP)
        group, slot = np.divmod(rng.permutation(len(images))[rows], GROUP)
        rng.random(18 * groups)  # numbers that older versions used here: their runs can be repeated

        def uniform(half_range: float, *shape: int) -> np.ndarray:
            return rng.uniform(-half_range, half_range, (groups, *shape)).astype(np.float32)

        parameters = uniform(c.rotation), 1 + uniform(c.scale, 2), uniform(c.shift, 2), uniform(c.shear, 2)
        seeds = rng.integers(2**31, size=groups)
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(groups + 1))
        for first in range(0, groups, BLOCK):
            maps = sampling_maps(*(values[first : first + BLOCK] for values in parameters))
            for number, sampling_map in enumerate(maps, first):
                members = order[starts[number] : starts[number + 1]]
                if not len(members):
                    continue
                result[members] = warp(result[members], sampling_map)
                if self.transform:
                    # Always a whole group, each row in its own place: which other rows are augmented changes nothing
                    whole = np.zeros((GROUP, 28, 28, 1), np.uint8)
                    whole[slot[members]] = result[members]
                    self.transform.set_random_seed(int(seeds[number]))
                    result[members] = self.transform(images=whole)["images"][slot[members]]
        return result


def compose(text: str) -> Any:
    """What a setting `augment` names, as one albumentations.Compose."""
    transforms = transforms_of(text)
    import albumentations as A  # takes a second, and no recipe of ours uses it

    return A.Compose(transforms)


def sampling_maps(rotation: np.ndarray, scale: np.ndarray, shift: np.ndarray, shear: np.ndarray) -> np.ndarray:
    """Where in an image each pixel of the warped image is read: affine maps about the image's center.

    The image is scaled, rotated, sheared and shifted, in this order.

    Args:
        rotation: float array (m,), degrees.
        scale: float array (m, 2), factors along x and y.
        shift: float array (m, 2), pixels along x and y.
        shear: float array (m, 2), degrees along x and y.

    Returns:
        float32 array (m, 28, 28, 2): for each pixel of the warped image the x and y in the original, in pixels.

    Examples:
        A shift by 3 to the right: what stands in row 10 and column 20 came from x = 17, y = 10.

        >>> none = np.zeros((1, 2))
        >>> maps = sampling_maps(np.zeros(1), scale=none + 1, shift=np.array([[3.0, 0.0]]), shear=none)
        >>> maps.shape, maps[0, 10, 20].tolist()
        ((1, 28, 28, 2), [17.0, 10.0])

        At twice the size, the right edge shows what stood halfway between it and the center.

        >>> sampling_maps(np.zeros(1), scale=none + 2, shift=none, shear=none)[0, 13, 27].tolist()
        [20.25, 13.25]
    """
    angle, (shear_x, shear_y) = np.deg2rad(rotation), np.tan(np.deg2rad(shear)).T
    one = np.ones_like(shear_x)
    rotations = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    shears = np.array([[one, shear_x], [shear_y, one]]).transpose(2, 0, 1)
    inverse = np.linalg.inv(shears @ rotations * scale[:, None, :]).astype(np.float32)
    offset = CENTER - (inverse @ shift[:, :, None])[..., 0]
    along_x, along_y = inverse[:, None, :, 0] * PIXELS[:, None], inverse[:, None, :, 1] * PIXELS[:, None]
    return (along_x[:, None] + (along_y + offset[:, None])[:, :, None]).astype(np.float32)


def warp(images: np.ndarray, sampling_map: np.ndarray) -> np.ndarray:
    """Images, uint8 (n, 28, 28, 1), warped by one map of `sampling_maps`, (28, 28, 2); outside of an image is 0."""
    count = len(images)
    padded = np.concatenate([images, np.zeros((-count % BATCH, 28, 28, 1), np.uint8)])
    warped = [
        cv2.remap(  # type: ignore[call-overload]  # OpenCV's stubs do not know that one map can hold x and y
            np.ascontiguousarray(batch[..., 0].transpose(1, 2, 0)), sampling_map, None, cv2.INTER_LINEAR
        )
        for batch in padded.reshape(-1, BATCH, 28, 28, 1)
    ]
    return np.stack(warped).transpose(0, 3, 1, 2).reshape(-1, 28, 28, 1)[:count] if count else images


def tta_transforms(config: Config) -> list[Callable[[np.ndarray], np.ndarray]]:
    """The eight transforms of test-time augmentation, see `average_predictions`; none where `tta` is 0.

    A network that was trained on warped images, all of them a little blurred by that, predicts better from several
    warped images than from the plain one. Each transform shifts, rotates, scales and shears by the fraction `tta` of
    the training ranges, one way or the other. The signs are an orthogonal array (a 2^(6-3) fractional factorial design,
    Box and Hunter 1961): any two of the six parameters have equal signs as often as opposite ones.

    Returns:
        Functions of uint8 arrays (n, 28, 28, 1) that return such arrays.
    """
    if not (config.tta and any((config.rotation, config.scale, config.shift, config.shear))):
        return []
    a, b, c = np.array(list(product((-1, 1), repeat=3))).T
    return [partial(warp, sampling_map=sampling_map) for sampling_map in sampling_maps(
        rotation=config.tta * config.rotation * c,
        scale=1 + config.tta * config.scale * np.stack([a * b, a * c], axis=1),
        shift=config.tta * config.shift * np.stack([a, b], axis=1),
        shear=config.tta * config.shear * np.stack([b * c, 0 * c], axis=1),
    )]  # fmt: skip


def average_predictions(probs: np.ndarray) -> np.ndarray:
    """Test-time augmentation: half of the weight has the image as it is, half have its transforms, alike.

    An average of six members has 3 to 4 % less log-loss and Brier score by that than by the transforms alone
    (submissions/EXPERIMENTS.md): a member errs on a moved image in other ways than on the image itself.

    Args:
        probs: float array (1 + transforms, …), of the image as it is first; without transforms (1, …).

    Returns:
        Float array (…).
    """
    return (probs[0] + probs[1:].mean(axis=0)) / 2 if len(probs) > 1 else probs[0]
