package dev.runwright.example;

import io.grpc.CallCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.AbstractStub;
import java.io.File;
import java.io.IOException;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;

/** How a server is reached: a channel that finds a dead peer, TLS, the key, and ten seconds for calls with one answer. */
final class Connection {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private Connection() {}

  /** A channel to `host:port`. TLS with RUNWRIGHT_TLS_CA, a PEM file of authorities. */
  static ManagedChannel dial(String address) throws IOException {
    String ca = environment("RUNWRIGHT_TLS_CA");
    var credentials =
        ca.isEmpty()
            ? InsecureChannelCredentials.create()
            : TlsChannelCredentials.newBuilder().trustManager(new File(ca)).build();
    return Grpc.newChannelBuilder(address, credentials)
        .keepAliveTime(20, TimeUnit.SECONDS) // the server allows one ping in 10 s
        .keepAliveTimeout(10, TimeUnit.SECONDS)
        .maxInboundMessageSize(64 << 20) // a page of events with contents is larger than gRPC's 4 MiB
        .disableRetry() // what is sent again is decided here
        .build();
  }

  /** Puts the key of RUNWRIGHT_KEY on every call of a stub. */
  static <S extends AbstractStub<S>> S signed(S stub) {
    String key = environment("RUNWRIGHT_KEY");
    return key.isEmpty() ? stub : stub.withCallCredentials(new Bearer(key));
  }

  /** The same, with ten seconds for the answer: for calls with one answer. Streams have no deadline. */
  static <S extends AbstractStub<S>> S bounded(S stub) {
    return signed(stub).withDeadlineAfter(10, TimeUnit.SECONDS);
  }

  private static String environment(String name) {
    return System.getenv().getOrDefault(name, "");
  }

  private static final class Bearer extends CallCredentials {
    private final String key;

    Bearer(String key) {
      this.key = key;
    }

    @Override
    public void applyRequestMetadata(RequestInfo request, Executor executor, MetadataApplier applier) {
      try {
        Metadata headers = new Metadata();
        headers.put(AUTHORIZATION, "Bearer " + key);
        applier.apply(headers);
      } catch (RuntimeException error) { // of a key that no header can hold; its text may have the key
        applier.fail(Status.UNAUTHENTICATED.withDescription("RUNWRIGHT_KEY cannot be sent."));
      }
    }
  }
}
