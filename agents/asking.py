"""Ask several things at once that do not depend on one another.

Each question to Pacemaker is a program that has to be started, 10 to 40 ms in which the agent does nothing; asked in turn, ten of them
are the largest part of a failover. Only for questions: an answer that is not waited for any more (a signal ends the action) goes unheard,
a change would still be made.
"""

from __future__ import annotations

import _thread  # threading costs 4 ms, and needs nothing more than this

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class Asked:
    """A question that is being asked. It has to have a deadline of its own."""

    __slots__ = ("_answered", "_error", "_question", "_value")

    def __init__(self, question: Callable[[], Any]) -> None:
        self._question = question
        self._value: Any = None
        self._error: BaseException | None = None
        self._answered = _thread.allocate_lock()
        self._answered.acquire()
        _thread.start_new_thread(self._ask, ())

    def _ask(self) -> None:
        try:
            self._value = self._question()
        except BaseException as error:  # whoever waits gets it
            self._error = error
        finally:
            self._answered.release()

    def within(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; whether it is answered."""
        if not self._answered.acquire(timeout=max(0.0, seconds)):
            return False
        self._answered.release()
        return True

    def answer(self) -> Any:
        """Wait for the answer; raises what the question raised."""
        with self._answered:
            if self._error is not None:
                raise self._error
            return self._value


def together(*questions: Callable[[], Any]) -> list[Any]:
    """The answers, in the order of the questions; raises what the first of them raised that failed."""
    if not questions:
        return []
    others = [Asked(question) for question in questions[1:]]
    return [questions[0](), *(other.answer() for other in others)]
