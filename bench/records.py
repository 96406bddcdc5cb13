"""Real records without a model or a tool: the run machine, driven by hand, for journals of any length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runwright.core import inputs as i
from runwright.core.content import JSON, Content
from runwright.core.ids import DEFAULT_NAMESPACE, RunId, RunKey
from runwright.core.machine import advance
from runwright.core.outcomes import FinishReason
from runwright.core.package import BudgetSpec, RuntimePackage
from runwright.core.records import Record
from runwright.core.request import RunRequest
from runwright.core.state import RunState
from runwright.runtime.packages import CataloguedPackage

from bench.parts import package, tool

AT = 1_700_000_000_000_000
_ARGUMENTS = Content.of(b'{"query":"lamp"}', JSON)
_RESULT = Content.of(b'{"found": "a lamp, on the desk"}', JSON)
_TEXT = Content.text("I shall look for the lamp on the desk first, and then ask who has seen it last.")


@dataclass(frozen=True, slots=True)
class Append:
    """One append of a driver."""

    records: Sequence[Record]
    contents: Sequence[Content]
    state: RunState


class History:
    """A run that goes on for as long as it is asked to, one append after the other, as a driver would make them."""

    def __init__(self, run_id: str, *, calls: int = 1) -> None:
        # Beyond what a package file may say: no run may be as long as the longest that is measured here.
        budget = BudgetSpec.model_construct(rounds=10**6, tool_calls=10**6, parallel_calls=64)
        sound = RuntimePackage.model_validate(package("history", [], tool("look")))
        self.known = CataloguedPackage.of(sound.model_copy(update={"budget": budget}))
        self.state = RunState(key=RunKey(DEFAULT_NAMESPACE, RunId(run_id)))
        self._calls = calls
        self._at = AT

    def start(self) -> Append:
        """The first append."""
        request = RunRequest(run_id=self.state.key.run_id, input=("Where is the lamp?",), package_id="history")
        requested, part = Content.of(request.canonical(), JSON), request.contents()
        value = i.StartRequested(
            at=AT,
            request=request,
            turn_id="t1",
            principal="bench",
            request_ref=requested.ref,
            package_ref=self.known.content.ref,
            package_fingerprint=self.known.fingerprint,
            input=tuple(content.ref for content in part),
            contents=(requested, self.known.content, *part),
        )
        return self._next(value)

    def rounds(self, number: int, *, text: Content = _TEXT, result: Content = _RESULT) -> Iterator[Append]:
        """More rounds: the model asks for its calls, each is answered."""
        call = i.RequestedCall("look", "call-1", _ARGUMENTS.ref, i.Findings(availability=i.Availability.HELD))
        for _ in range(number):
            yield self._next(
                i.ModelReplied(
                    at=self._at,
                    round=self.state.round,
                    attempt=1,
                    text=text.ref,
                    finish=FinishReason.TOOL_CALLS,
                    calls=(call,) * self._calls,
                    contents=(text, _ARGUMENTS),
                )
            )
            for running in self.state.calls:
                yield self._next(
                    i.ToolReturned(
                        at=self._at,
                        call_id=running.call_id,
                        attempt=1,
                        ok=True,
                        result=result.ref,
                        contents=(result,),
                    )
                )

    def end(self) -> Append:
        """The last append."""
        return self._next(
            i.ModelReplied(
                at=self._at,
                round=self.state.round,
                attempt=1,
                text=_TEXT.ref,
                finish=FinishReason.STOP,
                contents=(_TEXT,),
            )
        )

    def _next(self, value: i.Input) -> Append:
        self._at += 1000
        records, self.state = advance(self.known.package, self.state, value)
        if not records:
            raise RuntimeError(f"the run did not go on after {value}")
        return Append(records, value.contents, self.state)
