"""Encryption of files with a passphrase: ChaCha20-Poly1305 in chunks, with a key from Scrypt.

A file is a header (magic, cost of Scrypt, salt) and chunks. Each chunk is sealed under its number
and whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár,
https://eprint.iacr.org/2015/189), so that a chunk which is missing, moved or changed is noticed.
Each file has a new salt and so a new key, so no nonce is ever used twice.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import IO

from airflow_docker.errors import UserError

MAGIC = b"airflow-docker encrypted 1\n"
CHUNK = 1 << 20  # bytes of content in a chunk
_TAG, _SALT = 16, 16
_HEADER = struct.Struct(f">{len(MAGIC)}sBBB{_SALT}s")
_COST = (17, 8, 1)
"""log2(n), r, p: 128 MiB and a part of a second for each guess (RFC 7914)."""
_LARGEST_COST = 20  # log2(n); a header that asks for more than 1 GiB is not obeyed


def is_encrypted(file: Path) -> bool:
    """True if the file begins as ours do."""
    with file.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def encrypt(source: IO[bytes], target: IO[bytes], passphrase: str) -> None:
    """Write ``source`` to ``target``, encrypted."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    salt = os.urandom(_SALT)
    header = _HEADER.pack(MAGIC, *_COST, salt)
    cipher = ChaCha20Poly1305(_key(passphrase, salt, *_COST))
    target.write(header)
    number, chunk = 0, source.read(CHUNK)
    while True:
        next_chunk = source.read(CHUNK)
        target.write(cipher.encrypt(_nonce(number, is_last=not next_chunk), chunk, header))
        if not next_chunk:
            return
        number, chunk = number + 1, next_chunk


def decrypt(source: IO[bytes], target: IO[bytes], passphrase: str) -> None:
    """Write the content of ``source`` to ``target``. Raises UserError for a wrong passphrase or a damaged file."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    header = source.read(_HEADER.size)
    salt, cost = _parse_header(header)
    cipher = ChaCha20Poly1305(_key(passphrase, salt, *cost))
    number, chunk = 0, source.read(CHUNK + _TAG)
    while True:
        next_chunk = source.read(CHUNK + _TAG)
        try:
            target.write(cipher.decrypt(_nonce(number, is_last=not next_chunk), chunk, header))
        except InvalidTag:
            raise _decryption_error(number) from None
        if not next_chunk:
            return
        number, chunk = number + 1, next_chunk


def _decryption_error(number: int) -> UserError:
    if number == 0:  # which of the two it is cannot be known: the passphrase is stored nowhere
        what = "the passphrase is wrong, or the file is damaged."
        return UserError("passphrase", what, "Nothing was changed. Try again, or take another backup.")
    return damaged(f"its part {number + 1} is not what was written")


def damaged(why: str) -> UserError:
    """The error for a file that is not as it was written."""
    return UserError("backup", f"the file is damaged or not whole ({why}).", "Nothing was changed. Take another one.")


def _parse_header(header: bytes) -> tuple[bytes, tuple[int, int, int]]:
    if len(header) != _HEADER.size:
        raise damaged("it ends early")
    _, log_n, r, p, salt = _HEADER.unpack(header)
    if not (1 <= log_n <= _LARGEST_COST and (r, p) == _COST[1:]):
        raise damaged("its first bytes make no sense")
    return salt, (log_n, r, p)


def _key(passphrase: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=32, n=1 << log_n, r=r, p=p).derive(os.fsencode(passphrase))


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11) + bytes([is_last])
