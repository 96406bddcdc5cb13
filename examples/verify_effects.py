"""Says from an export alone, of all that was done: who allowed it, by which rule, approved by whom over which digest,
spent by which intent. `python verify_effects.py FILE`, with the Python client, and verify_export.py beside it, which
reads the file and proves it whole. Exit code 0: all of it holds; 1: what is named does not; 2: not an export."""

import json
import sys
from collections import Counter, defaultdict
from hashlib import sha256

import verify_export
from betterproto2 import which_one_of
from runwright_client import Event, package_fingerprint

SAME = {"RUN": ["run_id"], "SESSION": ["session_id"], "AGENT_AND_PRINCIPAL": ["agent_id", "principal"], "NAMESPACE": []}
ENDS = ("requested", "decided", "expired", "withdrawn", "superseded")  # of an approval, and its beginning
last, count, seq = defaultdict(lambda: None), Counter(), 0  # by name and subject


def need(holds, says):
    return holds or sys.exit(says)


def explain(said, about, event, subject, intent=None, verdicts=("APPROVE", "APPROVE_WITH_EDITS")):
    policy, asked, used = (last[name, about] for name in ("policy_decided", "approval_requested", "grant_used"))
    rule = policy and f"{policy.decider} {policy.rule or policy.policy_ref}"
    if intent and intent.grant_id:
        need(used and count["grant_used", about] > count["grant_superseded", about], f"nobody granted {said}")
        grant, name, by, over = used.grant, used.grant.grant_id, used.grant.issuer, used.digest
        given, schema, how = used, grant.schema_digest, f"granted by {by} as {name}"
        need(used.event.time < grant.until and count["grant_used", name] <= grant.uses, f"{name} is used up or expired")
        same = ["package_fingerprint", *SAME[grant.scope.name]]
        need(all(getattr(grant, each) == getattr(event, each) for each in same), f"{name} is for other runs")
        is_for = grant.matcher.name != "EXACT_ARGUMENTS" or grant.arguments_digest == subject
        is_for = is_for and (grant.tool, grant.executor) == (intent.tool, intent.executor)
        need(is_for and (grant.tainted or not last["tool_requested", about].tainted), f"{name} is for other calls")
        issued, decided = last["grant_issued", name], last["approval_decided", name]
        is_it = issued and decided and (issued.grant, issued.link, decided.decided_by) == (grant, used.issued_hash, by)
        need(is_it or grant.run_id != event.run_id, f"{name} was not issued like this")  # or that run's export says so
    elif asked and (not intent or intent.approval_id == asked.approval_id):
        name, given = asked.approval_id, last["approval_decided", asked.approval_id]
        once = [count[f"approval_{each}", name] for each in ENDS]
        need(given and given.verdict.name in verdicts and once == [1, 1, 0, 0, 0], f"nobody approved {said}")
        by, at, over, schema = given.decided_by, given.event, given.edited_digest or asked.digest, asked.schema_digest
        how, turn = f"approved by {by}", next((each for each in asked.sets if at.time < each.until), asked.sets[-1])
        is_it = given.digest == asked.digest and (intent or asked.arguments.digest == subject)
        need(is_it and at.time < asked.expires_at, f"the decision on {name} is about something else, or came too late")
        may = (turn.roles or by in turn.principals) and not (asked.four_eyes and by == at.principal)
        need(may or given.separation.name == "NOT_ENFORCED", f"{by} may not decide on {name}")
    else:
        is_free = policy and policy.verdict.name == "ALLOW" and policy.subject_digest in (subject, "")
        need((is_free and not (intent and intent.approved_by)) or not (policy or intent), f"nobody allowed {said}")
        return print(f"{said}: allowed by {rule}") if policy else None
    if intent:
        form = {"arguments": subject, "executor": intent.executor, "package": event.package_fingerprint}
        form = json.dumps({**form, "schema": schema, "tool": intent.tool}, separators=(",", ":")).encode()
        digest = "sha256:runwright-approval-v1:" + sha256(b"runwright-approval-v1\0" + form).hexdigest()
        need((intent.approved_by, intent.approval_digest, digest) == (by, over, over), f"{said} is something else")
        intent.by = by if given.separation.name == "ENFORCED" else None
    how += "" if given.separation.name == "ENFORCED" else " (separation NOT_ENFORCED: nobody is told from anybody else)"
    return print(f"{said}: asked for by {rule}, {how} over {over}, spent by event {event.spent}")


sys.excepthook = lambda _, error, __: print(f"event {seq} is none that a server writes: {error!r}", file=sys.stderr)
header, events, contents = verify_export.whole(sys.argv[1])
for seq, (data, link) in enumerate(events, start=1):
    event = Event.parse(data)
    need((event.seq, event.run_id) == (seq, header["run_id"]), f"event {seq} is of another run, or place")
    (name, body), effect = which_one_of(event, "body"), event.effect_id
    requested, intent = last["tool_requested", effect], last["tool_started", effect]
    body.event, body.link, event.spent = event, link, intent.event.spent if intent else event.seq
    if name == "subject_replaced" and requested:
        requested.arguments = body.replacement
    elif name == "approval_delegated":
        asked, by, to = last["approval_requested", body.approval_id], body.delegated_by, body.approvers
        turn = next((each for each in asked.sets if event.time < each.until), asked.sets[-1])
        is_it = (body.digest, to.until, count["approval_decided", asked.approval_id]) == (asked.digest, turn.until, 0)
        named = {*to.principals, *to.roles, body.delegated_to} - ({*asked.delegates} - {event.principal})
        is_theirs = event.time < to.until and (turn.roles or by in turn.principals) and named <= {*turn.principals, by}
        need(is_it and is_theirs and body.current_set == asked.sets.index(turn), f"{by} had no such delegate")
        asked.sets[body.current_set] = to
    elif name == "model_attempt_started" and not last[name, None]:  # the first one
        explain("the start", "RUN_START", event, last["run_started", ""].request.digest)
    elif name == "run_completed":
        explain("the answer", "OUTPUT", event, body.result.digest)
    elif name == "tool_started":
        said, subject = f"{effect} {body.tool}, attempt {event.attempt}", body.arguments_digest
        is_new = not last["tool_completed", effect] and (not intent or event.attempt > intent.event.attempt)
        is_it = requested and is_new and (requested.tool, requested.arguments.digest) == (body.tool, subject)
        explain(said, effect, event, subject, need(is_it, f"{said} was not requested like this, or is over") and body)
    elif name == "tool_completed" and not intent:
        need(last["approval_requested", effect], f"{effect} was done with no intent")
        explain(f"{effect}, answered in its place", effect, event, requested.arguments.digest, verdicts=["RESPOND"])
    elif intent and intent.approved_by and getattr(body, "executor_identity", None):
        need(body.executor_identity.principal != intent.by, f"{intent.by} approved {effect}, and performed it")
    about = (getattr(body, field, None) for field in ("approval_id", "grant_id", "kind", "stage", "grant"))
    for key in {effect, *(getattr(each, "name", getattr(each, "grant_id", each)) for each in about)}:
        last[name, key], count[name, key] = body, count[name, key] + 1
package = package_fingerprint(json.loads(contents[last["run_started", ""].package.digest]))
need(package == last["run_started", ""].event.package_fingerprint, "the package in the export is not the run's")
