"""The run machine: `decide` says what must be written down, `pending` what the world still owes."""

from runwright.core.machine.abandon import abandon
from runwright.core.machine.decide import advance, decide
from runwright.core.machine.pending import intent, pending, waiting_on
from runwright.core.machine.status import is_done, status

__all__ = ["abandon", "advance", "decide", "intent", "is_done", "pending", "status", "waiting_on"]
