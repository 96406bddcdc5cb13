"""Says from an export of a run alone, for every attempt at a tool call: who allowed it, by which rule, who approved it
over which digest, and which intent spent that: `python verify_effects.py FILE`, with its two neighbours beside it. Exit
code 0: all of it holds; 1: something was done that nobody allowed, or the export is not whole; 2: not an export."""

import sys

from verify_export import Message, digest, fingerprint, main
from verify_permits import APPROVING, Grants, against, delegation, edits, held

ALLOW, ENFORCED, TOOL_CALL, NOTHING = 1, 1, 1, Message(b"")
# The fields of `runwright.v1.Event` that matter here, and the field of each outcome that says who performed the call.
STARTED, REQUESTED, POLICY, INTENT, REPLACED, ASKED, DECIDED, ISSUED, USED = 20, 25, 26, 27, 56, 60, 61, 70, 71
ENDS = {62: "it expired", 63: "it was withdrawn", 64: "it was superseded", 72: "it was superseded"}
DELEGATED, PERFORMED, HELD = 73, {28: 3, 29: 4, 32: 6}, {22: 2, 36: 3}


class Run:
    """What is known of a run, event by event. `faults` and `answers` are lines to print."""

    def __init__(self, package):
        self.package, self.faults, self.answers, self.grants = package, [], [], Grants()
        self.calls, self.asks, self.decisions, self.over = {}, {}, {}, {}

    def take(self, event):
        field, call_id = max(event), event.text(11)
        body, call = event.inner(field), self.calls.setdefault(call_id, {})
        name, found = body.text(1), []
        if field == STARTED:
            found = [(event.text(13) != self.package, "the run is not of the package that the export holds")]
        elif field == REQUESTED:
            call["is"] = {"tool": name, "executor": body.text(4), "arguments": body.inner(3).text(1)}
            call["tainted"] = body.number(5)
        elif field == REPLACED and "is" in call:
            call["is"]["arguments"] = body.inner(5).text(1)
        elif field == POLICY and body.number(1) == 1:
            call["policy"] = body
        elif field == ASKED:
            self.asks[name] = (call_id, body)
            shown = {"tool": body.text(3), "executor": body.text(4), "arguments": body.inner(6).text(1)}
            whole = digest("runwright-approval-v1", {**shown, "schema": body.text(8), "package": event.text(13)})
            is_it = body.number(2) != TOOL_CALL or (shown, whole) == (call.get("is"), body.text(7))
            found = [(not is_it, f"{name} is not about the call as it was requested")]
        elif field == DECIDED:
            asked, ended = self.asks.get(name, ("", NOTHING))[1], self.over.get(name)
            found = [*against(event, asked, body), (ended, ended)]
            found = [(is_so, f"the decision on {name} counts nothing: {says}") for is_so, says in found]
            self.decisions[name], self.over[name] = body, "it was decided on before"
            found += edits(event, asked, body, call)
        elif field == DELEGATED:
            found = delegation(event, self.asks.get(name, ("", NOTHING))[1], body, self.over.get(name))
        elif field in ENDS:
            self.decisions.pop(name, None)
            self.over[name] = ENDS[field]
            call.pop("grant", None)
        elif field in (ISSUED, USED):
            found = (
                self.grants.use(event, body, call) if field == USED else self.grants.issue(event, body, self.decisions)
            )
        elif field == INTENT:
            found = self.intent(event, body, call)
        elif field in HELD:
            found = held(HELD[field], self.asks, self.decisions)
        elif (by := body.inner(PERFORMED.get(field, 0)).text(2)) and by == call.get("not_by"):
            found = [(True, f"{call_id} was performed by {by}, who approved it")]
        self.faults += [f"event {event.number(1)}: {says}" for is_so, says in list(found) if is_so]

    def intent(self, event, body, call):
        """What speaks against an attempt that is about to be made."""
        name, by, over, policy = body.text(8), body.text(9), body.text(10), call.get("policy", NOTHING)
        (asker, asked), decided = self.asks.get(name, ("", NOTHING)), self.decisions.get(name, NOTHING)
        said, rule = f"{event.text(11)} {body.text(1)}, attempt {event.number(12)}", policy.text(5) or policy.text(3)
        grant, rule = call.get("grant", ("", "", "", False)), f"{policy.text(6)} {rule}"
        call["not_by"] = by if decided.number(12) == ENFORCED or grant[3] else ""
        at, is_it = call.setdefault(name, event.number(1)), call.get("is", {})
        is_it = (is_it.get("tool"), is_it.get("arguments")) == (body.text(1), body.text(6))
        yield not is_it, f"{said} was not requested like this"
        if name:
            yield asker != event.text(11) or decided.number(5) not in APPROVING, f"nobody approved {said}"
            yield (decided.text(6), decided.text(15) or asked.text(7)) != (by, over), f"{said} is not what was approved"
            said += (
                f": asked for by {asked.text(13)} {asked.text(11)}, approved by {by} over {over}, spent by event {at}"
            )
        elif body.text(35):
            yield grant[:3] != (body.text(35), by, over), f"nobody granted {said}"
            said += f": asked for by {rule}, {call.get('given')} over {over}, spent by event {at}"
        else:
            yield policy.number(2) != ALLOW, f"nobody allowed {said}"
            said += f": allowed by {rule}"
        self.answers.append(said)


def judge(events, contents):
    run = Run(fingerprint(contents[events[0].inner(STARTED).inner(5).text(1)]))
    for event in events:
        run.take(event)
    return run.faults, run.answers or ["nothing was done"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], judge))
