#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that may appear nowhere outside a vault, and every form they could take.

canary.py plant DATA PATTERNS   make ids, outcomes, covariate and times of DATA/sites/*.csv unique
canary.py leak PATTERNS FOLDER  write every form of some of the values into files: all must be found
canary.py relay PATH TARGET LOG a UNIX socket between edge and vault that keeps every byte
canary.py lo LOG                every packet on the loopback interface (root), as it is
"""
import base64, csv, glob, hashlib, os, random, selectors, signal, socket, struct, sys
from decimal import Decimal
from fractions import Fraction


def ring(value):
    """enc(x) of docs/protocol.md: two's complement of x * 2^128, little-endian."""
    return (round(Fraction(value) * 2**128) % 2**256).to_bytes(32, "little")


def forms_of_bytes(raw):
    """Raw, hex in two cases, base64 (both alphabets) at its three alignments."""
    yield "raw", raw
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    for shift in range(3):
        for name, alphabet in (("b64", base64.b64encode), ("b64u", base64.urlsafe_b64encode)):
            text = alphabet(b"\0" * shift + raw).rstrip(b"=")
            whole = (8 * (shift + len(raw))) // 6  # characters that depend on known bits alone
            inner = text[(8 * shift + 5) // 6:whole]
            if len(inner) >= 8:
                yield f"{name}+{shift}", inner


def decimals(text):
    value = float(text)
    found = {text, repr(value), f"{value:.17g}", f"{value:.15g}", f"{value:.9e}", f"{value:.16e}",
             f"{value:.6f}", f"{value:.5f}", f"{value:.20f}", text.replace(".", ",")}
    return sorted(t for t in found if len(t) >= 8)


def forms(kind, text):
    """Pairs of a form's name and its bytes."""
    seen = {}
    for t in decimals(text) if kind != "id" else [text]:
        for name, raw in forms_of_bytes(t.encode()):
            seen.setdefault(raw, f"text.{name}")
    digest = hashlib.sha256(text.encode()).digest()
    blocks = [("sha256", digest)]
    if kind == "id":
        blocks.append(("utf16", text.encode("utf-16-le")))
    else:
        value = float(text)
        blocks += [("be64", struct.pack(">d", value)), ("le64", struct.pack("<d", value)),
                   ("enc", ring(value).strip(b"\0")),  # zeros are everywhere
                   ("sha256.be64", hashlib.sha256(struct.pack(">d", value)).digest()),
                   ("sha256.le64", hashlib.sha256(struct.pack("<d", value)).digest())]
    for block, raw in blocks:
        for name, pattern in forms_of_bytes(raw):
            seen.setdefault(pattern, f"{block}.{name}")
    return [(name, raw) for raw, name in seen.items() if len(raw) >= 5]


def plant(data, patterns):
    rng = random.Random(20260501)
    wanted = []  # kind, text

    def number(base, spread):
        return f"{Decimal(base) + Decimal(rng.randrange(1, 10**9)) * Decimal(spread) / 10**9:.9f}"

    for path in sorted(glob.glob(f"{data}/sites/*.csv")):
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        site = os.path.basename(path)[:-4]
        ids = {old: f"Kanarienvogel{site[-2:]}q{rng.randrange(10**7):07d}" for old in
               dict.fromkeys(row["id"] for row in rows)}
        ages = {old: number(18 + rng.randrange(70), "0.9") for old in ids}
        for old, new in ids.items():
            wanted += [("id", new), ("covariate", ages[old])]
        values = {}
        for row in rows:
            if row["pain"] not in ("", "NA"):
                old = min(max(float(row["pain"]), 0.5), 9)
                row["pain"] = number(f"{old:.1f}", "0.09")
                wanted.append(("outcome", row["pain"]))
                if row["phase"] == "treatment":
                    values.setdefault((row["id"], row["trt"]), []).append(float(row["pain"]))
            row["day"] = number(row["day"], "0.3") if row["phase"] == "treatment" else row["day"]
            if "." in row["day"]:
                wanted.append(("time", row["day"]))
            row["age"] = ages[row["id"]]
            row["id"] = ids[row["id"]]
        for old in ids:  # what an analysis computes of one patient
            a, b = values.get((old, "A")), values.get((old, "B"))
            if a and b:
                means = sum(a) / len(a), sum(b) / len(b)
                wanted += [("mean", f"{means[0]:.12f}"), ("mean", f"{means[1]:.12f}"),
                           ("effect", f"{abs(means[1] - means[0]):.12f}")]
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    with open(patterns, "w") as file:
        for kind, text in wanted:
            for name, raw in forms(kind, text):
                file.write(f"{kind}.{text}.{name} {raw.hex()}\n")
    print(f"{len(wanted)} values planted")


def leak(patterns, folder):
    """One file for each form of the first value of each kind, inside other bytes."""
    rng = random.Random(7)
    first, count = {}, 0
    for line in open(patterns):
        name, hexed = line.split()
        kind, rest = name.split(".", 1)
        value = rest[:rest.index(".", rest.index(".") + 1)] if kind != "id" else rest.split(".")[0]
        if first.setdefault(kind, value) == value:
            with open(f"{folder}/{count:04d}", "wb") as file:
                file.write(rng.randbytes(3000) + bytes.fromhex(hexed) + rng.randbytes(3000))
            count += 1
    # forms made by another hand: a store's page, a log line, base64 of a longer record
    text = first["outcome"]
    own = [b"event=x value=" + text.encode() + b"\n", struct.pack("<d", float(text)) * 2,
           base64.b64encode(b"{\"y\": " + text.encode() + b", \"more\": 1}"),
           base64.b64encode(b"{\"yy\": " + text.encode() + b", \"more\": 1}"),
           base64.b64encode(b"{\"yyy\": " + text.encode() + b", \"more\": 1}"),
           hashlib.sha256(first["id"].encode()).hexdigest().encode()]
    for raw in own:
        with open(f"{folder}/{count:04d}", "wb") as file:
            file.write(rng.randbytes(1000) + raw + rng.randbytes(1000))
        count += 1
    print(count)


def relay(path, target, log):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    poll, other = selectors.DefaultSelector(), {}
    poll.register(listener, selectors.EVENT_READ)
    with open(log, "ab", buffering=0) as kept:
        while True:
            for key, _ in poll.select():
                if key.fileobj is listener:
                    left, right = listener.accept()[0], socket.socket(socket.AF_UNIX)
                    try:
                        right.connect(target)
                    except OSError:
                        left.close()
                        continue
                    for a, b in ((left, right), (right, left)):
                        other[a] = b
                        poll.register(a, selectors.EVENT_READ)
                    continue
                if key.fileobj not in other:
                    continue
                peer = other[key.fileobj]
                try:
                    data = key.fileobj.recv(1 << 16)
                    kept.write(data)
                    peer.sendall(data)
                except OSError:
                    data = b""
                if not data:
                    for end in (key.fileobj, peer):
                        poll.unregister(end)
                        other.pop(end)
                        end.close()


def lo(log):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    packets.bind(("lo", 0))
    with open(log, "ab", buffering=0) as kept:
        while True:
            kept.write(packets.recv(1 << 17))


if __name__ == "__main__":
    {"plant": plant, "leak": leak, "relay": relay, "lo": lo}[sys.argv[1]](*sys.argv[2:])
