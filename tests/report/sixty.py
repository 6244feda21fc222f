"""Sixty digits as a hand draws them with a mouse: ten digits, six ways of drawing each."""

import numpy as np

# Strokes as points that a smooth line goes through, in a box of 100 by 100, y downwards.
WHOLE = {
    0: ["54,3 30,8 15,35 15,65 32,95 60,96 82,70 84,35 70,10 50,4"],
    1: ["35,22 54,4 53,35 51,68 50,98"],
    2: ["18,25 28,8 52,3 74,14 74,36 52,62 20,95 32,88 55,93 86,94"],
    3: ["20,14 42,3 68,8 74,26 60,42 40,47 64,52 80,70 68,92 40,98 17,86"],
    4: ["38,3 28,28 17,55 48,57 86,54", "66,24 63,58 60,98"],
    5: ["34,5 31,25 28,44 50,38 74,50 80,70 64,92 40,97 18,88", "34,5 56,6 80,3"],
    6: ["66,3 40,22 22,52 22,80 42,97 68,92 76,72 60,56 38,62 26,78"],
    7: ["16,9 48,8 82,6 66,34 50,65 42,98"],
    8: ["74,16 52,3 30,12 32,32 56,48 76,68 70,91 46,98 26,86 30,66 54,46 74,28 72,14"],
    9: ["74,22 54,4 30,12 22,34 38,50 62,42 74,20 72,50 64,76 56,99"],
}
PIECES = {
    0: ["56,4 30,10 14,40 18,72 40,96", "53,5 74,14 86,45 74,82 42,95"],
    1: ["30,26 52,5", "53,3 52,50 51,97", "28,97 52,95 76,96"],
    2: ["20,28 32,8 56,4 76,20 66,46 18,95", "19,94 50,93 84,95"],
    3: ["22,14 48,3 72,16 62,38 38,47", "40,46 68,52 79,72 58,95 20,90"],
    4: ["36,4 28,28 16,58", "15,58 50,59 86,57", "64,6 62,50 60,98"],
    5: ["36,6 58,5 80,4", "35,7 32,26 30,42", "29,43 54,38 78,56 72,84 46,97 18,90"],
    6: ["64,3 38,26 22,58 26,86 44,97", "25,72 46,55 70,62 74,82 44,97"],
    7: ["17,8 50,7 82,6", "82,6 62,44 44,98", "34,52 55,51 76,50"],
    8: ["52,4 30,16 36,40 54,47 74,30 70,9 50,4", "52,47 26,66 32,93 56,98 78,82 72,58 52,47"],
    9: ["72,16 48,4 26,20 32,44 56,46 73,18", "74,14 72,52 66,98"],
}
WAYS = ("small", "corner", "thick", "thin", "slanted", "pieces")
PEN = {"thick": 72, "thin": 18}  # of a pad of 560; the page gives 42


def drawing(digit: int, way: str) -> tuple[list[np.ndarray], int]:
    """The strokes of one digit, each as points (n, 2) in a pad of side 1, and the width of the pen."""
    size, middle = {"small": (0.28, (0.55, 0.45)), "corner": (0.42, (0.74, 0.74))}.get(way, (0.66, (0.5, 0.5)))
    shake = np.random.default_rng([digit, WAYS.index(way)])
    strokes = []
    for stroke in (PIECES if way == "pieces" else WHOLE)[digit]:
        points = np.array([point.split(",") for point in stroke.split()], float)
        line = smooth(points + shake.normal(0, 3, points.shape)) / 100 - 0.5
        line[:, 0] *= 0.8  # digits are higher than wide
        if way == "slanted":
            line[:, 0] -= 0.45 * line[:, 1]
        strokes.append(line * size + middle)
    return strokes, PEN.get(way, 42)


def smooth(points, between: int = 6) -> np.ndarray:
    """A Catmull-Rom spline through points (n, 2), with so many steps from each to the next."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, between, endpoint=False)[:, None]
    parts = [
        b + t / 2 * (c - a) + t**2 * (a - 2.5 * b + 2 * c - d / 2) + t**3 / 2 * (3 * b - 3 * c + d - a)
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
    ]
    return np.concatenate([*parts, points[-1:]])
