"""Which messages of a kernel have not come.

ipykernel numbers its messages, ``<session>_<pid>_<n>``, with one counter for all channels (seen on
ipykernel 7.4; the format is jupyter_client's ``Session.msg_id``). Channels overtake one another,
so a number that is missing now may still come; it is lost when a message that the kernel sent
later, on the same channel or behind a barrier, is in.
"""

from __future__ import annotations

_MOST_HOLES = 4096
_MOST_DIGITS = 18


class Numbering:
    """The numbers seen of one kernel process, and the holes between them.

    A kernel that does not number its messages leaves this empty: `high` stays None.
    """

    def __init__(self) -> None:
        self._series: str | None = None
        self._holes: dict[int, None] = {}
        self.high: int | None = None

    def see(self, msg_id: str, *, leads: bool) -> int | None:
        """Note a message; return its number, None if it is not one of the kernel's series.

        Only a message that ``leads``, a reply by which the kernel is known, can begin a series: the
        gateway and forked children of the kernel send messages too, with counters of their own.
        """
        series, _, digits = msg_id.rpartition("_")
        if not series or not (digits.isascii() and digits.isdigit()):
            return None
        if len(digits) > _MOST_DIGITS:
            return None
        number = int(digits)
        if series != self._series:
            if not leads:
                return None
            self.forget()
            self._series = series
        if self.high is None:
            self.high = number
        elif number > self.high:
            # Ids that do not count, a time stamp for one, must not fill our memory with holes.
            for missing in range(max(self.high + 1, number - _MOST_HOLES), number):
                self._holes[missing] = None
            self.high = number
            while len(self._holes) > _MOST_HOLES:
                del self._holes[next(iter(self._holes))]
        else:
            self._holes.pop(number, None)
        return number

    def missing(self, after: int, before: int) -> int:
        """How many numbers between these two have not come."""
        return sum(after < hole < before for hole in self._holes)

    def excuse(self, number: int) -> None:
        """Forgive one hole: it is known to be for somebody else."""
        self._holes.pop(number, None)

    def settle(self) -> None:
        """Forgive the holes there are: they were replies to other clients, or are announced."""
        self._holes.clear()

    def forget(self) -> None:
        """Begin anew, for another process of the kernel."""
        self._series = None
        self._holes.clear()
        self.high = None
