"""Random streams depend only on their names."""

from hypothesis import given
from hypothesis import strategies as st

from gradleak.streams import stream, stream_seed


def test_streams_are_the_same_on_every_machine():
    assert stream_seed("batch", "mnist", "random", 24, 12, 0) == 7547097550519871254
    assert stream("batch", 1).integers(1 << 30) == stream("batch", 1).integers(1 << 30)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_keys_are_not_concatenated(a, b):
    assert (stream_seed("x", a, b) == stream_seed("x", b, a)) == (a == b)
    assert stream_seed("x", f"{a}{b}") != stream_seed("x", a, b)
    assert stream_seed("x", a) != stream_seed("y", a)
