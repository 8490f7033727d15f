#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option of every analysis, as `nof1 catalog` lists them, through `nof1 lab run`.

Usage: options.py BIN_DIR
Each value of a choice, and a value other than the default of every other option, either changes the
result or is refused by its own name; no result has a number that is not finite. An option without a
value here fails, and so does one that changes nothing.
"""
import importlib.util
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPEC = importlib.util.spec_from_file_location("forms", ROOT + "/docs/make-forms.py")
FORMS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(FORMS)

HEADER = "trial,cycle,period,time,treatment,y,hit,events,grade,age,ward,stratum,days\n"
MAP = FORMS.MAP.replace("[age, ward]", "[age, ward, stratum, days]")
OUTCOME = {"glmm": "hit", "stratified": "hit"}
# What the analysis needs before an option means anything: {(analysis, key): other keys}.
BESIDE = {
    ("mixed_model", "by"): {"residual": "car1", "df": "z"},
    ("mixed_model", "tests"): {"incomplete": "exclude"},
    ("mixed_model", "interval"): {"incomplete": "exclude"},
    ("summary_test", "benefit"): {"form": "responder", "mcid": "0.5"},
    ("summary_test", "mcid"): {"form": "responder", "benefit": "higher"},
    ("goal_attainment", "benefit"): {"form": "responder", "mcid": "[age]"},
    ("goal_attainment", "rho"): {"goals": "[y, events]"},
    ("goal_attainment", "weights"): {"goals": "[y, events]"},
    ("goal_attainment", "mcid"): {"form": "mcid"},
    ("stratified", "rounds"): {"method": "conditional"},
    ("stratified", "exposure"): {"outcome": "events", "measure": "IRR"},
    ("stratified", "measure"): {"events": "any"},
    ("glmm", "exposure"): {"outcome": "events"},
    ("glmm", "random"): {"quadrature": "1"},
    ("monitor", "boundary"): {"method": "spending"},
    ("monitor", "max_information"): {"method": "spending", "planned": "400"},
    ("monitor", "looks"): {"method": "spending"},
    ("randomisation_test", "draws"): {"method": "monte_carlo"},
    ("randomisation_test", "least"): {"design": "start"},
    ("access", "breaks"): {"time": "[age]"},
    ("baseline_treatment", "by"): {"residual": "ar1"},
    ("random_effects", "by"): {"effect": "level_change"},
}
# Options that need one baseline and one treatment phase.
PHASES = {("random_effects", "by"), ("random_effects", "effect"), ("randomisation_test", "least")}
# A choice by form: what that form needs.
FORM = {
    ("mixed_model", "residual", "ar1"): {"df": "z"}, ("mixed_model", "residual", "car1"): {"df": "z"},
    ("mixed_model", "df", "satterthwaite"): {"incomplete": "exclude"},
    ("mixed_model", "method", "ML"): {"df": "z"},
    ("summary_test", "form", "responder"): {"mcid": "0.5", "benefit": "higher"},
    ("goal_attainment", "form", "mcid"): {"mcid": "[age]"},
    ("goal_attainment", "form", "responder"): {"mcid": "[age]", "benefit": "higher"},
    ("baseline_treatment", "df", "satterthwaite"): {"incomplete": "class", "by": "period"},
    ("baseline_treatment", "incomplete", "class"): {"by": "period"},
}
# A value other than the default for what is no choice.
VALUE = {
    "fixed": {"": "[treatment, age]", "baseline_treatment": "[]"},
    "random": {"": "{trial: [intercept]}", "glmm": "{trial: [intercept, treatment]}",
               "baseline_treatment": "{trial: [intercept, level_change]}"},
    "tests": {"": "[variances]"}, "change": {"": "[level]"}, "level": {"": "0.8"}, "moderators": {"": "[ward]"},
    "by": {"descriptive": "[arm]", "feasibility": "[ward]"}, "bins": {"": "5"},
    "priors": {"": "{mu: {normal: [0, 1]}, tau: {half_normal: 0.5}}"},
    "mcid": {"": "0.5", "goal_attainment": "[age]"}, "null_value": {"": "1"},
    "goals": {"": "[y, events]"}, "weights": {"": "[1, 3]"}, "rho": {"": "0.6", "monitor": "7"},
    "exposure": {"": "[days]"}, "homogeneity": {"": "true"}, "rounds": {"": "2"},
    "planned": {"": "300"}, "max_information": {"": "1000"}, "looks": {"": "[0.2]"},
    "quadrature": {"": "1"}, "draws": {"": "500"}, "step": {"": "0"}, "least": {"": "4"},
    "time": {"": "[age]"}, "breaks": {"": "[40, 60]"}, "expected": {"": "{a: 0.7, b: 0.3}"},
    "epsilon": {"": "3"},
}
# Values that rightly change nothing on these data: (analysis, key, value).
SAME = {
    ("random_effects", "method", "PM"),        # EB and PM are one estimator
    ("stratified", "rounds", "2"),             # an open lab iterates to the end
    ("mixed_model", "incomplete", "exclude"),  # no trial lies outside the classes
    ("glmm", "incomplete", "exclude"),
    ("randomisation_test", "alternative", "two_sided"),
}


def run(bin_dir, folder, analysis, keys):
    keys = dict(keys)
    outcome = keys.pop("outcome", OUTCOME.get(analysis, "y"))
    with open(folder + "/plan.yaml", "w", encoding="utf-8") as out:
        out.write(f'plan: 1\noutcome: {outcome}\ntreatment: {{reference: "0", active: ["1"]}}\n'
                  f"analysis: {analysis}\n")
        out.writelines(f"{key}: {value}\n" for key, value in keys.items())
    done = subprocess.run([bin_dir + "/nof1", "lab", "run", "--sites", folder + "/sites", "--map",
                           folder + "/map.yaml", "--plan", folder + "/plan.yaml", "--policy", "open",
                           "--in-process", "--quiet", "--json"], capture_output=True, text=True,
                          check=False, timeout=300)
    if done.returncode not in (0, 2, 3, 66, 78):
        return None, f"exit {done.returncode}: {done.stderr[-300:]}"
    if done.returncode != 0:
        return None, done.stderr + done.stdout

    def refuse(constant):
        raise ValueError(constant)
    result = json.loads(done.stdout, parse_constant=refuse)
    for key in ("provenance", "privacy"):
        result.pop(key, None)
    result.get("fit", {}).pop("rounds", None)
    return json.dumps(result, sort_keys=True), ""


def baseline(folder):
    """Six periods of baseline, then six of treatment, at times that are no whole numbers."""
    os.makedirs(folder + "/sites")
    with open(folder + "/sites/s.csv", "w", encoding="utf-8") as out:
        out.write(HEADER)
        for t in range(16):
            for p in range(1, 13):
                y = 5 + (t * 7 % 5) + 0.1 * p + (2 + t % 3 * 0.5) * (p > 6) + ((t * 31 + p * 17) % 11) / 5
                out.write(f"t{t},1,{p},{2 * p + (p > 3)},{int(p > 6)},{y:.2f},{p % 2},{p % 4},1,40,a,a,1\n")
    with open(folder + "/map.yaml", "w", encoding="utf-8") as out:
        out.write(MAP)


def values_of(analysis, option):
    choices = option.get("choices", "")
    key = option["key"]
    if "|" in choices and " " not in choices:
        return choices.split("|"), True
    table = VALUE.get(key, {})
    value = table.get(analysis, table.get(""))
    return ([] if value is None else [value]), False


def check_option(bin_dir, folder, analysis, option, failures):
    key = option["key"]
    values, choice = values_of(analysis, option)
    if not values:
        failures.append(f"{analysis}: {key} has no value in this test")
        return
    beside = BESIDE.get((analysis, key), {})
    seen, answered = {}, 0
    if not choice:
        seen[run(bin_dir, folder, analysis, beside)[0]] = "the default"
    for value in values:
        keys = {**beside, **FORM.get((analysis, key, value), {}), key: value}
        result, error = run(bin_dir, folder, analysis, keys)
        if result is None:
            if key not in error and str(value) not in error:
                failures.append(f"{analysis}: {key}: {value} ends with {error.strip()[-200:]}")
            continue
        answered += 1
        if result in seen and "auto" not in (value, seen[result]) and \
                (analysis, key, value) not in SAME and value not in ("charter",):
            if (analysis, key) not in {("summary_test", "benefit"), ("goal_attainment", "benefit")}:
                failures.append(f"{analysis}: {key}: {value} gives what {seen[result]} gives")
        seen[result] = value
    if answered == 0:
        failures.append(f"{analysis}: {key}: no value gave a result; last: {error.strip()[-200:]}")


def main():
    bin_dir = os.path.abspath(sys.argv[1])
    only = sys.argv[2] if len(sys.argv) > 2 else ""
    catalog = json.loads(subprocess.run([bin_dir + "/nof1", "catalog", "--json"], check=True,
                                        stdout=subprocess.PIPE).stdout)
    failures, options = [], 0
    with tempfile.TemporaryDirectory() as work:
        os.makedirs(work + "/cycles/sites")
        for row in FORMS.rows(0.05):
            path = f"{work}/cycles/sites/{row[0][:2]}.csv"
            new = not os.path.exists(path)
            with open(path, "a", encoding="utf-8") as out:
                if new:
                    out.write(HEADER)
                out.write(",".join(map(str, row[1:4] + (row[4] ** 2,) + row[5:] +
                                       (row[-1], 1 + row[3] % 3))) + "\n")
        with open(work + "/cycles/map.yaml", "w", encoding="utf-8") as out:
            out.write(MAP)
        baseline(work + "/baseline")
        for entry in catalog:
            analysis = entry["analysis"]
            if analysis == "planning" or only not in analysis:  # answers without data
                continue
            for option in entry["options"]:
                options += 1
                phases = analysis == "baseline_treatment" or (analysis, option["key"]) in PHASES
                folder = work + ("/baseline" if phases else "/cycles")
                check_option(bin_dir, folder, analysis, option, failures)
    for failure in failures:
        print("FAIL " + failure)
    print(f"{options} options, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
