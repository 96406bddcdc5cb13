"""Says from an export of a run alone, for every attempt at a tool call: who allowed it, by which rule, who approved it
over which digest, and which intent spent that: `python verify_effects.py FILE`, with verify_export.py beside it. Exit
code 0: all of it holds; 1: something was done that nobody allowed, or the export is not whole; 2: not an export."""

import sys

from verify_export import UNREADABLE, Message, digest, fingerprint, read

ALLOW, APPROVE, EDITED, ENFORCED, NOTHING = 1, 1, 5, 1, Message(b"")
# The fields of `runwright.v1.Event` that matter here, and the field of each outcome that says who performed the call.
STARTED, REQUESTED, POLICY, INTENT, REPLACED, ASKED, DECIDED = 20, 25, 26, 27, 56, 60, 61
ENDS, PERFORMED = {62: "it expired", 63: "it was withdrawn", 64: "it was superseded"}, {28: 3, 29: 4, 32: 6}


def against(event, asked, decided):
    """What speaks against a decision. Which roles somebody had is not in an export."""
    sets, by, now = [Message(each) for each in asked.get(16, [b""])], decided.text(6), event.time(5)
    turn, is_known = next((each for each in sets if now < each.time(3)), sets[-1]), decided.number(12) == ENFORCED
    yield decided.text(4) != asked.text(7), "it is about another digest"
    yield now >= asked.time(17), "it came too late"
    yield is_known and 1 not in turn and by.encode() not in turn.get(2, []), f"{by} is not in the approver set"
    yield is_known and asked.number(19) and by == event.text(14), f"{by} started the run"


class Run:
    """What is known of a run, event by event. `faults` and `answers` are lines to print."""

    def __init__(self, package):
        self.package, self.faults, self.answers = package, [], []
        self.calls, self.asks, self.decisions, self.over = {}, {}, {}, {}

    def take(self, event):
        field, call_id = max(event), event.text(11)
        body, call = event.inner(field), self.calls.setdefault(call_id, {})
        name, found = body.text(1), []
        if field == STARTED:
            found = [(event.text(13) != self.package, "the run is not of the package that the export holds")]
        elif field == REQUESTED:
            call["is"] = {"tool": name, "executor": body.text(4), "arguments": body.inner(3).text(1)}
        elif field == REPLACED and "is" in call:
            call["is"]["arguments"] = body.inner(5).text(1)
        elif field == POLICY and body.number(1) == 1:
            call["policy"] = body
        elif field == ASKED:
            self.asks[name] = (call_id, body)
            shown = {"tool": body.text(3), "executor": body.text(4), "arguments": body.inner(6).text(1)}
            whole = {**shown, "schema": body.text(8), "package": event.text(13)}
            is_it = shown == call.get("is") and body.text(7) == digest("runwright-approval-v1", whole)
            found = [(body.number(2) == 1 and not is_it, f"{name} is not about the call as it was requested")]
        elif field == DECIDED:
            asked, ended = self.asks.get(name, ("", NOTHING))[1], self.over.get(name)
            found = [*against(event, asked, body), (ended, ended)]
            found = [(is_so, f"the decision on {name} counts nothing: {says}") for is_so, says in found]
            self.decisions[name], self.over[name] = body, "it was decided on before"
        elif field in ENDS:
            self.decisions.pop(name, None)
            self.over[name] = ENDS[field]
        elif field == INTENT:
            found = list(self.intent(event, body, call))
        elif (by := body.inner(PERFORMED.get(field, 0)).text(2)) and by == call.get("not_by"):
            found = [(True, f"{call_id} was performed by {by}, who approved it")]
        self.faults += [f"event {event.number(1)}: {says}" for is_so, says in found if is_so]

    def intent(self, event, body, call):
        """What speaks against an attempt that is about to be made."""
        name, by, over, policy = body.text(8), body.text(9), body.text(10), call.get("policy", NOTHING)
        (asker, asked), decided = self.asks.get(name, ("", NOTHING)), self.decisions.get(name, NOTHING)
        said, rule = f"{event.text(11)} {body.text(1)}, attempt {event.number(12)}", policy.text(5) or policy.text(3)
        call["not_by"] = by if decided.number(12) == ENFORCED else ""
        is_it = (call["is"]["tool"], call["is"]["arguments"]) == (body.text(1), body.text(6)) if "is" in call else False
        yield not is_it, f"{said} was not requested like this"
        if not name:
            self.answers.append(f"{said}: allowed by {policy.text(6)} {rule}")
            yield policy.number(2) != ALLOW, f"nobody allowed {said}"
            return
        at = call.setdefault(name, event.number(1))
        yield asker != event.text(11) or decided.number(5) not in (APPROVE, EDITED), f"nobody approved {said}"
        yield (decided.text(6), decided.text(15) or asked.text(7)) != (by, over), f"{said} is not what was approved"
        said += f": asked for by {asked.text(13)} {asked.text(11)}, approved by {by} over {over}"
        self.answers.append(f"{said}, spent by event {at}")


def main(path):
    try:
        faults, events, contents = read(path)
        if not faults:
            run = Run(fingerprint(contents[events[0].inner(STARTED).inner(5).text(1)]))
            for event in events:
                run.take(event)
            faults, answers = run.faults, run.answers
    except (OSError, IndexError, *UNREADABLE):
        print("not an export")
        return 2
    print("\n".join(faults or answers) or "nothing was done")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
