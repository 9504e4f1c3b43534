"""Output as text, wherever it was cut; no virtual machine."""

import pytest

from orkestr import ExecStream, ExecTimeout
from orkestr.process import StreamDecoder

TEXT = "aé€😀ß\n"
DAMAGED = b"a\xff\xc3(\xe2\x82\xf0\x9f\x98\x80\xf0\x9f"


def decoded(pieces):
    decoder = StreamDecoder()
    parts = [decoder.decode(piece) for piece in pieces] + [decoder.flush()]
    return "".join(text for text, _ in parts), b"".join(data for _, data in parts)


@pytest.mark.parametrize("data", [TEXT.encode(), DAMAGED], ids=["text", "damaged"])
def test_two_cuts_at_every_position_change_nothing(data):
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            text, exact = decoded([data[:first], data[first:second], data[second:]])
            assert text == data.decode("utf-8", "replace"), (first, second)
            assert exact == data


def test_each_text_goes_with_its_bytes():
    decoder = StreamDecoder()
    assert decoder.decode(b"a\xe2\x82") == ("a", b"a")
    assert decoder.decode(b"\xac") == ("€", b"\xe2\x82\xac")
    assert decoder.decode(b"\xf0") == ("", b"")
    assert decoder.flush() == ("\ufffd", b"\xf0")


class Scripted:
    """Stands for the native stream; keeps a log."""

    pid = 7

    def __init__(self, *items):
        self.items, self.log = list(items), []

    def next(self):
        item = self.items.pop(0) if self.items else None
        if isinstance(item, Exception):
            raise item
        return item

    def cancel(self):
        self.log.append("cancel")

    def close(self):
        self.log.append("close")


def out(data):
    return (True, data, None, 0)


def err(data):
    return (False, data, None, 0)


def test_the_streams_are_decoded_apart_and_the_last_chunk_is_empty():
    native = Scripted(out(b"\xe2\x82"), err(b"\xc3"), out(b"\xac"), err(b"\xa9x"), (True, b"", 3, 12))
    chunks = list(ExecStream(native))
    assert [(chunk.stream, chunk.data) for chunk in chunks] == [("stdout", "€"), ("stderr", "éx"), ("stdout", "")]
    assert [chunk.is_final for chunk in chunks] == [False, False, True]
    assert (chunks[-1].exit_code, chunks[-1].duration_ms) == (3, 12)
    assert (chunks[0].exit_code, chunks[0].duration_ms) == (None, None)


def test_half_a_character_at_the_end_comes_before_the_final_chunk():
    chunks = list(ExecStream(Scripted(out(b"a\xe2\x82"), err(b"\xf0"), (True, b"", 0, 1))))
    assert [(chunk.stream, chunk.data, chunk.is_final) for chunk in chunks] == [
        ("stdout", "a", False),
        ("stdout", "\ufffd", False),
        ("stderr", "\ufffd", False),
        ("stdout", "", True),
    ]
    assert b"".join(chunk.data_bytes for chunk in chunks if chunk.stream == "stdout") == b"a\xe2\x82"


def test_an_error_comes_after_what_was_read_and_ends_the_stream():
    native = Scripted(out(b"a\xc3"), ExecTimeout("too long"))
    stream = ExecStream(native)
    assert [next(stream).data, next(stream).data] == ["a", "\ufffd"]
    with pytest.raises(ExecTimeout):
        next(stream)
    assert list(stream) == []


def test_leaving_detaches_and_ctrl_c_cancels():
    native = Scripted(out(b"a"))
    with ExecStream(native) as stream:
        next(stream)
    assert native.log == ["close"] and list(stream) == []

    native = Scripted(out(b"a"))
    with pytest.raises(KeyboardInterrupt), ExecStream(native):
        raise KeyboardInterrupt
    assert native.log == ["cancel", "close"]

    native = Scripted(out(b"a"))
    with pytest.raises(ZeroDivisionError), ExecStream(native):
        raise ZeroDivisionError
    assert native.log == ["close"]
