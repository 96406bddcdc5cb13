"""One decision of a command line: what is decided on is shown before it is sent, and what stands then afterwards."""

from __future__ import annotations

import time

from runwright._gen.runwright.v1 import approval_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.cli import sanitize
from runwright.cli.approval_text import approval_lines, approvers
from runwright.cli.client import Client
from runwright.cli.decisions import named, outcome_line
from runwright.cli.output import Format, print_json


def send_decision(client: Client, approval_id: str, verdict: int, decision: pb.DecisionRequest, output: Format) -> None:
    """Shows what is decided on, decides, and says what stands. With a digest it was shown before."""
    if not decision.digest:
        shown = client.approval(approval_id).approval
        decision.digest = shown.digest
        if output is Format.TEXT:
            print("\n".join(approval_lines(shown, time.time())))
    decision.approval_id = approval_id
    decision.verdict = approval_pb2.ApprovalVerdict.ValueType(verdict)
    response = client.decide(named(decision))
    if output is Format.JSON:
        print_json(response)
        return
    if decision.delegate_to:
        now = approvers(response.approval.sets[response.approval.current_set])
        print(sanitize.line(f"{approval_id} is delegated to {decision.delegate_to}; it waits for {now}"))
        return
    print(outcome_line(response))
