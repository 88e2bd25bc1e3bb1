"""Wrong answers are not timed: every engine's logits are compared with PyTorch's (and PEFT's) before the clock starts."""

import numpy as np

# Largest difference as a part of the largest logit. Reduced precision is checked for being the same model, not for being exact.
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-1, "int8": 3e-1}


class WrongAnswer(Exception):
    pass


def difference(found, expected) -> float:
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        raise WrongAnswer(f"expected logits {expected.shape}, found {found.shape}")
    if not np.isfinite(found).all():
        raise WrongAnswer("logits are not finite")
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def check(what: str, precision: str, found, expected) -> float:
    """The difference; raises WrongAnswer over the tolerance."""
    error = difference(found, expected)
    if error > TOLERANCE[precision]:
        raise WrongAnswer(f"{what}: logits differ by {error:.2g} of the largest, allowed {TOLERANCE[precision]:g} in {precision}")
    return error
