"""Messages and frames for Hypothesis, as kernels and clients write them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hypothesis import strategies as st

from jupyter_relay.wire.message import Channel, Message
from jupyter_relay.wire.subprotocol import Subprotocol

channels = st.sampled_from(Channel)
subprotocols = st.sampled_from(Subprotocol)

# Lone surrogates cannot be written as UTF-8, so no JSON of the wire holds them.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)


@st.composite
def json_parts(draw: st.DrawFn, values: st.SearchStrategy[Mapping[str, object]]) -> bytes:
    """JSON of any spacing and escaping: that of Python, of JavaScript, of a pretty printer."""
    value = draw(values)
    return json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1])),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": ")])),
    ).encode()


headers = json_parts(
    st.builds(
        lambda known, more: {**more, "subshell_id": None, **known},
        st.fixed_dictionaries(
            {"msg_id": texts, "msg_type": texts, "session": texts},
            optional={"subshell_id": st.none() | texts, "date": texts, "version": texts},
        ),
        json_objects,
    )
)
objects = json_parts(json_objects)
buffers = st.lists(st.binary(max_size=64), max_size=5).map(tuple)


def messages(with_buffers: bool | None = None) -> st.SearchStrategy[Message]:
    """Messages that both protocols can carry, with or without buffers, or either."""
    some = (
        buffers if with_buffers is None else buffers.filter(bool) if with_buffers else st.just(())
    )
    return st.builds(
        lambda **parts: Message(**parts),  # the class itself has hints that builds cannot follow
        channel=channels,
        header=headers,
        parent_header=st.just(b"{}") | headers,
        metadata=objects,
        content=objects,
        buffers=some,
    )
