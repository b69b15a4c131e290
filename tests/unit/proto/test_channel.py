"""The frames of a channel, byte for byte: what callers in other languages write and read."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure_proto.channel import (
    CANCEL,
    NOTHING,
    ChannelAnswer,
    ChannelRequest,
    decode_answers,
    decode_requests,
    encode_answer,
    encode_request,
    frame,
)

TARGET = "/api/v1/namespaces/default/workflows/a%2Fb?run_id=r"
BODY = b'{ "b":1.0,"a" : ["\\u00e9\xc3\xa9"] }'
"""JSON that an encoder would write differently."""

REQUESTS = [
    ((7, "POST", "/x", BODY), b'[7,"POST","/x",' + BODY + b"]"),
    ((8, "GET", TARGET, None), b'[8,"GET","' + TARGET.encode() + b'"]'),
    ((9, CANCEL, "", None), b'[9,"CANCEL",""]'),
    ((10, "GET", '/"\\é', None), '[10,"GET","/\\"\\\\é"]'.encode()),
]
ANSWERS = [((7, 200, BODY), b"[7,200," + BODY + b"]"), ((-(2**40), 404, b"{}"), b"[-1099511627776,404,{}]")]


@pytest.mark.parametrize(("item", "golden"), REQUESTS)
def test_a_request_is_golden(item: tuple[int, str, str, bytes | None], golden: bytes) -> None:
    """A request has these bytes, and they are read as that request."""
    assert golden == encode_request(*item)
    (read,) = decode_requests(frame([golden]))
    body = bytes(NOTHING) if item[3] is None else item[3]
    assert (*item[:3], body) == (read.id, read.method, read.target, bytes(read.body))


@pytest.mark.parametrize(("item", "golden"), ANSWERS)
def test_an_answer_is_golden(item: tuple[int, int, bytes], golden: bytes) -> None:
    """An answer has these bytes, and they are read as that answer."""
    assert golden == encode_answer(*item)
    (read,) = decode_answers(frame([golden]))
    assert item == (read.id, read.status, bytes(read.body))


def test_a_frame_is_an_array() -> None:
    """Items stand in the order in which they were given, and there may be none."""
    assert b"[[1,200,{}],[2,404,null]]" == frame([encode_answer(1, 200, b"{}"), encode_answer(2, 404, b"null")])
    assert ([], []) == (decode_requests(frame([])), decode_answers(frame([])))


def test_what_has_a_default_may_be_left_out() -> None:
    """A caller that writes frames by hand may cancel in two words."""
    assert [ChannelRequest(1, "CANCEL", "", NOTHING)] == decode_requests(b'[[1,"CANCEL"]]')
    assert [ChannelAnswer(1, 200, NOTHING)] == decode_answers(b"[[1,200]]")


def test_what_a_later_version_adds_is_ignored() -> None:
    """More elements than are known do not keep an item from being read."""
    assert [ChannelRequest(1, "GET", "/x", NOTHING)] == decode_requests(b'[[1,"GET","/x",null,{"trace":"t"}]]')
    assert [ChannelAnswer(1, 200, NOTHING)] == decode_answers(b"[[1,200,null,[]]]")


@pytest.mark.parametrize("data", [b"", b"null", b"{}", b"[1]", b'[["1","GET"]]', b"[[1]]", b'[[1,"GET",2]]', b"[[],]"])
def test_another_type_is_no_frame(data: bytes) -> None:
    """What is not a frame is told, whatever it is."""
    with pytest.raises(msgspec.MsgspecError):
        decode_requests(data)
    with pytest.raises(msgspec.MsgspecError):
        decode_answers(data)


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(codec="utf-8")))))
def test_whatever_is_asked_is_read(asked: list[tuple[int, str]]) -> None:
    """Ids and targets of all kinds come through, in order."""
    requests = decode_requests(frame(encode_request(number, "GET", target, None) for number, target in asked))
    assert asked == [(request.id, request.target) for request in requests]
