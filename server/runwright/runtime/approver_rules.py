"""What a run is refused for at its start because of approvals: it would ask those that nobody can be."""

from __future__ import annotations

from collections.abc import Iterable

from runwright.core.approval_rules import ApprovalSpec, approval_spec
from runwright.core.approvals import ApprovalSeparation
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyStage
from runwright.core.policy_chain import OperatorRules
from runwright.ports.approvers import Approvers

_ASKED_AT = (PolicyStage.RUN_START, PolicyStage.PRE_TOOL, PolicyStage.OUTPUT)


def approvals_of(package: RuntimePackage, operator: OperatorRules) -> Iterable[str]:
    """The approvals that rules may ask for, by name; an empty one is the built-in one."""
    asked = [name for stage in _ASKED_AT for name in package.chain(stage, operator).approvals]
    return dict.fromkeys(asked)


def require_approvers(
    approvers: Approvers, package: RuntimePackage, operator: OperatorRules, namespace: Namespace, starter: str
) -> None:
    """Raises APPROVER_MISSING for a package that asks for an approval that nobody could give."""
    for name in approvals_of(package, operator):
        spec = approval_spec(package.approvals, name)
        said = f"approvals.{name}" if name else "a rule that asks without naming an approval"
        if spec.four_eyes and approvers.separation is ApprovalSeparation.NOT_ENFORCED:
            raise _missing(name, f"{said} asks for four eyes, and without keys nobody is told from anybody else")
        but = starter if spec.four_eyes else ""
        if not approvers.is_somebody(namespace, spec.approvers(0), but=but):
            besides = f", beside {starter}, who starts the run" if but else ""
            raise _missing(name, f"{said} asks {_words(spec)}, and no key with role approver is theirs{besides}")


def _missing(name: str, why: str) -> AgentError:
    return AgentError(ErrorReason.APPROVER_MISSING, f"Nobody could approve: {why}.", metadata={"approval": name})


def _words(spec: ApprovalSpec) -> str:
    return ", then ".join(str(each) for each in spec.approvers(0))
