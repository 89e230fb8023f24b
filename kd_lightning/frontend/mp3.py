"""How much audio an mp3 holds, told to libsndfile where the file does not tell.

Encoders that write to a stream, as those of web services do, cannot go back and say in the first frame how many will
follow (the "Xing" or "Info" header). Then libsndfile guesses from the size of the file: too much where it holds tags,
so that whole files look truncated, and too little where the bit rate varies, of which it then reads no more. So the
frames are counted (ISO/IEC 11172-3 and 13818-3, layer III).
"""

import struct
from typing import NamedTuple

_KBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44100, 48000, 32000)
_SYNC, _LAYER_3, _RESERVED, _MONO = 0x7FF, 1, 1, 3
_NO_RATE, _FREE, _NO_KBITS = 3, 0, 15
# Of a header: what all frames of a file share (version, layer, rate), and what one is made of.
_SHARED, _OWN = 0xFFFE0C00, 0x0000F200
# Of a frame that holds no audio: no checksum, and 128 kbit/s, which leave room for what it says.
_UNCHECKED, _ROOM_KBITS = 1 << 16, 128


def counted(data: bytes) -> bytes | None:
    """An mp3 that says how many frames it has.

    Args:
        data: a whole file.

    Returns:
        ``None`` where it says so itself, or where no frame is found.
    """
    begin = _after_tag(data)
    first = _Header.read(data, begin)
    if first is None or any(name in data[begin : begin + first.size] for name in (b"Xing", b"Info", b"VBRI")):
        return None
    said = struct.pack(">4sII", b"Xing", 1, _frames(data, begin, first))
    return (first.silent() + said).ljust(first.with_kbits(_ROOM_KBITS).size, b"\0") + data[begin:]


def _after_tag(data: bytes) -> int:
    """Where the frames begin: after ID3v2, whose size is written in seven bits a byte."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    high, upper, lower, low = data[6:10]
    return 10 + (high << 21 | upper << 14 | lower << 7 | low)


def _frames(data: bytes, at: int, first: "_Header") -> int:
    """How many frames there are, one that is cut off counted: so it is seen that something is missing."""
    count = 0
    while 0 <= at < len(data):
        header = _Header.read(data, at)
        if header is not None and header.word & _SHARED == first.word & _SHARED:
            count += 1
            at += header.size
        else:
            at = data.find(b"\xff", at + 1)  # tags at the end, or damage
    return count


class _Header(NamedTuple):
    """The four bytes at the head of a frame."""

    word: int

    @classmethod
    def read(cls, data: bytes, at: int) -> "_Header | None":
        """The header at a place, if there is one."""
        header = cls(int.from_bytes(data[at : at + 4], "big"))
        valid = (
            header.word >> 21 == _SYNC
            and header.version != _RESERVED
            and header.word >> 17 & 3 == _LAYER_3
            and header.word >> 12 & 15 not in (_FREE, _NO_KBITS)
            and header.word >> 10 & 3 != _NO_RATE
        )
        return header if valid else None

    @property
    def version(self) -> int:
        """3 for MPEG-1, 2 for MPEG-2, 0 for MPEG-2.5."""
        return self.word >> 19 & 3

    @property
    def size(self) -> int:
        """Length of the frame: of 1152 samples in MPEG-1, 576 in the others."""
        first = self.version == 3
        rate = _RATES[self.word >> 10 & 3] >> {3: 0, 2: 1, 0: 2}[self.version]
        kbits = _KBITS[first][self.word >> 12 & 15]
        return (144 if first else 72) * kbits * 1000 // rate + (self.word >> 9 & 1)

    def with_kbits(self, kbits: int) -> "_Header":
        """The header of such a frame at another bit rate, without checksum and padding."""
        number = _KBITS[self.version == 3].index(kbits)
        return _Header(self.word & ~_OWN | number << 12 | _UNCHECKED)

    def silent(self) -> bytes:
        """Such a frame as far as it describes how its audio is coded: there is none."""
        mono = self.word >> 6 & 3 == _MONO
        described = (17 if mono else 32) if self.version == 3 else (9 if mono else 17)
        return self.with_kbits(_ROOM_KBITS).word.to_bytes(4, "big") + bytes(described)
