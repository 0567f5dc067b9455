"""A decoder process whose decoder does what the picture's height says: die, hang, eat memory, or decode."""

from __future__ import annotations

import ctypes
import os
import time

import retrieval.images.views
from retrieval.images import decoder_process
from retrieval.images.formats.base import Header
from retrieval.images.formats.decoders import open_header
from tests.pictures import scene

SEGFAULT, HANG, SPIN, EAT, EXIT, ABORT, LEAK, CHATTER = 101, 102, 103, 104, 105, 106, 107, 108

_leaked: list[bytes] = []


def open_deadly(header: Header) -> object:
    height = header.sizes[0][1]
    if height == SEGFAULT:
        ctypes.string_at(0)
    elif height == HANG:
        time.sleep(600)
    elif height == SPIN:
        while True:
            pass
    elif height == EAT:
        eaten = []
        while True:
            eaten.append(bytearray(64 * 2**20))
    elif height == EXIT:
        os._exit(3)
    elif height == ABORT:
        os.abort()
    elif height == LEAK:
        _leaked.append(bytes(bytearray(os.urandom(1)) * (96 * 2**20)))
    elif height == CHATTER:
        os.write(1, b"decoders print what they like\n" * 100)
    return open_header(header) if header.data else scene(96, height)


def main(memory: int) -> None:
    retrieval.images.views.open_header = open_deadly
    decoder_process.main(memory)
