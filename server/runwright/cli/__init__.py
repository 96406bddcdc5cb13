"""The command line: a client of the server like any other, and the command that starts the server."""
