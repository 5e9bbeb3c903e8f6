"""Numbers of a kernel's messages, and the holes between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_relay.link.numbering import EARLIER, REPEATED, Numbering
from jupyter_relay.wire.message import Channel


def seen(*numbers: int, series: str = "k_7") -> Numbering:
    numbering = Numbering()
    for number in numbers:
        numbering.record(f"{series}_{number}", Channel.IOPUB, identifies=True)
    return numbering


@given(st.permutations(range(12)))
def test_no_number_is_missing_once_all_came_in_any_order(numbers: list[int]) -> None:
    numbering = seen(0, *numbers, 12)
    assert numbering.count_missing(0, 12) == 0


@given(st.sets(st.integers(1, 40)))
def test_count_missing_is_what_did_not_come(numbers: set[int]) -> None:
    numbering = seen(0, *sorted(numbers), 41)
    assert numbering.count_missing(0, 41) == 40 - len(numbers)


def test_count_missing_excludes_its_bounds() -> None:
    numbering = seen(0, 10)
    assert numbering.count_missing(3, 6) == 2


def test_series_begins_only_with_an_identifying_message() -> None:
    numbering = Numbering()
    assert numbering.record("k_7_3", Channel.IOPUB, identifies=False) is None
    assert numbering.high is None
    assert numbering.record("k_7_3", Channel.IOPUB, identifies=True) == 3
    assert numbering.record("k_7_5", Channel.IOPUB, identifies=False) == 5
    assert numbering.count_missing(3, 5) == 1


def test_other_series_is_ignored_unless_it_identifies_the_process() -> None:
    numbering = seen(0, 1)
    assert numbering.record("k_8_99", Channel.IOPUB, identifies=False) is None
    assert numbering.high == 1
    assert numbering.record("k_8_99", Channel.IOPUB, identifies=True) == 99
    assert numbering.count_missing(0, 99) == 0


@pytest.mark.parametrize(
    "msg_id", ["", "7", "_7", "k_7_", "k_7_x", "k-7-1", "k_7_²", "k_7_" + "9" * 5000]
)
def test_ids_without_a_number_are_not_counted(msg_id: str) -> None:
    numbering = Numbering()
    assert numbering.record(msg_id, Channel.IOPUB, identifies=True) is None
    assert numbering.high is None


def test_count_missing_counts_millions_in_full() -> None:
    numbering = seen(1, 5_000_002)
    assert numbering.count_missing(0, 5_000_002) == 5_000_000
    numbering.record("k_7_70000", Channel.IOPUB, identifies=False)
    assert numbering.count_missing(1, 5_000_002) == 4_999_999
    assert numbering.count_missing(69_998, 70_002) == 2


def test_holes_are_bounded() -> None:
    numbering = seen(*range(0, 20_000, 2))
    numbering.reopened()
    assert numbering.count_missing(0, 20_000) == 4096
    assert numbering.count_missing(0, 20_000 - 2 * 4096 - 2) == 0


def test_ids_that_leap_do_not_count_messages() -> None:
    numbering = seen(1, 10**15)
    assert numbering.high is None
    assert numbering.record(f"k_7_{2 * 10**15}", Channel.IOPUB, identifies=True) is None
    assert numbering.record("k_8_1", Channel.IOPUB, identifies=True) == 1


def test_ignored_number_is_not_missing() -> None:
    numbering = seen(0, 5, 9)
    numbering.ignore(2)
    numbering.ignore(77)
    assert numbering.count_missing(0, 9) == 6
    numbering.reset()
    assert numbering.high is None
    assert numbering.output is None


def test_record_of_a_replayed_message_is_repeated_and_of_a_late_one_is_not() -> None:
    numbering = seen(5, 6, 9)
    numbering.reopened()
    again = [
        numbering.record(f"k_7_{number}", Channel.IOPUB, identifies=False)
        for number in (6, 9, 7, 7)
    ]
    assert again == [REPEATED, REPEATED, 7, REPEATED]
    assert numbering.record("k_7_4", Channel.IOPUB, identifies=False) == EARLIER
    numbering.ignore(8)
    assert numbering.record("k_7_8", Channel.IOPUB, identifies=False) == 8, (
        "it was said to be another's"
    )
    assert numbering.record("k_8_6", Channel.IOPUB, identifies=False) is None


def test_record_of_a_number_twice_on_one_socket_is_earlier() -> None:
    numbering = seen(5, 6)
    numbering.reopened()
    assert numbering.record("k_7_7", Channel.IOPUB, identifies=False) == 7
    assert numbering.record("k_7_7", Channel.SHELL, identifies=False) == EARLIER


def test_record_below_the_forgotten_holes_is_earlier() -> None:
    numbering = seen(*range(0, 20_000, 2))
    numbering.reopened()
    assert numbering.record("k_7_1", Channel.IOPUB, identifies=False) == EARLIER
    assert numbering.record("k_7_19990", Channel.IOPUB, identifies=False) == REPEATED


def test_reply_that_overtakes_output_does_not_raise_the_output_mark() -> None:
    numbering = seen(1, 2, 3)
    numbering.record("k_7_7", Channel.SHELL, identifies=True)
    assert (numbering.high, numbering.output) == (7, 3)
    numbering.record("k_7_8", Channel.SHELL, identifies=True)
    assert (numbering.high, numbering.output) == (8, 3)
    numbering.record("k_7_5", Channel.IOPUB, identifies=False)
    assert (numbering.high, numbering.output) == (8, 5)
    numbering.record("k_7_4", Channel.IOPUB, identifies=False)
    assert numbering.output == 5
    assert numbering.count_missing(3, 8) == 1


def test_floor_of_control_is_the_lower_of_its_own_mark_and_the_output_mark() -> None:
    numbering = seen(1, 2)
    assert (numbering.floor(Channel.SHELL), numbering.floor(Channel.CONTROL)) == (2, -1)
    numbering.record("k_7_3", Channel.CONTROL, identifies=False)
    numbering.record("k_7_9", Channel.IOPUB, identifies=False)
    assert (numbering.floor(Channel.SHELL), numbering.floor(Channel.CONTROL)) == (9, 3)
    numbering.record("k_7_12", Channel.CONTROL, identifies=False)
    assert (numbering.floor(Channel.SHELL), numbering.floor(Channel.CONTROL)) == (9, 9)


def test_floor_without_numbered_output_is_none() -> None:
    numbering = Numbering()
    numbering.record("k_7_3", Channel.SHELL, identifies=True)
    assert numbering.high == 3
    assert numbering.floor(Channel.SHELL) is None
    assert numbering.floor(Channel.CONTROL) is None


def test_number_with_leading_zeros_is_the_next() -> None:
    numbering = Numbering()
    numbering.record("k_7_1", Channel.IOPUB, identifies=True)
    assert numbering.record("k_7_02", Channel.IOPUB, identifies=False) == 2
    assert numbering.count_missing(0, 9) == 0


def test_ignored_numbers_are_bounded() -> None:
    numbering = Numbering()
    numbering.record("k_7_1", Channel.IOPUB, identifies=True)
    numbering.record("k_7_1000", Channel.IOPUB, identifies=False)
    for number in range(2, 302):
        numbering.ignore(number)
    numbering.reopened()
    assert numbering.record("k_7_2", Channel.IOPUB, identifies=False) == REPEATED
    assert numbering.record("k_7_301", Channel.IOPUB, identifies=False) == 301


def test_ignore_only_missing_ignores_the_one_number_and_none_of_several() -> None:
    numbering = seen(1, 3, 5, 8, 9)
    numbering.ignore_only_missing(3, 9)
    assert numbering.count_missing(0, 9) == 4  # 2, 4, 6 and 7
    numbering.ignore_only_missing(3, 5)
    assert numbering.count_missing(0, 3) == 1
    assert numbering.count_missing(3, 5) == 0
    numbering.ignore_only_missing(6, 8)
    assert numbering.count_missing(5, 7) == 1
    assert numbering.count_missing(6, 8) == 0
