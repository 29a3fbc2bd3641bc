"""Which session came over which command link, and the end of those whose link is gone (semantics C7).

    link accepted ─▶ its number (HELLO) ─▶ START_SESSION, tag = number << 48 | … ─▶ SESSION_STARTED
    link lost ─▶ END_SESSION for each of its sessions, behind everything that came over it

Law: a session does not outlive its link. Ends are commands like any other, so a replay ends the same sessions
at the same place; what is kept here is only who is to be told apart, and a restart ends whatever the log left
open, before any link is accepted.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import numpy as np

from engine.core.layout import State
from engine.frames import LINK_SHIFT, LINKS_MAX, LinkError
from engine.records import ORDER, Records, commands_of, select
from engine.vocabulary import Command, Event

RETRY_S: Final = 0.2  # after the inbox or the disk had no room for the ends


class Sessions:
    """The live sessions by link; `submit` takes commands into the inbox, or returns what it refuses."""

    def __init__(self, submit: Callable[[Records], Records | None]) -> None:
        self._submit = submit
        self._links: set[int] = set()
        self._last_number = 0
        self._of: dict[int, tuple[int, int]] = {}  # session: (link number, account)
        self._ending: dict[int, int] = {}  # session: account; to be ended as soon as there is room
        self._retry_due = False

    def __len__(self) -> int:
        return len(self._of)

    def accept(self) -> int:
        """The number of a new link: no other live link has it, and no recent one had it."""
        assert len(self._links) < LINKS_MAX, "the engine accepts far fewer links"
        number = self._last_number % LINKS_MAX + 1
        while number in self._links:
            number = number % LINKS_MAX + 1
        self._last_number = number
        self._links.add(number)
        return number

    def check(self, commands: Records, link: int) -> None:
        """Raise LinkError if a session is started under the number of another link: it would never end."""
        starts = commands["kind"] == Command.START_SESSION
        if starts.any() and (commands["tag"][starts] >> LINK_SHIFT != link).any():
            raise LinkError(
                f"START_SESSION carries the link's number, {link}, in the upper 16 bits of its tag"
            )

    def lost(self, link: int) -> None:
        """A link is gone: its sessions end."""
        self._links.discard(link)
        self._end({session: account for session, (owner, account) in self._of.items() if owner == link})

    def note(self, events: Records) -> None:
        """Durable events: sessions start and end. One whose link has gone meanwhile ends at once."""
        kinds = events["kind"]
        about = (kinds == Event.SESSION_STARTED) | (kinds == Event.SESSION_ENDED)
        if not about.any():
            return
        orphans = {}
        for row in select(events, about).view(ORDER):
            session, account, link = int(row["session"]), int(row["account"]), int(row["tag"]) >> LINK_SHIFT
            if row["kind"] == Event.SESSION_ENDED:
                self._of.pop(session, None)
            elif link in self._links:
                self._of[session] = (link, account)
            else:
                orphans[session] = account
        self._end(orphans)

    def refused(self, commands: Records) -> None:
        """Of a client's commands some found no room, and with them every END_SESSION: the engine takes those
        over, because whoever the session was of has left and nobody else would ask again.
        """
        ends = select(commands, np.asarray(commands["kind"] == Command.END_SESSION))
        self._end(dict(zip(ends["session"].tolist(), ends["account"].tolist(), strict=True)))

    def end_all(self, state: State) -> None:
        """After a restart: no link is left, every session that the log left open ends."""
        rows = state.sessions[1 : int(state.head["sessions_used"][0]) + 1]
        live = np.flatnonzero(rows["id"])
        self._end(dict(zip(rows["id"][live].tolist(), rows["account"][live].tolist(), strict=True)))

    def _end(self, sessions: dict[int, int]) -> None:
        for session in sessions:
            self._of.pop(session, None)
        self._ending |= sessions
        self._flush()

    def _flush(self) -> None:
        """Submit the ends, by session number; where there is no room for them, try again soon."""
        if not self._ending:
            return
        rows = [
            {"kind": Command.END_SESSION, "account": account, "instrument": -1, "session": session}
            for session, account in sorted(self._ending.items())
        ]
        if self._submit(commands_of(*rows)) is None:
            self._ending.clear()
        elif not self._retry_due:
            self._retry_due = True
            asyncio.get_running_loop().call_later(RETRY_S, self._retry)

    def _retry(self) -> None:
        self._retry_due = False
        self._flush()
