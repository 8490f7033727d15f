#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/forms.md: what each model releases, as `nof1 check` tells it of two made-up consortia.

Usage: make-forms.py BIN_DIR [--check]
--check: write nothing; fail when docs/forms.md is not what the programs say today.
"""
import difflib
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MAP = """columns: {trial: trial, cycle: cycle, period: period, time: time, treatment: treatment}
outcomes:
  y: {column: y, kind: continuous}
  hit: {column: hit, kind: binary}
  events: {column: events, kind: count}
  grade: {column: grade, kind: ordinal}
covariates: [age, ward]
"""
SLOPE = "analysis: mixed_model\nrandom: {trial: [intercept, treatment]}\n"
LEVEL = "analysis: mixed_model\nrandom: {trial: [intercept]}\n"
NESTED = ('analysis: mixed_model\nrandom: {trial: [intercept], "trial:cycle": [intercept], '
          '"trial:treatment": [intercept]}\n')
PLANS = [
    ("summary_test", "y", "analysis: summary_test\n"),
    ("random_effects", "y", "analysis: random_effects\n"),
    ("random_effects, moderators: [ward]", "y", "analysis: random_effects\nmoderators: [ward]\n"),
    ("bayes, two_stage", "y", "analysis: bayes\n"),
    ("mixed_model, (1 | trial)", "y", LEVEL),
    ("mixed_model, (1 + trt | trial)", "y", SLOPE),
    ("mixed_model, (1 + trt | trial), by_treatment", "y", SLOPE + "residual: by_treatment\n"),
    ("mixed_model, trial + trial:cycle + trial:trt", "y", NESTED),
    ("mixed_model, (1 + trt | trial), fixed time", "y", SLOPE + "fixed: [treatment, time]\n"),
    ("mixed_model, (1 + trt | trial), factor(period)", "y",
     SLOPE + 'fixed: [treatment, "factor(period)"]\n'),
    ("mixed_model, (1 + trt | trial), site", "y", SLOPE + "fixed: [treatment, site]\n"),
    ("mixed_model, no random effect, ar1 by period", "y",
     "analysis: mixed_model\nrandom: {trial: []}\nresidual: ar1\nby: period\n"),
    ("mixed_model, (1 | trial), ar1 by period", "y", LEVEL + "residual: ar1\nby: period\n"),
    ("mixed_model, (1 | trial), ar1 by time", "y", LEVEL + "residual: ar1\n"),
    ("mixed_model, (1 + trt | trial), ar1 by period", "y", SLOPE + "residual: ar1\nby: period\n"),
    ("glmm, binomial", "hit", "analysis: glmm\n"),
    ("glmm, binomial, (1 + trt | trial)", "hit",
     "analysis: glmm\nquadrature: 1\nrandom: {trial: [intercept, treatment]}\n"),
    ("glmm, poisson", "events", "analysis: glmm\n"),
    ("glmm, ordinal", "grade", "analysis: glmm\n"),
    ("stratified, OR", "hit", "analysis: stratified\n"),
    ("stratified, OR, conditional", "hit", "analysis: stratified\nmethod: conditional\n"),
    ("stratified, OR, peto", "hit", "analysis: stratified\nmethod: peto\n"),
    ("stratified, IRR", "events", "analysis: stratified\n"),
    ("randomisation_test", "y", "analysis: randomisation_test\n"),
    ("monitor", "y", "analysis: monitor\n"),
    ("descriptive", "y", "analysis: descriptive\n"),
]


def rows(lost):
    """60 trials of three cycles at 12 sites; xorshift, so that every machine makes the same."""
    state = 88172645463325252

    def uniform():
        nonlocal state
        state ^= (state << 13) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 7
        state ^= (state << 17) & 0xFFFFFFFFFFFFFFFF
        return (state >> 11) / 9007199254740992.0
    for t in range(60):
        age, ward = 30 + t % 40, "ab"[t // 12 % 2]
        for period in range(1, 7):
            arm = (period + t) % 2
            value = uniform() * 4 + arm
            if uniform() < lost:
                continue
            yield (f"s{t % 12:02d}", f"t{t:02d}", (period + 1) // 2, period, period, arm,
                   f"{value:.2f}", int(value > 2.5), int(value), 1 + int(value) // 2, age, ward)


def consortium(bin_dir, folder, lost):
    os.makedirs(folder + "/sites")
    for row in rows(lost):
        path = f"{folder}/sites/{row[0]}.csv"
        new = not os.path.exists(path)
        with open(path, "a", encoding="utf-8") as out:
            if new:
                out.write("trial,cycle,period,time,treatment,y,hit,events,grade,age,ward\n")
            out.write(",".join(map(str, row[1:])) + "\n")
    with open(folder + "/map.yaml", "w", encoding="utf-8") as out:
        out.write(MAP)
    with open(folder + "/plan.yaml", "w", encoding="utf-8") as out:
        out.write('plan: 1\noutcome: y\ntreatment: {reference: "0", active: ["1"]}\n'
                  "analysis: descriptive\n")
    subprocess.run([bin_dir + "/nof1", "lab", "run", "--sites", folder + "/sites", "--map",
                    folder + "/map.yaml", "--plan", folder + "/plan.yaml", "--policy", "standard",
                    "--in-process", "--quiet", "--out", folder + "/out"], check=True,
                   stdout=subprocess.DEVNULL)


def ask(bin_dir, folder, outcome, text):
    with open(folder + "/asked.yaml", "w", encoding="utf-8") as out:
        out.write(f'plan: 1\noutcome: {outcome}\ntreatment: {{reference: "0", active: ["1"]}}\n')
        out.write(text)
    done = subprocess.run([bin_dir + "/nof1", "check", folder + "/asked.yaml", "--charter",
                           folder + "/out/charter.json", "--census", folder + "/out/census.json",
                           "--json"], stdout=subprocess.PIPE, check=False)
    return json.loads(done.stdout)


def line(name, data, found):
    name = name.replace("|", "\\|")
    if "form" not in found:
        others = [a["incomplete"] for a in found["alternatives"] if a["verdict"] == "accepted"]
        instead = "; accepted: " + ", ".join(others) if others else ""
        return f"| {name} | {data} | - | - | - | - | - | {found['verdict']}{instead} |"
    groups = found["groups"]
    key = groups[0] if len(groups) == 1 else f"{len(groups)} groups: {groups[0]}, ..."
    return (f"| {name} | {data} | {found['form']} | {key} | {found['scalars']} | {found['rounds']} "
            f"| {found['patients_needed']} | {found['verdict']} |")


def page(bin_dir):
    out = ["# What each model releases", "",
           "Made by `docs/make-forms.py BIN_DIR` from the registered analyses: what `nof1 check` says of",
           "60 patients with three cycles at 12 sites under policy `standard`, once with every period",
           "observed and once with a tenth of them lost. `numbers` are outcome scalars over all rounds,",
           "charged up front; `patients` the least at which the release ratio allows them; the verdict is",
           "`accepted` or the code of the first rule that would refuse. [statistics.md](statistics.md) says",
           "what the forms are.", "",
           "| model | data | form | class key | numbers | rounds | patients | verdict |",
           "|---|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as work:
        for data, lost in (("complete", 0.0), ("a tenth lost", 0.1)):
            consortium(bin_dir, f"{work}/{data[0]}", lost)
        for name, outcome, text in PLANS:
            for data in ("complete", "a tenth lost"):
                out.append(line(name, data, ask(bin_dir, f"{work}/{data[0]}", outcome, text)))
    return "\n".join(out) + "\n"


def main():
    made = page(os.path.abspath(sys.argv[1]))
    path = HERE + "/forms.md"
    if "--check" in sys.argv:
        with open(path, encoding="utf-8") as file:
            kept = file.read()
        sys.stdout.writelines(difflib.unified_diff(kept.splitlines(True), made.splitlines(True),
                                                   "docs/forms.md", "the programs"))
        return 0 if kept == made else 1
    with open(path, "w", encoding="utf-8") as file:
        file.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
