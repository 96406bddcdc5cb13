"""The composition root: Settings → adapters → runtime → server."""

from runwright.bootstrap.interpreter import settle_interpreter
from runwright.bootstrap.parts import build_runtime
from runwright.bootstrap.serving import serve

__all__ = ["build_runtime", "serve", "settle_interpreter"]
