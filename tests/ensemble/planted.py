"""Made-up members: rows are hard or easy for all of them alike, and each errs by chance of its own on top."""

import numpy as np


def planted(rows, members, seed=0, strength=4.0, rows_seed=0):
    """Labels (rows,) and what members say, float32 (members, 2, rows, 10); more `strength` errs less."""
    labels, hardness = row_facts(rows, rows_seed)
    draw = np.random.default_rng([1, seed])
    return labels, np.stack([said(draw, labels, hardness, strength) for _ in range(members)])


def row_facts(rows, seed=0):
    """Labels, and how hard each row is."""
    draw = np.random.default_rng([0, seed])
    return draw.integers(10, size=rows), draw.exponential(1.2, rows)


def said(draw, labels, hardness, strength):
    """Of one member, float32 (2, rows, 10): by views its chance counts a little less."""
    noise = draw.normal(0, 1.4, (len(labels), 10))
    logits = np.stack([noise, 0.8 * noise])
    logits[:, np.arange(len(labels)), labels] += strength / hardness
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
