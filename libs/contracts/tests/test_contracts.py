"""Frames, subjects and events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbus.contracts import subjects
from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.audio import FRAME_BYTES, MAX_FRAMES_PER_MESSAGE, pcm_duration_ms
from voxbus.contracts.base import new_id
from voxbus.contracts.call import EndReason, Party, StreamTakenOver, TurnTimings
from voxbus.contracts.event import Event
from voxbus.contracts.frame import HEADER_BYTES, FrameError, Kind, decode_frame, encode_frame
from voxbus.contracts.tts import TtsSentence

pytestmark = pytest.mark.unit

numbers = st.integers(0, 0xFFFF_FFFF)


@given(
    st.sampled_from([kind for kind in Kind if kind is not Kind.AUDIO]),
    st.integers(0, 0xFFFF),
    numbers,
    numbers,
    st.integers(0, 2**64 - 1),
    st.binary(max_size=200),
)
def test_a_frame_survives_the_bus(kind: Kind, attempt: int, seq: int, ack: int, stamp: int, body: bytes) -> None:
    """What is encoded is decoded, whatever the values."""
    data = encode_frame(kind, attempt=attempt, seq=seq, ack=ack, timestamp_us=stamp, body=body)
    assert decode_frame(data) == (kind, attempt, seq, ack, stamp, body)


def test_the_header_is_the_documented_one() -> None:
    """The layout of version 1 never changes: other languages read it by offsets."""
    data = encode_frame(Kind.HEARTBEAT, attempt=2, seq=3, ack=4, timestamp_us=5)
    assert data == bytes([1, 3, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0])
    assert len(data) == HEADER_BYTES


@given(st.binary(max_size=100))
def test_garbage_is_a_frame_error_and_nothing_else(data: bytes) -> None:
    """Any bytes either are a frame or raise FrameError."""
    try:
        frame = decode_frame(data)
    except FrameError:
        return
    assert frame.kind in Kind


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES - 2, FRAME_BYTES + 1, FRAME_BYTES * (MAX_FRAMES_PER_MESSAGE + 1)])
def test_audio_must_be_whole_frames(size: int) -> None:
    """Audio of another size than 1 to 50 frames is refused."""
    with pytest.raises(FrameError, match="frames of 640 bytes"):
        decode_frame(encode_frame(Kind.AUDIO, attempt=1, seq=0, body=bytes(size)))


def test_subjects_are_built_and_read_back() -> None:
    """A subject's tokens are found in it again."""
    subject = subjects.INPUT(stage="stt", worker_id="w_1", stream_id="s_2")
    assert subject == "voxbus.stt.in.v1.w_1.s_2"
    assert subjects.INPUT.match(subject) == {"stage": "stt", "worker_id": "w_1", "stream_id": "s_2"}
    assert subjects.INPUT.wildcard(stage="stt", worker_id="w_1") == "voxbus.stt.in.v1.w_1.*"


@pytest.mark.parametrize("bad", ["", "a.b", "*", ">", "a b", "a\n"])
def test_a_token_cannot_break_out_of_its_place(bad: str) -> None:
    """An id with a dot, a wildcard or white space is refused: it would reach other subjects."""
    with pytest.raises(ValueError, match="one token"):
        subjects.INPUT(stage="stt", worker_id="w", stream_id=bad)


def test_canonical_subjects_hold_no_ids() -> None:
    """Metric labels stay few however many calls there are."""
    assert subjects.canonical("voxbus.tts.out.v1.gw_1.s_9") == "voxbus.tts.out.v1.{owner_id}.{stream_id}"
    assert subjects.canonical("voxbus.event.call.ended.v1") == "voxbus.event.call.ended.v1"
    assert subjects.canonical("_INBOX.abc.1") == "_INBOX"
    assert subjects.canonical("somebody.elses") == "other"


def test_new_ids_are_tokens_and_differ() -> None:
    """Ids can be put in subjects."""
    ids = {new_id("s") for _ in range(100)}
    assert len(ids) == 100
    assert all(subjects.INPUT(stage="stt", worker_id="w", stream_id=one) for one in ids)


def test_messages_ignore_what_they_do_not_know() -> None:
    """A newer peer may send more."""
    assert TtsSentence.model_validate_json('{"index": 1, "text": "Hi.", "mood": "calm"}') == TtsSentence(
        index=1, text="Hi."
    )


def test_an_event_says_what_it_is() -> None:
    """Type, subject and headers follow from the data."""
    data = StreamTakenOver(
        call_id="call_1",
        stage="stt",
        stream_id="s",
        attempt=2,
        reason="silent",
        from_worker="a",
        to_worker="b",
        gap_ms=1,
    )
    event = Event(source="/gateway/1", subject="call_1", data=data)
    assert event.type == "voxbus.stream.taken_over.v1"
    assert event.bus_subject == "voxbus.event.stream.taken_over.v1"
    headers = event.headers()
    assert headers["Nats-Msg-Id"] == headers["ce-id"] == event.id
    assert headers["ce-type"] == event.type


def test_every_end_of_a_call_is_somebodys() -> None:
    """No end reason lacks a party."""
    assert {reason.party for reason in EndReason} == set(Party)


def test_the_platforms_share_of_a_turn_is_what_the_engines_did_not_use() -> None:
    """Play-out minus decision, minus the engines' own times."""
    timings = TurnTimings(
        turn_decided=400, first_token=460, first_sentence=500, first_audio=560, first_played=561, llm_ms=58, tts_ms=55
    )
    assert timings.platform_ms == pytest.approx(561 - 400 - 58 - 40 - 55)
    assert TurnTimings(turn_decided=1).platform_ms is None


def test_an_agent_has_offline_defaults() -> None:
    """An agent without providers works on a fresh machine."""
    agent = AgentConfig(id="a", name="A")
    assert [agent.stt.provider.name, agent.llm.provider.name, agent.tts.provider.name] == ["local", "scripted", "local"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 101])
def test_an_agent_needs_a_name(name: str) -> None:
    """1 to 100 characters, not blank."""
    with pytest.raises(ValueError, match="name"):
        AgentConfig(id="a", name=name)


def test_durations_of_audio() -> None:
    """A frame is 20 ms."""
    assert pcm_duration_ms(FRAME_BYTES) == 20
