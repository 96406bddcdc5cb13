"""The command line: a client of the server like any other, and the command that starts the server."""

import gc

from runwright.settings import settle_libraries

settle_libraries()  # here, because they look once, when the first module of a command loads them
# Nor later: loading makes a hundred thousand objects and no garbage, and by default every 700 new ones are searched.
gc.set_threshold(20_000)
