"""Fits the polynomial of fast_gelu (activation_cuda.h) and prints its coefficients and the error that it leaves.

gelu(x) = max(x, 0) - a h(a) with a = |x| and h(a) = erfc(a / sqrt 2) / 2 = 2^q(a). An error of q appears in the result ln 2 * a h(a) times.
Remez's exchange makes the largest such error, relative to max(a h(a), 2^-10), as small as it can be.
"""

import math

DEGREE = 5
FLOOR = 2.0**-10  # smaller results count as if they were this large
END = 6.5  # a h(a) is 3e-10 there
POINTS = 4000


def solve(rows):
    """Gauss's elimination of [matrix | right side]."""
    size = len(rows)
    for i in range(size):
        pivot = max(range(i, size), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(size):
            if r != i:
                factor = rows[r][i] / rows[i][i]
                rows[r] = [x - factor * y for x, y in zip(rows[r], rows[i])]
    return [row[size] / row[i] for i, row in enumerate(rows)]


def horner(coefficients, a):
    value = 0.0
    for c in reversed(coefficients):
        value = value * a + c
    return value


def fit():
    points = [END * (i + 1) / POINTS for i in range(POINTS)]
    targets = [math.log2(math.erfc(a / math.sqrt(2)) / 2) for a in points]
    weights = [math.log(2) * min(1, a * 2**q / FLOOR) for a, q in zip(points, targets)]
    extrema = DEGREE + 2
    chosen = [int(POINTS * (1 - math.cos(math.pi * (i + 0.5) / extrema)) / 2) for i in range(extrema)]
    while True:
        rows = [[points[i] ** d for d in range(DEGREE + 1)] + [(-1) ** k / weights[i], targets[i]] for k, i in enumerate(chosen)]
        *coefficients, level = solve(rows)
        errors = [(horner(coefficients, a) - q) * w for a, q, w in zip(points, targets, weights)]
        chosen = []
        for i, error in enumerate(errors):  # the largest error of every run of one sign
            if not chosen or (error > 0) != (errors[chosen[-1]] > 0):
                chosen.append(i)
            elif abs(error) > abs(errors[chosen[-1]]):
                chosen[-1] = i
        while len(chosen) > extrema:
            del chosen[0 if abs(errors[chosen[0]]) < abs(errors[chosen[-1]]) else -1]
        largest = max(map(abs, errors))
        if largest < abs(level) * 1.0001:
            return coefficients, largest


if __name__ == "__main__":
    found, error = fit()
    print("from degree", DEGREE, "on:", ", ".join(f"{c:.9g}F" for c in reversed(found)))
    print(f"largest error 2^{math.log2(error):.2f} of max(|gelu|, 2^{math.log2(FLOOR):.0f})")
