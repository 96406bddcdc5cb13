"""The command line: a client of the server like any other, and the command that starts the server."""

from runwright.settings import quieten_grpc

quieten_grpc()  # here, because gRPC looks once, when the first command's module loads it
