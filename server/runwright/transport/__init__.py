"""The gRPC face: services, the status table, interceptors, the server."""
