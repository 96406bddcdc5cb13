"""The public test kit: a clock you turn by hand, tools as Python functions, a server in this process."""

from runwright.testing.clock import ManualClock
from runwright.testing.server import InProcessServer
from runwright.testing.tools import FunctionTools, Performed

__all__ = ["FunctionTools", "InProcessServer", "ManualClock", "Performed"]
