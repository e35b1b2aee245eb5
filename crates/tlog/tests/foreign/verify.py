#!/usr/bin/env python3
"""Verifies a directory in the C2SP tlog-tiles layout, recomputing everything from the entries.

Written from the public specifications (c2sp.org/tlog-tiles, signed-note, tlog-checkpoint; RFC 6962); shares no code
with what wrote the directory. Needs `cryptography` (Debian: python3-cryptography) for Ed25519 alone.

    verify.py DIR VERIFIER-KEY [ORIGIN]

The origin is the key's name unless given. Exit status: 0 verified, 1 refused, 2 not run as it should be.
"""
import base64
import hashlib
import os
import re
import struct
import sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError as missing:
    print(f"cannot run: {missing} (Debian: python3-cryptography)", file=sys.stderr)
    sys.exit(2)

WIDTH = 256


class Refused(Exception):
    """What is wrong with the log."""


def need(condition, why):
    if not condition:
        raise Refused(why)


def sha256(data):
    return hashlib.sha256(data).digest()


def merkle_root(hashes):
    """MTH of RFC 6962, 2.1, over leaf hashes or over the roots of equally high perfect subtrees."""
    if not hashes:
        return sha256(b"")
    while len(hashes) > 1:
        pairs = [sha256(b"\x01" + left + right) for left, right in zip(hashes[::2], hashes[1::2])]
        hashes = pairs + hashes[len(pairs) * 2:]
    return hashes[0]


def unbase64(text, why):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused(why) from None
    need(base64.b64encode(data).decode() == text, why)
    return data


def open_note(message, key_text):
    """Returns the text of a note if the one key that is believed signed it."""
    name, key_id, key = key_text.split("+", 2)
    key = unbase64(key, "verifier key")
    need(len(key) == 33 and key[0] == 1, "the verifier key is not Ed25519")
    need(sha256(name.encode() + b"\n" + key)[:4].hex() == key_id, "the verifier key has another id")
    try:
        note = message.decode()
    except UnicodeDecodeError:
        raise Refused("the note is not UTF-8") from None
    need(not re.search("[\x00-\x09\x0b-\x1f]", note), "control character in the note")
    split = note.rfind("\n\n")
    need(split >= 0 and note.endswith("\n"), "the note has no signatures")
    text, lines = note[:split + 1], note[split + 2:-1].split("\n")
    signed = False
    for line in lines:
        match = re.fullmatch(r"— (\S+) (\S+)", line)
        need(match and "+" not in match[1], "malformed signature line")
        signature = unbase64(match[2], "malformed signature")
        need(len(signature) > 4, "short signature")
        if (match[1], signature[:4].hex()) != (name, key_id):
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text.encode())
        except InvalidSignature:
            raise Refused("wrong signature") from None
        signed = True
    need(signed, "not signed by the key")
    return text


def place(index, width):
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return "/".join(groups) + ("" if width == WIDTH else f".p/{width}")


def read(folder, path):
    try:
        with open(os.path.join(folder, path), "rb") as file:
            return file.read()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None


def runs(count):
    """The index and width of each full and partial run of up to 256 among `count`."""
    for start in range(0, count, WIDTH):
        yield start // WIDTH, min(WIDTH, count - start)


def leaf_hashes(folder, size):
    for index, width in runs(size):
        path = "tile/entries/" + place(index, width)
        data = read(folder, path)
        at = 0
        for _ in range(width):
            need(at + 2 <= len(data), f"{path}: too few entries")
            (length,) = struct.unpack_from(">H", data, at)
            entry = data[at + 2:at + 2 + length]
            need(len(entry) == length, f"{path}: ends within an entry")
            yield sha256(b"\x00" + entry)
            at += 2 + length
        need(at == len(data), f"{path}: entries beyond the tree")


def verify(folder, key, origin):
    lines = open_note(read(folder, "checkpoint"), key).split("\n")
    need(len(lines) >= 4 and lines[0] == origin, f"no checkpoint of {origin}")
    need(re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]), "malformed tree size")
    size, root = int(lines[1]), unbase64(lines[2], "malformed root")
    row = list(leaf_hashes(folder, size))
    need(merkle_root(row) == root, "the entries have another root than the checkpoint")
    level = 0
    while row:
        above = []
        for index, width in runs(len(row)):
            hashes = row[index * WIDTH:index * WIDTH + width]
            path = f"tile/{level}/" + place(index, width)
            need(read(folder, path) == b"".join(hashes), f"{path}: other hashes than those of the entries")
            if width == WIDTH:
                above.append(merkle_root(hashes))
        row, level = above, level + 1
    return size, root


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[2].count("+") < 2:
        print("usage: verify.py DIR VERIFIER-KEY [ORIGIN]", file=sys.stderr)
        return 2
    folder, key = sys.argv[1:3]
    origin = sys.argv[3] if len(sys.argv) == 4 else key.split("+")[0]
    try:
        size, root = verify(folder, key, origin)
    except Refused as why:
        print(f"refused: {why}")
        return 1
    print(f"verified: {size} entries of {origin}, root {base64.b64encode(root).decode()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
