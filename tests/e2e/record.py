# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands between nof1-edge and the vault's socket and writes down what the vault hands out: one line
per frame, its length and its SHA-256. Usage: record.py LISTEN VAULT LOG"""
import hashlib
import os
import socket
import sys
import threading

listen, vault, log = sys.argv[1:4]


def pump(source, sink, record):
    pending = b""
    while True:
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        if not data:
            break
        if record:  # frames behind a 4-byte big-endian length
            pending += data
            while len(pending) >= 4 and len(pending) >= 4 + int.from_bytes(pending[:4], "big"):
                size = int.from_bytes(pending[:4], "big")
                frame, pending = pending[4:4 + size], pending[4 + size:]
                with open(log, "a", encoding="ascii") as out:
                    out.write(f"{size} {hashlib.sha256(frame).hexdigest()}\n")
        try:
            sink.sendall(data)
        except OSError:
            break
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


if os.path.exists(listen):
    os.unlink(listen)
server = socket.socket(socket.AF_UNIX)
server.bind(listen)
os.chmod(listen, 0o600)
server.listen()
while True:
    edge, _ = server.accept()
    behind = socket.socket(socket.AF_UNIX)
    try:
        behind.connect(vault)
    except OSError:
        edge.close()
        continue
    threading.Thread(target=pump, args=(edge, behind, False), daemon=True).start()
    threading.Thread(target=pump, args=(behind, edge, True), daemon=True).start()
