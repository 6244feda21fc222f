"""Augmented images, fast and stateless, and the views that a prediction averages.

Stateless: what happens to row i in epoch e depends on (seed, e, i) alone, so batch order, worker count and resuming
change nothing. Fast: albumentations takes eighteen times as long, most of it to draw the parameters of one image. So an
epoch draws all of them at once, each set for `SHARING` rows, other ones in the next epoch, and a picture is sampled
once, whatever moves it, by one call of OpenCV for `TOGETHER` of them (`make bench`). Never a flip: no digit survives
it.
"""

import os
from collections.abc import Callable
from functools import partial
from itertools import product

import cv2
import numpy as np

from competition.config import Config

SHARING = 8  # rows that share their movement in an epoch; other ones in the next
TOGETHER = 4  # pictures a call, always: of two, or of more than four, OpenCV's remap rounds otherwise
TILES = 4  # of the coarse grid, either way
BLOCK = 256  # movements whose maps are in memory at once: 1.6 MB
CENTRE = 13.5  # pixels, from the middle of the first one
PIXELS = np.arange(28, dtype=np.float32) - CENTRE
# (28, TILES + 1): the share of each corner of the grid in a pixel's displacement
SHARES = np.maximum(0, 1 - np.abs(np.linspace(0, TILES, 28)[:, None] - np.arange(TILES + 1))).astype(np.float32)
cv2.setNumThreads(0)  # members run side by side: OpenCV's own threads would only get in their way


class Augmenter:
    """Draws the augmented images of any epoch.

    Args:
        config: the ranges.
        seed: the member's.
    """

    def __init__(self, config: Config, seed: int):
        self.config, self.seed = config, seed
        self.elastic = _elastic(config.elastic) if config.elastic else None

    def __call__(self, images, rows, epoch: int) -> np.ndarray:
        """The rows' images as they look in an epoch.

        Args:
            images: uint8 array (n, 28, 28, 1), all images.
            rows: int array (m,), which of them, in any order.
            epoch: 0, 1, …

        Returns:
            uint8 array (m, 28, 28, 1).
        """
        c = self.config
        if not any((c.rotation, c.scale, c.shift, c.shear, c.grid, c.elastic)):
            return images[rows]
        draw = np.random.default_rng([self.seed, epoch])
        groups = -(-len(images) // SHARING)
        group = draw.permutation(len(images))[rows] // SHARING

        def uniform(half, *shape):
            return draw.uniform(-half, half, (groups, *shape)).astype(np.float32)

        corners = np.zeros((groups, TILES + 1, TILES + 1, 2), np.float32)
        corners[:, 1:-1, 1:-1] = uniform(c.grid, TILES - 1, TILES - 1, 2)
        movements = uniform(c.rotation), 1 + uniform(c.scale, 2), uniform(c.shift, 2), uniform(c.shear, 2), corners
        still, seeds = draw.random(groups) < c.unmoved, draw.integers(2**31, size=groups)
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(groups + 1))
        result = images[rows]
        for first in range(0, groups, BLOCK):
            maps = sampling_maps(*(movement[first : first + BLOCK] for movement in movements))
            for number, sampled in enumerate(maps, first):
                sharing = order[starts[number] : starts[number + 1]]
                if len(sharing) and not still[number]:
                    result[sharing] = warp(result[sharing], sampled)
                    if self.elastic:
                        result[sharing] = self.elastic(result[sharing], int(seeds[number]))
        return result


def _elastic(alpha: float) -> Callable[[np.ndarray, int], np.ndarray]:
    """Elastic distortion (Simard, Steinkraus and Platt 2003) of images, (n, 28, 28, 1), all by one seed."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would ask PyPI for news at every import
    import albumentations as A  # takes a second, which no recipe of ours has to wait for

    transform = A.Compose([A.ElasticTransform(alpha=alpha, sigma=5, p=1)])

    def distort(images, seed):
        transform.set_random_seed(seed)
        padded = np.concatenate([images, np.zeros((-len(images) % TOGETHER, 28, 28, 1), np.uint8)])
        return transform(images=padded)["images"][: len(images)]

    return distort


def sampling_maps(rotation, scale, shift, shear, corners=None) -> np.ndarray:
    """Where each pixel of moved pictures is found in the pictures: float32 array (m, 28, 28, 2) of x and y in pixels.

    A picture is scaled, turned, sheared and shifted about its middle.

    Args:
        rotation: float array (m,), degrees.
        scale, shift, shear: float arrays (m, 2), of x and y: factors, pixels, degrees.
        corners: float array (m, 5, 5, 2), pixels by which the corners of a coarse grid are displaced besides, and the
            pixels between them in proportion. Doucet moves the inner ones by a pixel at most.
    """
    turn, (shear_x, shear_y) = np.deg2rad(rotation), np.tan(np.deg2rad(shear)).T
    one = np.ones_like(shear_x)
    turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]).transpose(2, 0, 1)
    sheared = np.array([[one, shear_x], [shear_y, one]]).transpose(2, 0, 1)
    back = np.linalg.inv(sheared @ turned * scale[:, None, :]).astype(np.float32)
    start = CENTRE - (back @ shift[:, :, None])[..., 0]
    along_x, along_y = back[:, None, :, 0] * PIXELS[:, None], back[:, None, :, 1] * PIXELS[:, None]
    maps = along_x[:, None] + (along_y + start[:, None])[:, :, None]
    if corners is not None and corners.any():
        rows = np.tensordot(SHARES, corners, (1, 1))  # (28, m, 5, 2)
        maps += (SHARES @ rows).transpose(1, 0, 2, 3)
    return maps.astype(np.float32)


def warp(images, sampled) -> np.ndarray:
    """Images, uint8 (n, 28, 28, 1), moved by one map of `sampling_maps`, (28, 28, 2); from outside comes paper."""
    count = len(images)
    padded = np.concatenate([images, np.zeros((-count % TOGETHER, 28, 28, 1), np.uint8)])
    moved = [
        cv2.remap(np.ascontiguousarray(some[..., 0].transpose(1, 2, 0)), sampled, None, cv2.INTER_LINEAR)
        for some in padded.reshape(-1, TOGETHER, 28, 28, 1)
    ]
    return np.stack(moved).transpose(0, 3, 1, 2).reshape(-1, 28, 28, 1)[:count] if count else images


def tta_transforms(config: Config) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Eight ways to look at images before a prediction averages what is seen; none where the recipe wants none.

    A network that learned from moved pictures, all of them a little blurred by that, reads a picture better in several
    such ways than as it is. Each view shifts, turns, scales and shears by the same part of the training ranges, one way
    or the other. Which way is an orthogonal array (a 2^(6-3) fractional factorial design, Box and Hunter 1961): any
    two of the six movements go together as often as against each other.

    Returns:
        Functions of uint8 arrays (n, 28, 28, 1) that return as many images.
    """
    if not (config.tta and any((config.rotation, config.scale, config.shift, config.shear))):
        return []
    a, b, c = np.array(list(product((-1, 1), repeat=3))).T
    return [partial(warp, sampled=sampled) for sampled in sampling_maps(
        rotation=config.tta * config.rotation * c,
        scale=1 + config.tta * config.scale * np.stack([a * b, a * c], axis=1),
        shift=config.tta * config.shift * np.stack([a, b], axis=1),
        shear=config.tta * config.shear * np.stack([b * c, 0 * c], axis=1),
    )]  # fmt: skip
