#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Oracle for zCDP and the discrete Gaussian, apart from the C code: 60-digit decimals, a golden-section
search over alpha instead of bisection on the derivative, and sums of the probability mass.

  python3 make.py > expected.json
"""
import json
from decimal import Decimal as D, getcontext

getcontext().prec = 60


def log_delta(rho, eps, alpha):
    return ((alpha - 1) * (alpha * rho - eps) + alpha * (1 - 1 / alpha).ln() - (alpha - 1).ln())


def delta_of(rho, eps):
    ratio = (D(5).sqrt() - 1) / 2
    low, high = D(1) + D(10) ** -9, (eps + 1) / (2 * rho) + 2
    for _ in range(170):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        if log_delta(rho, eps, a) < log_delta(rho, eps, b):
            high = b
        else:
            low = a
    return min(D(1), log_delta(rho, eps, low).exp())


def bisect(enough, low, high):
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def rho_of(eps, delta):
    return bisect(lambda r: delta_of(r, eps) > delta, D(0), eps + 1)


def eps_of(rho, delta):
    return bisect(lambda e: delta_of(rho, e) <= delta, D(0), rho + 20 * rho.sqrt())


def mass(variance):
    """P(0), P(1), ..., P(20) of the discrete Gaussian, and its variance."""
    weight = [(-D(x * x) / (2 * variance)).exp() for x in range(12 * int(variance**0.5 + 2))]
    total = weight[0] + 2 * sum(weight[1:])
    second = 2 * sum(w * x * x for x, w in enumerate(weight)) / total
    return {"variance": variance, "second": float(second),
            "p": [float(w / total) for w in weight[:21]]}


def main():
    spent = [{"rho": float(r), "delta": d, "epsilon": float(eps_of(D(r), D(d)))}
             for r, d in (("0.005", "1e-6"), ("0.02436", "1e-6"), ("0.1", "1e-6"), ("0.5", "1e-5"))]
    asked = [{"epsilon": float(e), "delta": d, "rho": float(rho_of(D(e), D(d)))}
             for e, d in (("0.1", "1e-6"), ("0.5", "1e-6"), ("1", "1e-6"), ("2", "1e-6"),
                          ("4", "1e-6"), ("8", "1e-6"), ("1", "1e-5"))]
    print(json.dumps({"epsilon": spent, "rho": asked, "mass": [mass(v) for v in (1, 3, 16)]}, indent=1))


main()
