"""The run machine: `decide` says what must be written down, `pending` what the world still owes."""

from runwright.core.machine.decide import advance, decide
from runwright.core.machine.endings import abandon
from runwright.core.machine.holds import WaitingOn, is_done, status, waiting_on
from runwright.core.machine.pending import intent, pending

__all__ = ["WaitingOn", "abandon", "advance", "decide", "intent", "is_done", "pending", "status", "waiting_on"]
