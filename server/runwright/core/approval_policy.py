"""What the operator, or the program around a runtime, says of approvals beside what packages do."""

from __future__ import annotations

from msgspec import Struct

from runwright.core.approval_rules import BUILT_IN, ApprovalSpec
from runwright.core.content import JSON, Content
from runwright.core.fingerprint import canonical_json
from runwright.core.package import RuntimePackage
from runwright.core.policy_chain import NO_OPERATOR, OperatorRules
from runwright.core.policy_rules import PolicySpec


class ApprovalPolicy(Struct, frozen=True):
    """How somebody is asked where a rule asks without naming one of its package's approvals; and when, beside packages.

    With `ask_when`, a condition in CEL such as `tool.effect == "write"`, calls of every package for which it holds wait
    for an approval, whatever the package allows; `true` for all calls.
    """

    approval: ApprovalSpec = BUILT_IN
    ask_when: str = ""

    def operator_rules(self) -> OperatorRules:
        """Its rule, as one of the operator's."""
        if not self.ask_when:
            return NO_OPERATOR
        rule = {"when": self.ask_when, "then": "ask", "code": "approval_policy"}
        policy = PolicySpec.model_validate({"rules": [rule]})
        return OperatorRules((policy,), Content.of(canonical_json([policy.model_dump(mode="json")]), JSON).ref.digest)

    def of(self, package: RuntimePackage) -> RuntimePackage:
        """The package, with the approval of this policy for rules that name none. Its fingerprint is not asked for."""
        if self.approval is BUILT_IN or self.approval == BUILT_IN:  # mostly it is, and comparing takes every start 5 µs
            return package
        return package.model_copy(update={"approvals": {**package.approvals, "": self.approval}})


NO_APPROVAL_POLICY = ApprovalPolicy()
