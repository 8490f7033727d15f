#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print a result of `nof1 lab run --json` beside the pooled reference of R, and what left each site.

Usage: compare.py RESULT.json REFERENCE.json SECTION
SECTION names an object of REFERENCE.json: {"path.in.result": value, ...}. Exit 1 when a relative
difference exceeds the section's tolerance.
"""
import json
import sys


def find(value, path):
    for key in path.split("/"):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def main():
    result = json.load(open(sys.argv[1], encoding="utf-8"))
    reference = json.load(open(sys.argv[2], encoding="utf-8"))[sys.argv[3]]
    worst = 0.0
    print(f"  {'number':<42} {'federated':>22} {'pooled in R':>22} {'relative difference':>20}")
    for name, entry in reference["numbers"].items():
        ours = find(result, entry["path"])
        theirs = entry["value"]
        difference = abs(ours - theirs) / max(abs(theirs), 1e-300) if theirs != 0 else abs(ours)
        worst = max(worst, difference)
        print(f"  {name:<42} {ours:>22.15g} {theirs:>22.15g} {difference:>20.1e}")
    privacy = result["privacy"]
    print(f"  left the sites: {privacy['scalars']} numbers of outcomes and {privacy['design_scalars']} of design"
          f" about {privacy['patients']} patients, {privacy['rounds']} round(s); released/unknown {privacy['ratio']:.3f}")
    for site in privacy["sites_each"]:
        print(f"    {site['site']:<10} sent {site['bytes_in']:>7} bytes, received {site['bytes_out']:>7} bytes")
    if worst > reference["tolerance"]:
        print(f"  MISMATCH: {worst:.1e} is more than {reference['tolerance']:.0e}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
