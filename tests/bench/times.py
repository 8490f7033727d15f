#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The measurements of tests/bench/times.sh: see there."""
import argparse
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("bin")
parser.add_argument("root")
parser.add_argument("--rounds", type=int, default=300)
parser.add_argument("--trials", type=int, default=60)
parser.add_argument("--large", type=int, default=100000)
args = parser.parse_args()

SITES = [f"site-0{n}" for n in range(1, 6)]
WATCHED = SITES[0]
PLAN = """plan: 1
title: times
outcome: relief
treatment: {reference: A, active: [B]}
analysis: glmm
family: binomial
quadrature: 9
"""
QUESTIONS = {11: "offer", 14: "round", 16: "close"}  # tags of proto/nof1.proto
ANSWERS = {12: "key", 15: "vector", 17: "attestation", 18: "refusal"}


# ---- data: one site differs, the others are the same -----------------------------------------------
def write_data(folder, counts, empty):
    """Sites of `counts` trials; `empty`: the first site's trials lack the outcome."""
    subprocess.run([args.bin + "/nof1", "lab", "new", "--sites", "5", "--trials", "60", "--seed", "5",
                    "--design", "ABAB", "--out", folder], check=True, capture_output=True)
    draw = random.Random(7)
    for site, count in zip(SITES, counts):
        with open(f"{folder}/sites/{site}.csv", "w", encoding="ascii") as out:
            out.write("id,cycle,period,day,trt,phase,pain,relief,attacks,age,sex,severity\n")
            for t in range(count):
                level = draw.gauss(0, 1)
                for period in range(4):
                    arm = "AB"[period % 2]
                    for k in range(4):
                        hit = int(level + 0.5 * (arm == "B") + draw.gauss(0, 1) > 0)
                        hit = "" if empty and site == WATCHED else hit
                        out.write(f"{site}-{t},{period // 2 + 1},{period + 1},{28 * period + 7 * k + 4},{arm},"
                                  f"treatment,{draw.randint(0, 100) / 10},{hit},{draw.randint(0, 9)},"
                                  f"{40 + t % 30},{'FM'[t % 2]},{('mild', 'severe')[t % 2]}\n")
    with open(folder + "/charter.yaml", encoding="ascii") as file:
        text = file.read()
    text = re.sub(r"patient_cap: \d+", f"patient_cap: {max(counts)}", text)
    with open(folder + "/charter.yaml", "w", encoding="ascii") as out:
        out.write(text)


def make(folder, counts, empty=False):
    os.makedirs(folder)
    write_data(folder + "/data", counts, empty)
    with open(folder + "/plan.yaml", "w", encoding="ascii") as out:
        out.write(PLAN)
    subprocess.run(["sh", "-euc", '. "$root/deploy/demo/consortium.sh"; consortium_enrol "$work/data"; '
                    'consortium_sign; consortium_freeze "$work/data"'], check=True,
                   env=dict(os.environ, bin=args.bin, root=args.root, work=folder, sites=" ".join(SITES)))


# ---- what somebody between edge and vault sees -----------------------------------------------------
def tag_of(frame):
    """The number of the first field that is neither query (1) nor attempt (2)."""
    at = 0
    while at < len(frame):
        tag, shift = 0, 0
        while True:
            byte = frame[at]
            at += 1
            tag |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if tag >> 3 > 2:
            return tag >> 3
        at += 1 + frame[at]
    return 0


class Relay:
    """Stands before the vault's socket and notes when frames pass."""

    def __init__(self, path, vault, seen):
        self.vault, self.seen, self.asked = vault, seen, None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o600)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                edge = self.listener.accept()[0]
                behind = socket.socket(socket.AF_UNIX)
                behind.connect(self.vault)
            except OSError:
                return
            threading.Thread(target=self.pump, args=(edge, behind, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(behind, edge, False), daemon=True).start()

    def pump(self, source, sink, to_vault):
        pending = b""
        while True:
            try:
                data = source.recv(1 << 20)
            except OSError:
                data = b""
            now = time.monotonic_ns()
            pending += data
            while len(pending) >= 4 and len(pending) >= 4 + int.from_bytes(pending[:4], "big"):
                size = int.from_bytes(pending[:4], "big")
                tag, pending = tag_of(pending[4:4 + size]), pending[4 + size:]
                if to_vault and tag in QUESTIONS:
                    self.asked = time.monotonic_ns()
                elif not to_vault and tag in ANSWERS and self.asked is not None:
                    self.seen.append((ANSWERS[tag], (now - self.asked) / 1e6))
            try:
                if not data:
                    raise OSError
                sink.sendall(data)
            except OSError:
                for end in (source, sink):
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
                return


# ---- one query of one consortium ------------------------------------------------------------------
def query(template, vault_program):
    """Answers of the watched site to census and query, in order: (kind, milliseconds)."""
    base = tempfile.mkdtemp(prefix="times-", dir=os.environ.get("TMPDIR", "/dev/shm"))
    folder, seen, running = base + "/c", [], []
    shutil.copytree(template, folder)

    def start(*words):
        running.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    try:
        ca = f"{folder}/ca"
        start(args.bin + "/nof1-coordinator", "serve", "--dir", folder + "/hub", "--listen", "127.0.0.1:0",
              "--ca", ca + "/ca.pem", "--cert", ca + "/coordinator/hub.pem", "--key", ca + "/coordinator/hub.key",
              "--crl", ca + "/crl", "--charter", folder + "/charter.json", "--port-file", folder + "/port")
        for site in SITES:
            start(f"{args.bin}/{vault_program}", "--dir", f"{folder}/{site}", "--charter",
                  f"{folder}/{site}/charter.json", "--site", site, "--key", f"{folder}/{site}/vault.key",
                  "--socket", f"{folder}/{site}/v.sock")
        paths = [f"{folder}/port"] + [f"{folder}/{site}/v.sock" for site in SITES]
        until = time.monotonic() + 20
        while not all(os.path.exists(path) for path in paths) and time.monotonic() < until:
            time.sleep(0.01)
        relay = Relay(f"{folder}/relay.sock", f"{folder}/{WATCHED}/v.sock", seen)
        with open(folder + "/port", encoding="ascii") as file:
            target = f"127.0.0.1:{file.read().strip()}"
        for site in SITES:
            path = f"{folder}/relay.sock" if site == WATCHED else f"{folder}/{site}/v.sock"
            start(args.bin + "/nof1-edge", "--socket", path, "--target", target, "--ca", ca + "/ca.pem",
                  "--cert", f"{ca}/site/{site}.pem", "--key", f"{ca}/site/{site}.key", "--crl", ca + "/crl")
        run = subprocess.run([args.bin + "/nof1", "run", folder + "/plan.yaml", "--target", target, "--ca",
                              ca + "/ca.pem", "--cert", ca + "/statistician/ada.pem", "--key",
                              ca + "/statistician/ada.key", "--json"], capture_output=True, text=True,
                             timeout=120, check=False)
        relay.listener.close()
        return run.returncode, seen, run.stdout
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()
        shutil.rmtree(base)


# ---- Kolmogorov and Smirnov --------------------------------------------------------------------------
def kolmogorov_smirnov(a, b):
    a, b, i, j, largest = sorted(a), sorted(b), 0, 0, 0.0
    while i < len(a) and j < len(b):
        here = min(a[i], b[j])
        while i < len(a) and a[i] == here:
            i += 1
        while j < len(b) and b[j] == here:
            j += 1
        largest = max(largest, abs(i / len(a) - j / len(b)))
    root = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    x = (root + 0.12 + 0.11 / root) * largest
    return 1.0 if x < 0.2 else min(1.0, max(0.0, sum((2 if k % 2 else -2) * math.exp(-2 * k * k * x * x)
                                                     for k in range(1, 101))))


def quantile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(p * len(values)))]


def labelled(seen):
    """Answers with the round in the name: the census, then round 0, 1 and later ones."""
    found, vectors, census = [], 0, True
    for kind, ms in seen:
        if kind == "vector":
            name = ("census" if census else "round 0" if vectors == 0 else "round 1" if vectors == 1 else "later")
            vectors += 1
        else:
            name = kind
        if kind == "attestation" and census:
            census, vectors = False, 0
        found.append((name, ms))
    return found


def gather(templates, vault_program, rounds):
    times = {name: {} for name in templates}
    count = dict.fromkeys(templates, 0)
    while min(count.values()) < rounds:
        order = list(templates)
        random.shuffle(order)
        for name in order:
            code, seen, text = query(templates[name], vault_program)
            if not any(kind == "vector" for kind, _ in seen):
                raise SystemExit(f"{name}: no round was answered ({code}): {text[:400]}")
            for kind, ms in labelled(seen):
                times[name].setdefault(kind, []).append(ms)
                count[name] += kind in ("census", "round 0", "round 1", "later")
    return times


def report(title, times, names):
    print(f"\n{title}\nanswer        variant      n   median     p10     p90     p99    KS p against 'many'")
    for kind in ("key", "census", "round 0", "round 1", "later", "attestation"):
        for name in names:
            ms = times[name].get(kind, [])
            if len(ms) < 2:
                continue
            other = times["many"].get(kind, [])
            p = "" if name == "many" or len(other) < 2 else f"{kolmogorov_smirnov(ms, other):.3g}"
            print(f"{kind:12}  {name:8} {len(ms):5}  {quantile(ms, .5):7.2f} {quantile(ms, .1):7.2f} "
                  f"{quantile(ms, .9):7.2f} {quantile(ms, .99):7.2f}    {p}", flush=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything is ended and removed
work = tempfile.mkdtemp(prefix="nof1-times-")
try:
    half = [args.trials // 2] * 4
    variants = {"many": ([args.trials] + half, False), "none": ([args.trials] + half, True),
                "objects": ([args.trials] + [args.trials // 6] * 4, False)}
    made = {}
    for label, (sizes, without) in variants.items():
        made[label] = f"{work}/{label}"
        make(made[label], sizes, without)
    began = time.monotonic()
    report("nof1-vault, milliseconds", gather(made, "nof1-vault", args.rounds), made)
    report("answers at once (nof1-lab-site)", gather(made, "nof1-lab-site", max(args.rounds // 3, 60)), made)
    print(f"\n{time.monotonic() - began:.0f} s")
    if args.large > 0:
        patients = args.large // 16
        make(work + "/large", [patients] * 5)
        for program in ("nof1-lab-site", "nof1-vault"):
            code, found, _ = query(work + "/large", program)
            print(f"{program}, {patients} patients and {args.large} rows a site (exit {code}):",
                  " ".join(f"{kind} {ms:.1f}" for kind, ms in labelled(found)))
finally:
    shutil.rmtree(work)
