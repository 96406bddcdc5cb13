"""What verify_effects.py asks of decisions and grants. That a grant was revoked stands in the server's audit alone."""

from verify_export import Message, digest

ENFORCED, RUN, SESSION, AGENT, EXACT, APPROVING = 1, 1, 2, 3, 1, (1, 5)


def against(event, asked, decided):
    """What speaks against a decision. Which roles somebody had is not in an export."""
    by, now, is_known = decided.text(6), event.time(5), decided.number(12) == ENFORCED
    turn = Message(asked.get(16, [b""])[whose_turn(event, asked)])
    yield decided.text(4) != asked.text(7), "it is about another digest"
    yield now >= asked.time(17), "it came too late"
    yield is_known and 1 not in turn and by.encode() not in turn.get(2, []), f"{by} is not in the approver set"
    yield is_known and asked.number(19) and by == event.text(14), f"{by} started the run"


def whose_turn(event, asked):
    """Which of its approver sets may decide at the time of an event."""
    untils = [Message(each).time(3) for each in asked.get(16, [b""])]
    return next((number for number, until in enumerate(untils) if event.time(5) < until), len(untils) - 1)


def delegation(event, asked, body, ended):
    """Has the delegate, and whoever delegated, be those whose turn it is; what speaks against that."""
    name, by, to, turn = body.text(1), body.text(6), body.text(7), whose_turn(event, asked)
    sets, after, body[12] = asked.get(16, [b""]), body.inner(9), [ENFORCED]  # without that nobody can delegate
    before = Message(sets[turn])
    earlier = before.get(2, []) if getattr(asked, "delegated", None) == turn else []
    those = {to.encode(), by.encode(), *earlier}
    found = [*against(event, asked, body), (ended, ended)]
    found.append((to.encode() not in asked.get(38, []) or to == event.text(14), f"{to} is no delegate"))
    is_it = 1 not in after and set(after.get(2, [])) == those and body.number(8) == turn
    found.append((not is_it or after.time(3) != before.time(3), "it is not theirs"))
    sets[turn], asked.delegated = body.get(9, [b""])[-1], turn
    return [(is_so, f"the delegation of {name} counts nothing: {says}") for is_so, says in found]


def edits(event, asked, decided, call):
    """Has the call be what somebody made of it; what speaks against that. The digest is of the edited call."""
    if 14 in decided and "is" in call:
        call["is"]["arguments"] = decided.inner(14).text(1)
        form = {**call["is"], "schema": asked.text(8), "package": event.text(13)}
        right = digest("runwright-approval-v1", form) == decided.text(15)
        yield not right, f"{decided.text(1)} was approved with other edits than it says"


def held(kind, asks, decisions):
    """What speaks against going on where somebody was asked about the start (2) or the answer (3) of the run."""
    for name in [name for name, (_, asked) in asks.items() if asked.number(2) == kind][-1:]:
        approved = name in decisions and decisions[name].number(5) in APPROVING
        yield not approved, f"nobody approved {name}, and the run went on"


class Grants:
    """The grants of an export, and how often they were used in it."""

    def __init__(self):
        self.issued, self.uses = {}, {}

    def issue(self, event, body, decisions):
        """What speaks against a grant that somebody gave."""
        grant, decided = body.inner(2), decisions.get(body.text(1), {})
        self.issued[grant.text(1)] = (event.link, body[2][-1])
        is_given = decided and decided.number(5) in APPROVING and decided.text(6) == grant.text(18)
        yield not is_given or decided.text(35) != grant.text(1), f"{grant.text(1)} was given with no approval"

    def use(self, event, body, call):
        """What speaks against the use of a grant. One of another run is proved by that run's export."""
        grant, name = body.inner(2), body.inner(2).text(1)
        scope, whole = grant.number(2), (b"".join(body.get(3, [])), body[2][-1])
        self.uses[name] = self.uses.get(name, 0) + 1
        call["grant"] = (name, grant.text(18), body.text(4), body.number(9) == ENFORCED)
        call["given"] = f"granted by {grant.text(18)} as {name} (event {whole[0].hex()[:12]} of {grant.text(3)})"
        own = {"tool": grant.text(8), "executor": grant.text(9), "arguments": body.text(5)}
        shown = digest("runwright-approval-v1", {**own, "schema": grant.text(10), "package": grant.text(7)})
        same = {RUN: ((3, 6),), SESSION: ((4, 7),), AGENT: ((5, 9), (6, 14))}.get(scope, ())
        yield grant.text(3) == event.text(6) and self.issued.get(name) != whole, f"{name} was not issued like this"
        yield event.time(5) >= grant.time(16), f"{name} had expired"
        yield self.uses[name] > grant.number(15), f"{name} was used up"
        yield any(grant.text(its) != event.text(own) for its, own in same), f"{name} is for other runs"
        yield own != call.get("is") or shown != body.text(4), f"{name} is for other calls"
        yield grant.text(7) != event.text(13), f"{name} is of another package"
        yield grant.number(12) == EXACT and grant.text(13) != body.text(5), f"{name} is for other arguments"
        yield call.get("tainted") and not grant.number(17), f"{name} is not for tainted calls"
