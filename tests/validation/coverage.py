#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the intervals cover, and do the tests hold their level? Simulates consortia, runs each through
`nof1 lab run --in-process --policy open`, and counts.

Usage: coverage.py BIN_DIR [--replicates N] [--seed S] [--jobs J] [--only REGEX] [--markdown FILE]

Each row: how often the 95 % interval held the true value, with its Monte Carlo standard error; how
often the test rejected at 5 % where the truth is 0; the bias over its Monte Carlo standard error.
Fails when a scenario marked `exact` leaves 0.95 by more than 4 Monte Carlo errors + 0.01, or an
`at most` test rejects more often than 5 % + 4 Monte Carlo errors.
"""
import argparse
import concurrent.futures
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile

HEAD = ["plan: 1", "outcome: y", 'treatment: {reference: A, active: [B]}']


def crossover(rng, trials, cycles, effect, tau, sd, lost=0.0, level_sd=3.0, arms="AB", rho=0.0):
    """Rows of a series: one value a period, order drawn within each cycle."""
    rows = []
    for t in range(trials):
        level = rng.gauss(10.0, level_sd)
        own = {arm: (0.0 if i == 0 else effect + rng.gauss(0.0, tau)) for i, arm in enumerate(arms)}
        period, noise = 0, rng.gauss(0.0, sd)
        for c in range(cycles):
            order = list(arms)
            rng.shuffle(order)
            for arm in order:
                period += 1
                noise = rho * noise + math.sqrt(1.0 - rho * rho) * rng.gauss(0.0, sd)
                if rng.random() < lost:
                    continue
                y = level + own[arm] + noise
                rows.append((f"s{t % 4}", f"t{t:03d}", c + 1, period, arm, y))
    return rows


def phases(rng, trials, effect, sd, rho):
    """Six periods of baseline, then six of treatment, with serially correlated errors."""
    rows = []
    for t in range(trials):
        level, noise = rng.gauss(10.0, 3.0), rng.gauss(0.0, sd)
        for period in range(1, 13):
            arm = "A" if period <= 6 else "B"
            noise = rho * noise + math.sqrt(1.0 - rho * rho) * rng.gauss(0.0, sd)
            y = level + (effect if arm == "B" else 0.0) + noise
            rows.append((f"s{t % 4}", f"t{t:03d}", 1, period, arm, y))
    return rows


def events(rng, trials, periods, effect, sd, draw):
    """Counts or 0/1 by period: draw(rng, eta) with eta = patient's own level + effect."""
    rows = []
    for t in range(trials):
        level = rng.gauss(0.0, sd)
        for period in range(1, 2 * periods + 1):
            arm = "AB"[(period + t) % 2]
            y = draw(rng, level + (effect if arm == "B" else 0.0))
            rows.append((f"s{t % 4}", f"t{t:03d}", (period + 1) // 2, period, arm, y))
    return rows


def bernoulli(rng, eta):
    return int(rng.random() < 1.0 / (1.0 + math.exp(-eta)))


def poisson(rng, eta):
    limit, k, p = math.exp(-math.exp(0.7 + eta)), 0, rng.random()
    while p > limit:
        k += 1
        p *= rng.random()
    return k


def write(folder, rows, kind):
    os.makedirs(os.path.join(folder, "sites"))
    by_site = {}
    for row in rows:
        by_site.setdefault(row[0], []).append(row)
    for site, some in by_site.items():
        with open(os.path.join(folder, "sites", site + ".csv"), "w", encoding="utf-8") as out:
            out.write("trial,cycle,period,time,treatment,y\n")
            for _, trial, cycle, period, arm, y in some:
                out.write(f"{trial},{cycle},{period},{period},{arm},{y!r}\n")
    with open(os.path.join(folder, "map.yaml"), "w", encoding="utf-8") as out:
        out.write("columns: {trial: trial, cycle: cycle, period: period, time: time, "
                  "treatment: treatment}\n"
                  f"outcomes: {{y: {{column: y, kind: {kind}}}}}\n")


class Scenario:
    def __init__(self, name, plan, rows, truth, kind="continuous", rule="exact", read=None):
        self.name, self.plan, self.rows, self.truth = name, plan, rows, truth
        self.kind, self.rule, self.read = kind, rule, read or estimate_of("treatment")


def estimate_of(term, scale=lambda x: x):
    """(estimate, low, high, p) of the first term whose name starts so."""
    def read(result):
        for row in result["estimates"]:
            if row["term"].startswith(term):
                return (scale(row["estimate"]), scale(row["conf.low"]), scale(row["conf.high"]),
                        row.get("p.value"))
        raise KeyError(term)
    return read


def first_estimate(result):
    return estimate_of("")(result)


def tau_squared(result):
    h = result["heterogeneity"]
    return h["tau.squared"], h["conf.low"], h["conf.high"], None


def first_change(result):
    for row in result["estimates"]:
        if "level" in row["term"] or row["term"].startswith("treatment"):
            return row["estimate"], row["conf.low"], row["conf.high"], row.get("p.value")
    raise KeyError("level change")


def drawn_from_prior(rng):
    """mu and tau from the prior; (rows, mu): results are read as differences from mu."""
    mu, tau = rng.gauss(0.0, 2.0), abs(rng.gauss(0.0, 1.5))
    rows = crossover(rng, 12, 3, mu, tau, 2.0)
    return rows, mu


def scenarios():
    mixed = ["analysis: mixed_model", "fixed: [treatment]"]
    slope = mixed + ["random: {trial: [intercept, treatment]}"]
    level = mixed + ["random: {trial: [intercept]}"]
    for truth in (0.0, 1.0):
        def series(n=12, cycles=3, tau=1.0, lost=0.0, truth=truth, rho=0.0, arms="AB"):
            return lambda rng: crossover(rng, n, cycles, truth, tau, 2.0, lost, arms=arms, rho=rho)
        yield Scenario("summary_test, 12 trials", ["analysis: summary_test"], series(), truth)
        yield Scenario("random_effects REML, Knapp-Hartung, 12 trials",
                       ["analysis: random_effects"], series(), truth)
        yield Scenario("random_effects REML, Knapp-Hartung, 24 trials, 20 % lost",
                       ["analysis: random_effects"], series(24, lost=0.2), truth)
        yield Scenario("random_effects REML, z, 12 trials", ["analysis: random_effects", "test: z"],
                       series(), truth, rule="shown")
        yield Scenario("mixed_model slope, Kenward-Roger, 12 trials",
                       slope + ["df: kenward_roger"], series(), truth)
        yield Scenario("mixed_model slope, Satterthwaite, 12 trials",
                       slope + ["df: satterthwaite"], series(), truth)
        yield Scenario("mixed_model slope, z, 12 trials", slope + ["df: z"], series(), truth,
                       rule="shown")
        yield Scenario("mixed_model level, Kenward-Roger, 12 trials, no variation of effects",
                       level + ["df: kenward_roger"], series(tau=0.0), truth)
        yield Scenario("mixed_model slope, Kenward-Roger, 24 trials, 20 % lost",
                       slope + ["df: kenward_roger"], series(24, lost=0.2), truth)
        yield Scenario("baseline_treatment level change, AR(1), 12 patients",
                       ["analysis: baseline_treatment", "change: [level]", "fixed: []",
                        "random: {trial: [intercept]}", "residual: ar1", "by: period"],
                       lambda rng, truth=truth: phases(rng, 12, truth, 2.0, 0.4), truth,
                       rule="shown", read=first_change)
        yield Scenario("randomisation_test, 12 trials, one effect for all",
                       ["analysis: randomisation_test"], series(tau=0.0), truth, rule="at most",
                       read=first_estimate)
        yield Scenario("monitor, anytime-valid, 12 trials, one look", ["analysis: monitor"],
                       series(tau=0.0), truth, rule="at most", read=first_estimate)
        logit = truth
        yield Scenario("glmm binomial, 60 trials of 12",
                       ["analysis: glmm", "family: binomial", "random: {trial: [intercept]}"],
                       lambda rng, e=logit: events(rng, 60, 6, e, 1.0, bernoulli), logit,
                       kind="binary")
        yield Scenario("glmm poisson, 40 trials of 6",
                       ["analysis: glmm", "family: poisson", "random: {trial: [intercept]}"],
                       lambda rng, e=0.3 * truth: events(rng, 40, 3, e, 0.6, poisson), 0.3 * truth,
                       kind="count")
        for method in ("mantel_haenszel", "conditional"):
            yield Scenario(f"stratified OR, {method}, 60 trials of 12",
                           ["analysis: stratified", "measure: OR", f"method: {method}"],
                           lambda rng, e=logit: events(rng, 60, 6, e, 1.0, bernoulli), logit,
                           kind="binary", read=first_estimate)
        yield Scenario("stratified IRR, conditional, 40 trials of 6",
                       ["analysis: stratified", "measure: IRR", "method: conditional"],
                       lambda rng, e=0.3 * truth: events(rng, 40, 3, e, 0.6, poisson), 0.3 * truth,
                       kind="count", read=first_estimate)
    yield Scenario("bayes two_stage, mu and tau drawn from the prior, 12 trials",
                   ["analysis: bayes", "priors: {mu: {normal: [0, 2]}, tau: {half_normal: 1.5}}"],
                   drawn_from_prior, 0.0, read=first_estimate)
    yield Scenario("tau^2, Q profile, 24 trials", ["analysis: random_effects"],
                   lambda rng: crossover(rng, 24, 3, 1.0, 1.5, 2.0), 2.25, read=tau_squared)


def run_one(bin_dir, scenario, seed):
    rng = random.Random(seed)
    rows, moved = scenario.rows(rng), 0.0
    if isinstance(rows, tuple):
        rows, moved = rows
    with tempfile.TemporaryDirectory() as folder:
        write(folder, rows, scenario.kind)
        with open(os.path.join(folder, "plan.yaml"), "w", encoding="utf-8") as out:
            out.write("\n".join(HEAD + scenario.plan) + "\n")
        done = subprocess.run(
            [os.path.join(bin_dir, "nof1"), "lab", "run", "--sites", os.path.join(folder, "sites"),
             "--map", os.path.join(folder, "map.yaml"), "--plan",
             os.path.join(folder, "plan.yaml"), "--policy", "open", "--in-process", "--json"],
            capture_output=True, text=True, check=False, timeout=120)
    try:
        estimate, low, high, p = scenario.read(json.loads(done.stdout))
        return estimate - moved, low - moved, high - moved, p
    except (ValueError, KeyError, TypeError):
        return "failed: " + (done.stderr.strip().splitlines() or ["no output"])[-1]


def summarise(scenario, results):
    good = [r for r in results if isinstance(r, tuple) and None not in r[:3]]
    n = len(good)
    if n == 0:
        return {"name": scenario.name, "n": 0, "failed": len(results), "ok": False}
    covered = sum(low <= scenario.truth <= high for _, low, high, _ in good) / n
    rejected = None
    if scenario.truth == 0.0 and good[0][3] is not None:
        rejected = sum(p <= 0.05 for _, _, _, p in good) / n
    mean = sum(r[0] for r in good) / n
    sd = math.sqrt(sum((r[0] - mean) ** 2 for r in good) / max(n - 1, 1))
    error = math.sqrt(0.95 * 0.05 / n)
    ok = True
    if scenario.rule == "exact":
        ok = abs(covered - 0.95) <= 4.0 * error + 0.01
    elif scenario.rule == "at most":
        ok = (1.0 - covered if rejected is None else rejected) <= 0.05 + 4.0 * error
    return {"name": scenario.name, "truth": scenario.truth, "n": n, "failed": len(results) - n,
            "covered": covered, "error": error, "rejected": rejected,
            "bias": (mean - scenario.truth) / (sd / math.sqrt(n)) if sd > 0 else 0.0,
            "rule": scenario.rule, "ok": ok and n >= 0.98 * len(results)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("bin_dir")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="")
    parser.add_argument("--markdown", default="")
    args = parser.parse_args()
    lines = ["| analysis | truth | replicates | 95 % interval covers | rejects at 5 % | bias / error |",
             "|---|---|---|---|---|---|"]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for index, scenario in enumerate(scenarios()):
            if not re.search(args.only, scenario.name):
                continue
            first = args.seed * 10 ** 9 + index * 10 ** 6
            jobs = [pool.submit(run_one, args.bin_dir, scenario, first + i)
                    for i in range(args.replicates)]
            results = [job.result() for job in jobs]
            row = summarise(scenario, results)
            if row["n"] == 0:
                print(f"FAIL {scenario.name}: {results[0]}", flush=True)
                failed += 1
                continue
            rejected = "" if row["rejected"] is None else f"{row['rejected']:.3f}"
            lines.append(f"| {row['name']} | {row['truth']:g} | {row['n']} | {row['covered']:.3f} "
                         f"(mc error {row['error']:.3f}) | {rejected} | {row['bias']:+.1f} |")
            print(("ok   " if row["ok"] else "FAIL ") + lines[-1] +
                  (f" {row['failed']} without a result" if row["failed"] else ""), flush=True)
            failed += not row["ok"]
    if args.markdown:
        with open(args.markdown, "w", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
