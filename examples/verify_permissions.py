"""What speaks against a decision on an approval, and against what a grant permitted: whether it is so, with words.
Part of verify_effects.py."""

from verify_export import Message, digest

ENFORCED, EXACT, RUN, SESSION, BY_STARTER = 1, 1, 1, 2, 3


def against(event, asked, decided):
    """What speaks against a decision. Which roles somebody had is not in an export."""
    sets, by, now = [Message(each) for each in asked.get(16, [b""])], decided.text(6), event.time(5)
    turn, is_known = next((each for each in sets if now < each.time(3)), sets[-1]), decided.number(12) == ENFORCED
    yield decided.text(4) != asked.text(7), "it is about another digest"
    yield now >= asked.time(17), "it came too late"
    yield is_known and 1 not in turn and by.encode() not in turn.get(2, []), f"{by} is not in the approver set"
    yield is_known and asked.number(19) and by == event.text(14), f"{by} started the run"


def against_grant(event, intent, used):
    """What speaks against a call that a grant permitted: `used` is the GRANT_USED of the call, which has all of it.
    What its condition says of the arguments, and that a use was left, stood under the append of that event."""
    grant = used.inner(2)
    what = {"tool": intent.text(1), "executor": intent.text(2), "arguments": intent.text(6)}
    whole = {**what, "schema": grant.text(10), "package": event.text(13)}
    of_run = {RUN: (event.text(6), grant.text(3)), SESSION: (event.text(7), grant.text(4))}
    of_run[BY_STARTER] = (event.text(9), event.text(14)), (grant.text(5), grant.text(6))
    one, other = of_run.get(grant.number(2), ("", ""))
    yield grant.text(1) != intent.text(35), "no such grant was used for it"
    yield grant.text(18) != intent.text(9), f"the grant was issued by {grant.text(18)}"
    yield used.text(4) != intent.text(10), "the grant permitted something else"
    yield intent.text(10) != digest("runwright-approval-v1", whole), "the digest is not of this call"
    yield (
        (grant.text(8), grant.text(9), grant.text(7)) != (what["tool"], what["executor"], whole["package"]),
        ("the grant is for another tool, executor or package"),
    )
    yield grant.number(12) == EXACT and grant.text(13) != what["arguments"], "the grant is for other arguments"
    yield one != other, "the grant is for other runs"
