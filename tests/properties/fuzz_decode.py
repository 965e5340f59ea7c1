"""Damaged balance records, read by the incremental reader and by the exact one: both must say the same.

`make fuzz` goes on for a minute, or `ARGS="--seconds 600 --seed 1"`; the tests read some thousands.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from random import Random

from msgspec import json

from ingestor.domain.decode import exact_reader
from ingestor.domain.decode.incremental_reader import IncrementalReader
from ingestor.domain.limits import DEFAULT_LIMITS
from tests.support.hub_records import CLIENT_ID, account, asset, envelope, quoted, record

_PIECES = [
    piece.encode()
    for piece in (
        *('"', '\\"', "\\", "\\\\", "\\u0041", ",", ":", " ", "\n", "{", "}", "[", "]", "},{", "}]", "é"),
        *("0", "-", "-0", "+1", "00", ".", ".0", "1.", "e5", "E", "0" * 45, "1" * 45, "null", "1.5"),
        *('\\"sequence\\":', '"sequence":', ',\\"assets\\":[{', ',"assets":[{', '\\"name\\":\\"BTC\\"'),
        *('\\"available\\":1', ',"currentExposure":1', ',\\"maxExposure\\":null', '\\"totalMaxExposure\\":2'),
    )
] + [b"\xff", b"\xc3"]  # fmt: skip


class Source:
    """One account, told of with other amounts each time, in a form of its own."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._assets = [[f"T{number}"] + ["0"] * 4 for number in range(rng.choice((0, 1, 2, 2, 5, 5, 9)))]
        self._totals = ["1", "2"]
        self._sequence = rng.choice((0, 7, 10**17))
        self._user = f'"{rng.getrandbits(64):x}"'
        self._more = rng.choice((',"deleted":false', ',"deleted":true', ',"baseCurrency":"EUR"', ""))
        self._exposed = rng.choice((0, 0, 1, 2))
        self._in_string = rng.random() < 0.6
        self._client = rng.choice(("", ',"clientId":null', f',"clientId":"{CLIENT_ID}"'))

    def record(self) -> bytes:
        """The next one: some numbers have moved."""
        rng = self._rng
        self._sequence += rng.choice((0, 1, 1, 1, 5))
        for each in self._assets:
            if rng.random() < 0.4:
                each[rng.randrange(1, 5)] = self._number()
        if rng.random() < 0.5:
            self._totals[rng.randrange(2)] = self._number()
        assets = [
            asset(
                quoted(name),
                free if free != "null" else "0",
                used if used != "null" else "0",
                f',"currentExposure":{now},"maxExposure":{most}' if self._exposed else "",
            )
            for name, free, used, now, most in self._assets
        ]
        more = self._more
        if self._exposed == 2:
            more += ',"totalCurrentExposure":{},"totalMaxExposure":{}'.format(*self._totals)
        data = account(*assets, sequence=str(self._sequence), user_id=self._user, more=more)
        return record(envelope(quoted(data) if self._in_string else data, client=self._client))

    def _number(self) -> str:
        rng = self._rng
        whole, part = rng.getrandbits(rng.choice((1, 8, 40))), rng.getrandbits(rng.choice((1, 20, 60)))
        return rng.choice((f"{whole}", f"{whole}.{part}", f"-{whole}.{part}0", f"{whole}E-05", "null"))


def damaged(raw: bytes, rng: Random) -> bytes:
    """Bytes changed, dropped, doubled, moved, or put in, at one to three places."""
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(changed) + 1)
        until = min(len(changed), at + rng.randrange(1, 40))
        match rng.choice((0, 1, 2, 3, 4, 5, 5, 5, 5)):
            case 0:
                changed[at : at + 1] = rng.randbytes(1)
            case 1:
                changed[at:at] = rng.choice(_PIECES)
            case 2:
                del changed[at : at + rng.randrange(1, 12)]
            case 3:
                there = rng.randrange(len(changed) + 1)
                changed[there:there] = changed[at:until]
            case 4:
                changed[at : at + rng.randrange(1, 8)] = rng.choice(_PIECES)
            case _:
                digits = [place for place, byte in enumerate(changed) if 48 <= byte <= 57 and place > 200]
                if digits:  # none of the user's id
                    changed[rng.choice(digits)] = rng.choice(b"0123456789" * 3 + b".-eE")
    return bytes(changed)


def compared(seed: int) -> Iterator[bool]:
    """Endless: whether a damaged record was read by an earlier one, after both readers have said the same.

    Raises:
        AssertionError: they differ; the record is in the message.
    """
    rng = Random(seed)
    reader = IncrementalReader(DEFAULT_LIMITS)
    sources = [Source(rng) for _ in range(12)]
    while True:
        if rng.random() < 0.001:
            sources[rng.randrange(len(sources))] = Source(rng)
        source = rng.choice(sources)
        _read(reader, source.record())
        following = source.record()
        for _ in range(4):
            yield _read(reader, damaged(following, rng))


def _read(reader: IncrementalReader, raw: bytes) -> bool:
    events = reader.events(raw)
    if all(events is not known.events for known in reader._known.values()):
        return False  # it is the exact reader's answer
    exact = exact_reader.events(raw, DEFAULT_LIMITS)
    # As text: equality of decimals forgets trailing zeros and the sign of zero.
    assert json.encode(events) == json.encode(exact), f"{raw!r}\nread as {events}\nnot as  {exact}"
    return True


def main() -> int:
    """Goes on until its time is over; the first difference ends it with a traceback."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:g} s", flush=True)
    end = time.monotonic() + options.seconds
    records = repeats = 0
    for repeated in compared(options.seed):
        records += 1
        repeats += repeated
        if time.monotonic() > end:
            break
    print(f"{records} damaged records, {repeats} of them read by what differs: all as the exact reader does")
    return 0


if __name__ == "__main__":
    sys.exit(main())
