"""Records that cannot be read: cut, changed, bombed and made up, each proven to be broken by the codec itself."""

import struct

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.wire import framed, golden, long, single

from peaktime.errors import DecodeError

_LENGTHS = (2**31, 2**40, 2**62, 10**6, -1, -(2**31), -(2**62))


def is_broken(record, data, codec):
    try:
        codec.decode(record, data)
    except DecodeError:
        return True
    return False


def truncated(name):
    """The golden record cut after every byte, the empty one included."""
    whole = golden(name)
    return [whole[:size] for size in range(len(whole))]


def by_hand(name):
    whole = golden(name)
    body = whole[10:]
    return [
        b"\x01" + body,
        b"\xc3\x02" + whole[2:],
        b"{" + body,
        framed(2_000_000_000, body),
        framed(0, body),
        b"\xc3\x01" + struct.pack("<Q", 12345) + body,
        *(single(name, long(length) + body[1:]) for length in _LENGTHS),
        # A string that is no UTF-8: a lone byte, half a character, an overlong slash, a surrogate.
        *(
            single(name, long(len(bad)) + bad + body[1 + body[0] // 2 :])
            for bad in (b"\xff", b"\xeb\xb4", b"\xc0\xaf", b"\xed\xa0\x80")
        ),
        # The bytes of another record, and JSON.
        single(name, golden("Delivery")[10:]),
        single(name, b'{"requestId": "r"}'),
    ]


def bomb_schema(schema, depth):
    """A writer's schema with one more field: arrays in arrays, whose innermost items take one byte."""
    part = {"type": "boolean"}
    for _ in range(depth):
        part = {"type": "array", "items": part}
    return {**schema, "fields": [{"name": "bomb", "type": part, "doc": "d", "default": []}, *schema["fields"]]}


def bombs(depth, size):
    """Bodies for it: blocks that claim much, that nest, that are many, and that hold empty blocks."""
    nested = b""
    for _ in range(depth):
        nested = long(1) + nested
    return [
        long(2**60) * depth,
        long(-(2**60)) + long(2**60) + b"\x01" * 50,
        nested + b"\x01" + b"\x00" * (depth - 1),
        (long(1000) + b"\x00" * 1000) * (size // 1002),
        long(size) + b"\x00" * size,
        (long(1) + b"\x00") * (size // 2),
    ]


def mutated(name, record, codec, count):
    """Golden records changed by hypothesis in a few places, and bytes that it made up."""
    whole = golden(name)
    found = {}

    @settings(
        max_examples=count * 2,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(
            st.tuples(st.integers(0, len(whole) - 1), st.binary(max_size=6), st.integers(0, 6)), min_size=1, max_size=4
        ),
        st.binary(max_size=400),
        st.sampled_from(["changed", "changed", "body", "bytes"]),
    )
    def make(edits, made_up, kind):
        data = bytearray(whole)
        for at, put, cut in edits:
            data[at : at + cut] = put
        data = {"changed": bytes(data), "body": single(name, made_up), "bytes": made_up}[kind]
        if data and is_broken(record, data, codec):
            found[data] = None

    make()
    return list(found)[:count]
