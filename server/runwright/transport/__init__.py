"""The gRPC face: services, the status table, the guard of every method, the server."""
