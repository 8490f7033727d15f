#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known answers of frozen-roster masking, made without a line of the C code.

Written from docs/protocol.md and the table in lib/crypto/hash.h: SHA-256 and HMAC from the standard
library, X25519, AES and ECDSA from python3-cryptography, ring arithmetic with Python's integers and
fractions. Run: make_vectors.py > frm.json. Everything is fixed, so the output never changes.
"""
import hashlib
import hmac
import json
import struct
import sys
from fractions import Fraction

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MODULUS = 1 << 256
M = 4
ROUNDS = 2


def field(data):
    return struct.pack(">Q", len(data)) + data


def integer(value):
    return field(struct.pack(">Q", value))


def framed(domain, *fields):
    """SHA-256 over the domain and the fields; a field that is an int is an integer."""
    data = field(domain.encode())
    for item in fields:
        data += integer(item) if isinstance(item, int) else field(item)
    return hashlib.sha256(data).digest()


def extract(salt, ikm):
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def expand(prk, info):
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def encode(value):
    """Round half to even of value * 2^128; Python's round() of a Fraction does exactly that."""
    return round(Fraction(value) * (1 << 128)) % MODULUS


def ring(value):
    return value.to_bytes(32, "little")


def vector(values):
    return b"".join(ring(v) for v in values)


def signed(value):
    return value - MODULUS if value >> 255 else value


def keystream(key, count):
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    data = encryptor.update(bytes(32 * count)) + encryptor.finalize()
    return [int.from_bytes(data[32 * i:32 * i + 32], "little") for i in range(count)]


def bits(value):
    return struct.pack(">d", value).hex()


def numbers():
    """Doubles whose encodings are recorded: plain, exact, tied, subnormal, limits."""
    ulp = 2.0 ** -52
    out = [0.0, 1.0, -1.0, 0.5, -0.5, 0.1, -0.1, 3.141592653589793, -2.718281828459045,
           1e-10, -1e-10, 123456789.123456789, 1e12, -1e12, 2.0 ** 63, 2.0 ** 64, -(2.0 ** 64),
           2.0 ** 95 * (2 - ulp), 2.0 ** 96, -(2.0 ** 96), 2.0 ** -128, -(2.0 ** -128),
           2.0 ** -76 * (1 + ulp), 2.0 ** -77 * (1 + ulp), 2.0 ** -77 * (1 + 3 * ulp),
           2.0 ** -129, 3 * 2.0 ** -129, 5 * 2.0 ** -129, -(2.0 ** -129), -3 * 2.0 ** -129,
           2.0 ** -129 * (1 + ulp), 2.0 ** -129 * (1 - ulp / 2), 2.0 ** -130, 1e-38, -1e-38,
           2.0 ** -1022, 5e-324, -5e-324, 2.225073858507201e-308, 1e-300, 7 * 2.0 ** -130]
    return [{"bits": bits(x), "ring": ring(encode(x)).hex()} for x in out] + \
           [{"bits": "8000000000000000", "ring": ring(0).hex()}]


def decodings():
    """Ring elements and the double nearest to each (int / int division in Python rounds so)."""
    raw = [0, 1, -1, 1 << 128, (1 << 53) + 1, (1 << 53) + 3, (1 << 54) - 1, -((1 << 54) - 1),
           (1 << 181) + (1 << 128), (1 << 181) + (1 << 128) + 1, (1 << 255) - 1, -(1 << 255),
           (1 << 255) - (1 << 201), (1 << 200) - 1, -((1 << 117) + (1 << 64)),
           (1 << 117) + (1 << 64) + 1, 0x0123456789abcdef0123456789abcdef0123456789abcdef]
    return [{"ring": ring(v % MODULUS).hex(), "bits": bits(v / (1 << 128))} for v in raw]


def query():
    """The documents, keys and advertisements of three sites."""
    charter = b'{"study":"vectors","version":1}'
    plan = b'{"analysis":"vectors","epoch":1,"version":1}'
    out = {"charter": charter, "plan": plan, "attempt": hashlib.sha256(b"attempt").digest()}
    out["h_c"] = framed("nof1-charter-v1", charter)
    out["h_q"] = framed("nof1-plan-v1", plan)
    out["sites"] = []
    # Not in alphabetical order, and "site-10" < "site-9" as bytes.
    for name in ["site-9", "alpha", "site-10"]:
        secret = hashlib.sha256(b"x25519 " + name.encode()).digest()
        key = X25519PrivateKey.from_private_bytes(secret)
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        nonce = hashlib.sha256(b"nonce " + name.encode()).digest()
        fields = [name.encode(), out["h_c"], out["h_q"], out["attempt"], public, nonce]
        # Any bytes serve as signature here: H_R hashes them, the unit tests of keys verify some.
        signature = hashlib.sha512(b"signature " + name.encode()).digest()
        out["sites"].append({"site": name, "secret": secret, "x25519": public, "nonce": nonce,
                             "signature": signature, "digest": framed("nof1-keyad-v1", *fields),
                             "fields": fields, "key": key})
    ads = sorted(out["sites"], key=lambda s: s["site"].encode())
    out["h_roster"] = framed("nof1-roster-v1",
                             *[f for s in ads for f in s["fields"] + [s["signature"]]])
    out["psk"] = b"a pre-shared key of one pair"
    return out


def chains(q):
    """CK_0 of every pair; the pair alpha, site-9 has a pre-shared key."""
    out = {}
    for a in q["sites"]:
        for b in q["sites"]:
            low, high = a["site"], b["site"]
            if low.encode() >= high.encode():
                continue
            shared = a["key"].exchange(X25519PublicKey.from_public_bytes(b["x25519"]))
            psk = q["psk"] if (low, high) == ("alpha", "site-9") else b""
            info = (field(b"nof1-pair-v1") + field(q["h_q"]) + field(low.encode()) +
                    field(high.encode()))
            out[(low, high)] = expand(extract(q["h_roster"], shared + psk), info)
    return out


def run(q, params):
    chain = chains(q)
    names = sorted((s["site"] for s in q["sites"]), key=str.encode)
    transcript = framed("nof1-frm-v1", q["h_c"], q["h_q"], q["h_roster"])
    rounds = []
    for r in range(ROUNDS):
        one = {"transcript": transcript.hex(), "params": [bits(p) for p in params[r]],
               "pairs": [], "sites": []}
        masks = {name: [0] * M for name in names}
        for (low, high), ck in sorted(chain.items()):
            key = expand(ck, b"nof1-mask" + transcript)
            stream = keystream(key, M)
            masks[low] = [(a + b) % MODULUS for a, b in zip(masks[low], stream)]
            masks[high] = [(a - b) % MODULUS for a, b in zip(masks[high], stream)]
            one["pairs"].append({"lower": low, "higher": high, "chain": ck.hex(),
                                 "key": key.hex(), "stream": vector(stream).hex()})
            chain[(low, high)] = expand(ck, b"nof1-ratchet")
        total = [0] * M
        for i, name in enumerate(names):
            x = [1.0, 3.0 + i, -0.1 * (i + 1) * (r + 1), 1e-9 * (i - 1) + 1e6 * r]
            clear = [encode(v) for v in x]
            y = [(c + k) % MODULUS for c, k in zip(clear, masks[name])]
            total = [(t + v) % MODULUS for t, v in zip(total, y)]
            digest = framed("nof1-masked-v1", name.encode(), q["h_q"], q["h_roster"], r,
                            transcript, vector(y))
            one["sites"].append({"site": name, "x": [bits(v) for v in x],
                                 "clear": vector(clear).hex(), "mask": vector(masks[name]).hex(),
                                 "masked": vector(y).hex(), "digest": digest.hex()})
        one["total"] = vector(total).hex()
        one["total_bits"] = [bits(signed(t) / (1 << 128)) for t in total]
        total_hash = framed("nof1-total-v1", vector(total))
        one["total_hash"] = total_hash.hex()
        rounds.append(one)
        following = params[r + 1]
        transcript = framed("nof1-round-v1", transcript, r + 1, len(following),
                            *[struct.pack(">d", p) for p in following], total_hash)
    closing = {"transcript": transcript.hex(), "attest": {
        name: framed("nof1-attest-v1", name.encode(), q["h_q"], q["h_roster"], ROUNDS - 1,
                     transcript).hex() for name in names}}
    return rounds, closing


def main():
    q = query()
    rounds, closing = run(q, [[], [0.25, -1e-3, 0.1], []])
    sites = [{"site": s["site"], "secret": s["secret"].hex(), "x25519": s["x25519"].hex(),
              "nonce": s["nonce"].hex(), "signature": s["signature"].hex(),
              "keyad": s["digest"].hex()} for s in q["sites"]]
    document = {
        "made_by": "tests/vectors/make_vectors.py",
        "charter": q["charter"].decode(), "plan": q["plan"].decode(),
        "h_c": q["h_c"].hex(), "h_q": q["h_q"].hex(), "attempt": q["attempt"].hex(),
        "sites": sites, "psk": {"lower": "alpha", "higher": "site-9", "bytes": q["psk"].hex()},
        "h_roster": q["h_roster"].hex(), "m": M, "rounds": rounds, "close": closing,
        "refusal": {"site": "alpha", "code": "E2205",
                    "digest": framed("nof1-refusal-v1", b"alpha", q["h_q"], q["attempt"],
                                     b"E2205").hex()},
        "submit": framed("nof1-submit-v1", q["h_q"]).hex(),
        "encode": numbers(), "decode": decodings()}
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")


main()
