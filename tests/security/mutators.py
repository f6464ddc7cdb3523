"""What is valid, spoilt at random: bytes, and fields of JSON. The same for the same `random.Random`."""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

Dice = random.Random
STEPS = (1, 1, 1, 2, 4)
"""Mostly few: after many, only the first check of all is tried."""
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)
WORDS = (b"\0", b"\xff" * 16, b"../", b"\xff\xd9", b"PK\5\6", b"IEND", b"nan", b"-1e308", b"\n", b"\r\n\r\n")
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1 << 31, 1 << 63, 10**400, -0.0, 1e308, float("nan"), float("inf"), "", "\0",
    "\ud800", "\u202e", "../../etc/passwd", "/etc/passwd", "http://127.0.0.1/", "x" * 10_000, "é" * 300,
    "1e3", [], {}, [[]], [None] * 1000, {"": ""}, {"__proto__": {}}, {"x": [{}] * 100},
)  # fmt: skip


def spoilt_bytes(body: bytes, dice: Dice) -> bytes:
    """A few steps of the kind that fuzzers take."""
    spoilt = bytearray(body)
    for _ in range(dice.choice(STEPS)):
        place, length = dice.randrange(len(spoilt) + 1), 1 << dice.randrange(10)
        match dice.randrange(8):
            case 0 if spoilt:
                spoilt[dice.randrange(len(spoilt))] ^= 1 << dice.randrange(8)
            case 1:
                edge, form = dice.choice(EDGES), dice.choice(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
                value = struct.pack(form, edge & ((1 << 8 * struct.calcsize(form)) - 1))
                spoilt[place : place + len(value)] = value
            case 2:
                del spoilt[place:]
            case 3:
                del spoilt[place : place + length]
            case 4:
                spoilt[place:place] = spoilt[place : place + length] * dice.choice((1, 2, 100))
            case 5:
                spoilt[place:place] = dice.choice(WORDS)
            case 6:
                spoilt[place : place + min(length, 16)] = dice.randbytes(min(length, 16))
            case _:
                other = dice.randrange(len(spoilt) + 1)
                spoilt[place : place + length] = spoilt[other : other + length]
    return bytes(spoilt)


def spoilt_early(body: bytes, dice: Dice) -> bytes:
    """As above, in the first kilobyte, where files say what they are; their rest is damaged harmlessly."""
    return spoilt_bytes(body[:1024], dice) + body[1024:]


def spoilt_json(body: bytes, dice: Dice) -> bytes:
    """Fields that are missing, doubled, of other types, huge, deep or in strange letters; at times as text
    that no JSON writer would write."""
    document = json.loads(body)
    for _ in range(dice.choice(STEPS)):
        document = _spoilt_value(document, dice)
    text = json.dumps(document, ensure_ascii=dice.random() < 0.7)
    match dice.randrange(24):
        case 0:
            deep = "[" * dice.choice((150, 250, 900, 985, 990, 995, 100_000))
            text = text.replace("null", deep + "]" * len(deep), 1).replace("0", deep + "]" * len(deep), 1)
        case 1:
            text = text.replace("1", "9" * dice.choice((400, 5000, 100_000)), 1)
        case 2:
            text = text.replace("{", '{"a":1,"a":[2],', dice.randint(1, 3))
        case 3:
            return text.encode(dice.choice(("utf-16", "utf-32", "utf-8-sig")), "surrogatepass")
        case 4:
            return spoilt_bytes(text.encode("utf-8", "surrogatepass"), dice)
    return text.encode("utf-8", "surrogatepass")


def spoilt_lines(body: bytes, dice: Dice) -> bytes:
    """JSON lines: one of them spoilt, or their order."""
    lines = body.splitlines()
    place = dice.randrange(len(lines))
    if dice.random() < 0.1:
        lines.insert(dice.randrange(len(lines)), lines[place])
    else:
        lines[place] = spoilt_json(lines[place], dice)
    return b"\n".join(lines)


def _spoilt_value(value: Any, dice: Dice) -> Any:
    """One place within it, deeper ones as likely as others."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        name = dice.choice(list(value))
        match dice.randrange(10):
            case 0:
                return {key: value[key] for key in value if key != name}
            case 1:
                return value | {str(dice.choice(STRANGE))[:300]: value[name]}
            case _:
                return value | {name: _spoilt_value(value[name], dice)}
    if isinstance(value, list) and value and dice.random() < 0.85:
        place = dice.randrange(len(value))
        match dice.randrange(10):
            case 0:
                return value[:place] + value[place + 1 :]
            case 1:
                return value[:place] + value[place : place + 1] * dice.choice((2, 7, 700)) + value[place:]
            case _:
                return [*value[:place], _spoilt_value(value[place], dice), *value[place + 1 :]]
    if isinstance(value, str) and dice.random() < 0.5:
        place = dice.randrange(len(value) + 1)
        return value[:place] + dice.choice(("/", "..", "\0", "\ud800", "'", '"', "é", "<b>")) + value[place:]
    return dice.choice(STRANGE)


Mutator = Callable[[bytes, Dice], bytes]
