#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The measurements of tests/bench/run.sh: see there."""
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.path.abspath(sys.argv[1])
HERE = os.path.dirname(os.path.abspath(__file__))
MAP = """source: {driver: csv}
columns: {trial: trial, cycle: cycle, period: period, treatment: treatment}
outcomes: {y: {column: y, kind: continuous}, hit: {column: hit, kind: binary}, grade: {column: grade, kind: ordinal}}
"""
ASK = "plan: 1\ntreatment: {reference: '0', active: ['1']}\ndeadline: 30m\n"
HEAD = ASK + "outcome: y\n"
PLANS = {
    "slope": HEAD + "analysis: mixed_model\nrandom: {trial: [intercept, treatment]}\nmethod: REML\n",
    "score": HEAD + "analysis: mixed_model\nrandom: {trial: [intercept, treatment]}\nmethod: REML\nincomplete: score\n",
    "reml": HEAD + "analysis: random_effects\nmethod: REML\ntest: knha\n",
    "bayes": HEAD + "analysis: bayes\npriors: {mu: {normal: [0, 10]}, tau: {half_normal: 5}}\n",
    "logit": ASK + "outcome: hit\nanalysis: glmm\nfamily: binomial\nquadrature: 9\n",
    "ordinal": ASK + "outcome: grade\nanalysis: glmm\nfamily: ordinal\nquadrature: 9\n",
}


def generate(folder, sites, trials):
    """Complete trials of three cycles, one observation a period; the same on every machine."""
    os.makedirs(folder + "/sites")
    state = 88172645463325252

    def uniform():
        nonlocal state
        state ^= (state << 13) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 7
        state ^= (state << 17) & 0xFFFFFFFFFFFFFFFF
        return (state >> 11) / 9007199254740992.0

    def normal():
        return sum(uniform() for _ in range(4)) * 1.7320508 - 3.4641016
    files = [open(f"{folder}/sites/site{s:04d}.csv", "w", encoding="ascii") for s in range(sites)]
    for file in files:
        file.write("trial,cycle,period,treatment,y,hit,grade\n")
    for t in range(trials):
        a, b = 20 + 3 * normal(), 1 + 0.8 * normal()
        lines = []
        for cycle in range(3):
            first = 1 if uniform() < 0.5 else 0
            for k in range(2):
                arm = first if k == 0 else 1 - first
                y = a + b * arm + 1.5 * normal()
                latent = (a - 20) / 3 + 0.5 * arm + 1.8 * normal()
                grade = 1 + sum(latent > cut for cut in (-2, -0.5, 0.5, 2))
                lines.append(f"t{t},{cycle + 1},{cycle * 2 + k + 1},{arm},{y:.3f},{int(latent > 0)},{grade}\n")
        files[t % sites].writelines(lines)
    for file in files:
        file.close()
    with open(folder + "/map.yaml", "w", encoding="ascii") as out:
        out.write(MAP)
    for name, text in PLANS.items():
        with open(f"{folder}/{name}.yaml", "w", encoding="ascii") as out:
            out.write(text)


def memory(found, stop):
    """Largest resident memory of each program, read while the consortium runs."""
    while not stop.is_set():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/status", encoding="ascii") as status:
                    text = status.read()
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
                    private = sum(int(x) for x in re.findall(r"Private_\w+:\s+(\d+)", rollup.read()))
            except OSError:
                continue
            name = re.search(r"Name:\s+(\S+)", text).group(1)
            rss = re.search(r"VmRSS:\s+(\d+)", text)
            if name.startswith("nof1-") and rss:
                old = found.get(name, (0, 0))
                found[name] = (max(old[0], int(rss.group(1))), max(old[1], private))
        stop.wait(0.1)


def processor(samples, stop):
    """Processor time of every program of the consortium, all threads, every 2 ms (Linux's clock of a
    process, clock_getcpuclockid(3)): (monotonic seconds, {pid: (name, seconds)})."""
    names, listed = {}, 0.0
    while not stop.is_set():
        now = time.monotonic()
        if now - listed > 0.05:
            listed = now
            for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
                try:
                    with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                        name = comm.read().strip()
                except OSError:
                    continue
                if name.startswith("nof1-"):
                    names[pid] = name
        used = {}
        for pid, name in list(names.items()):
            try:
                used[pid] = (name, time.clock_gettime((~pid << 3) | 2))
            except OSError:
                del names[pid]
        samples.append((time.monotonic(), used))
        stop.wait(0.002)


def processor_between(samples, start, end):
    """Seconds of processor time by program between two moments: total and number of processes."""
    inside = [used for at, used in samples if start <= at <= end]
    found = {}
    if len(inside) > 1:
        for pid, (name, last) in inside[-1].items():
            if pid in inside[0]:
                total, count = found.get(name, (0.0, 0))
                found[name] = (total + last - inside[0][pid][1], count + 1)
    return found


def lab(folder, plans):
    """Run plans on real processes; seconds of each query at the coordinator, microseconds of rounds."""
    out = tempfile.mkdtemp(prefix="nof1-bench-")
    found, stop = {}, threading.Event()
    samples = []
    watchers = [threading.Thread(target=memory, args=(found, stop)),
                threading.Thread(target=processor, args=(samples, stop))]
    for watcher in watchers:
        watcher.start()
    start = time.monotonic()
    run = subprocess.run([BUILD + "/bin/nof1", "lab", "run", "--sites", folder + "/sites", "--map", folder + "/map.yaml",
                          "--plan", ",".join(f"{folder}/{p}.yaml" for p in plans), "--policy", "open", "--json",
                          "--quiet", "--out", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    wall = time.monotonic() - start
    stop.set()
    for watcher in watchers:
        watcher.join()
    if run.returncode != 0:
        sys.exit(f"nof1 lab run failed ({run.returncode}): {run.stderr.decode()[-2000:]}")
    events = []
    with open(out + "/coordinator.log", encoding="utf-8") as log:
        for line in log:
            hit = re.search(r"event=ledger.append kind=(\S+) monotonic_us=(\d+)", line)
            if hit:
                events.append((hit.group(1), int(hit.group(2))))
    queries, rounds, opened, submitted = [], [], None, None
    for kind, at in events:
        if kind == "round.opened":
            opened = at
        elif kind == "round.closed" and opened is not None:
            rounds.append(at - opened)
        elif kind == "query.submitted":
            submitted = at
        elif kind in ("result.released", "result.derived") and submitted is not None:
            queries.append((at - submitted) * 1e-6)
    results = []
    for p in range(len(plans)):
        place = out if len(plans) == 1 else f"{out}/{p + 1}"
        with open(place + "/result.json", encoding="utf-8") as file:
            results.append(json.load(file))
    shutil.rmtree(out)
    at = [microseconds * 1e-6 for kind, microseconds in events if kind in ("round.opened", "round.closed")]
    return {"wall": wall, "queries": queries[-len(plans):], "rounds": rounds, "results": results, "memory": found,
            "processor": processor_between(samples, min(at), max(at))}


def processor_rows(row, got, nodes):
    """What a round costs where: on this machine, which runs every site, and where each has its own."""
    rounds, one = len(got["rounds"]), 0.0
    all_of_it = sum(total for total, _ in got["processor"].values()) / rounds
    row(f"processor time of a round, {nodes} nodes: whole machine", all_of_it * 1e3, "ms",
        f"{sum(count for _, count in got['processor'].values())} processes on {os.cpu_count()} cores")
    for name, (total, count) in sorted(got["processor"].items()):
        row(f"  one {name}", total / count / rounds * 1e3, "ms", f"of {count}")
        one += total / count / rounds
    row("  coordinator and one site: the longest chain", one * 1e3, "ms", "without network and waiting")


def memory_row(row, folder, everything):
    """One vault that holds all rows; the lab's policy open lets a consortium have one site."""
    shutil.rmtree(folder + "/sites")
    os.mkdir(folder + "/sites")
    os.rename(everything, folder + "/sites/site0000.csv")
    got = lab(folder, ["slope"])
    rss, private = got["memory"]["nof1-lab-site"]
    row("memory of a vault with 600,000 rows: resident", rss / 1024, "MB", f"{private / 1024:.1f} MB private")


def main():
    quick, many = "--quick" in sys.argv, "--nodes-500" in sys.argv
    out = sys.argv[sys.argv.index("--out") + 1] if "--out" in sys.argv else "bench.json"
    table, work = [], tempfile.mkdtemp(prefix="nof1-bench-data-")

    def row(what, value, unit, note=""):
        table.append({"what": what, "value": value, "unit": unit, "note": note})
        shown = "-" if value is None else f"{value:.4g}"
        print(f"{what:<58} {shown:>10} {unit:<8} {note}", flush=True)
    print(f"machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, stores in {tempfile.gettempdir()}")
    for nodes in (10, 50) if quick else (10, 50, 100):
        folder = f"{work}/r{nodes}"
        generate(folder, nodes, 4 * nodes)
        got = lab(folder, ["score"])
        micro = sorted(got["rounds"])
        row(f"secure round, {nodes} nodes, TLS: p50", statistics.median(micro) / 1e3, "ms", f"{len(micro)} rounds")
        row(f"secure round, {nodes} nodes, TLS: p99", micro[min(len(micro) - 1, int(0.99 * len(micro)))] / 1e3, "ms")
        processor_rows(row, got, nodes)
        if nodes == 10:
            for name, (rss, private) in sorted(got["memory"].items()):
                row(f"memory of {name}: resident", rss / 1024, "MB", f"{private / 1024:.1f} MB private")
            each = got["results"][0]["privacy"]["sites_each"][0]
            row("bytes a site sends in one score query", each["bytes_in"], "bytes",
                f"{got['results'][0]['privacy']['rounds']} rounds")
    for trials in (1000, 10000) if quick else (1000, 10000, 100000):
        folder = f"{work}/t{trials}"
        generate(folder, 12, trials)
        alone = lab(folder, ["bayes"])  # after "reml" it would be answered from its totals
        got = lab(folder, ["slope", "reml", "logit", "ordinal"])
        pooled = {}
        if shutil.which("Rscript"):
            run = subprocess.run(["Rscript", HERE + "/pooled.R", folder + "/sites"], stdout=subprocess.PIPE, check=False)
            pooled = json.loads(run.stdout) if run.returncode == 0 else {}
        else:
            print("Rscript is not installed: no pooled times")
        slope, reml, logit, ordinal = got["queries"]
        row(f"random-slope REML, {trials} trials, 12 nodes: query", slope, "s")
        for name in ("lmer_slope", "lme_slope"):
            if pooled.get(name) is not None:
                row(f"  pooled {name}", pooled[name], "s", f"{pooled[name] / slope:.1f} times as long")
        row(f"REML meta-analysis, {trials} trials, 12 nodes: query", reml, "s")
        if pooled.get("rma_reml") is not None:
            row("  pooled rma", pooled["rma_reml"], "s", f"{pooled['rma_reml'] / reml:.1f} times as long")
        for what, seconds, names in (("logit GLMM, 9 nodes of quadrature", logit, ("glmer_1", "glmer_9")),
                                     ("ordinal GLMM, 5 levels, 9 nodes", ordinal, ("clmm2",)),
                                     ("Bayes two-stage, eight priors", alone["queries"][0], ("jags",))):
            row(f"{what}, {trials} trials: query", seconds, "s")
            for name in names:
                if pooled.get(name) is not None:
                    row(f"  pooled {name}", pooled[name], "s", f"{pooled[name] / seconds:.1f} times as long")
        one = folder + "/all.csv"
        with open(one, "wb") as joined:
            for number, name in enumerate(sorted(os.listdir(folder + "/sites"))):
                with open(f"{folder}/sites/{name}", "rb") as part:
                    joined.write(part.read() if number == 0 else part.read().split(b"\n", 1)[1])
        run = subprocess.run([BUILD + "/tests/bench/bench_csv", one, folder + "/map.yaml", "3"], stdout=subprocess.PIPE, check=True)
        row(f"CSV into a vault's table, {trials} trials", json.loads(run.stdout)["megabytes_per_second"], "MB/s",
            "per second of one core")
        if trials == 100000:
            memory_row(row, folder, one)
        shutil.rmtree(folder)
    if many:
        folder = f"{work}/n500"
        generate(folder, 500, 1000)
        got = lab(folder, ["reml"])
        row("one query over 500 attached nodes", got["queries"][0], "s", f"{got['wall']:.0f} s with start and stop")
    shutil.rmtree(work)
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"load": os.getloadavg(), "cores": os.cpu_count(), "rows": table}, file, indent=1)
    print(f"written: {out}")


if __name__ == "__main__":
    main()
