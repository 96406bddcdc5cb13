package dev.runwright.example;

import com.google.protobuf.ByteString;
import com.google.protobuf.Duration;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.google.protobuf.util.JsonFormat;
import dev.runwright.callback.v1.CallbackRegistryServiceGrpc;
import dev.runwright.callback.v1.CallbackRegistryServiceGrpc.CallbackRegistryServiceBlockingStub;
import dev.runwright.callback.v1.CallbackSpec;
import dev.runwright.callback.v1.ExecuteToolRequest;
import dev.runwright.callback.v1.ExecuteToolResponse;
import dev.runwright.callback.v1.RegisterCallbackRequest;
import dev.runwright.callback.v1.ToolError;
import dev.runwright.callback.v1.ToolExecutorServiceGrpc;
import dev.runwright.callback.v1.ToolResult;
import dev.runwright.callback.v1.UnregisterCallbackRequest;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.services.HealthStatusManager;
import io.grpc.stub.StreamObserver;
import java.net.InetSocketAddress;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Serves the tool `word_count` to the runs of a server: registers itself there and keeps the registration alive.
 *
 * <p>Tool HOST:PORT EXECUTOR CALLBACK_ID
 *
 * <p>RUNWRIGHT_KEY and RUNWRIGHT_TLS_CA as in Follow; the key needs the role `executor`. SIGTERM or SIGINT ends it.
 */
public final class Tool extends ToolExecutorServiceGrpc.ToolExecutorServiceImplBase {
  private static final int USAGE = 2, CALL_FAILED = 5, LEASE_SECONDS = 15, MOST_KEYS = 10_000;

  private final Map<String, Integer> attempts =
      new LinkedHashMap<>() {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Integer> eldest) {
          return size() > MOST_KEYS;
        }
      };

  @Override
  public void executeTool(ExecuteToolRequest request, StreamObserver<ExecuteToolResponse> answer) {
    if (!request.getTool().equals("word_count")) {
      answer.onError(refusal(Status.UNIMPLEMENTED, "No such tool here: certainly not performed."));
    } else if (!isNewest(request)) {
      answer.onError(refusal(Status.FAILED_PRECONDITION, "A later attempt of this call has been seen."));
    } else {
      answer.onNext(performed(request));
      answer.onCompleted();
    }
  }

  /** Whatever the work throws is answered: a status that is not OK would leave the outcome unknown. */
  private static ExecuteToolResponse performed(ExecuteToolRequest request) {
    try {
      Struct.Builder arguments = Struct.newBuilder();
      JsonFormat.parser().merge(request.getArgumentsJson().toStringUtf8(), arguments);
      Value text = arguments.getFieldsOrDefault("text", Value.getDefaultInstance());
      if (!text.hasStringValue()) return failed("word_count needs `text`, a string.");
      String words = text.getStringValue().strip();
      int count = words.isEmpty() ? 0 : words.split("\\s+").length;
      ByteString json = ByteString.copyFromUtf8("{\"words\":" + count + "}");
      return ExecuteToolResponse.newBuilder().setResult(ToolResult.newBuilder().setData(json)).build();
    } catch (InvalidProtocolBufferException noJson) {
      return failed("word_count needs `text`, a string.");
    } catch (Throwable error) { // also of what a StackOverflowError leaves: the text is for this process' log only
      error.printStackTrace();
      return failed("The tool failed.");
    }
  }

  /** A failure for certain, in words for the model. */
  private static ExecuteToolResponse failed(String message) {
    return ExecuteToolResponse.newBuilder().setError(ToolError.newBuilder().setMessage(message)).build();
  }

  /**
   * False for an attempt that a later one has overtaken. Counting may be done twice; what changes the world has to be
   * remembered by its idempotency key, with its result, where it outlives this process.
   */
  private synchronized boolean isNewest(ExecuteToolRequest request) {
    int seen = attempts.getOrDefault(request.getIdempotencyKey(), 0);
    attempts.put(request.getIdempotencyKey(), Math.max(seen, request.getAttempt()));
    return request.getAttempt() >= seen;
  }

  private static StatusRuntimeException refusal(Status status, String message) {
    return status.withDescription(message).asRuntimeException();
  }

  public static void main(String[] words) throws Exception {
    if (words.length != 3) {
      System.err.println("usage: Tool HOST:PORT EXECUTOR CALLBACK_ID");
      System.exit(USAGE);
    }
    HealthStatusManager health = new HealthStatusManager(); // the server examines executors every 5 s
    Server serving =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0), InsecureServerCredentials.create())
            .addService(new Tool())
            .addService(health.getHealthService())
            .build()
            .start();
    String address = "127.0.0.1:" + serving.getPort();
    var server = CallbackRegistryServiceGrpc.newBlockingStub(Connection.dial(words[0]));
    CallbackSpec.Builder spec = CallbackSpec.newBuilder().setExecutor(words[1]).setCallbackId(words[2]);
    RegisterCallbackRequest request =
        RegisterCallbackRequest.newBuilder()
            .setSpec(spec.setAddress(address).addTools("word_count"))
            .setLease(Duration.newBuilder().setSeconds(LEASE_SECONDS))
            .build();
    CountDownLatch ending = new CountDownLatch(1), ended = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> end(ending, ended))); // SIGTERM, SIGINT
    System.out.println("serving on " + address);
    do {
      if (!renew(server, request)) Runtime.getRuntime().halt(CALL_FAILED);
    } while (!ending.await(LEASE_SECONDS / 3, TimeUnit.SECONDS));
    int code = 0;
    try {
      Connection.bounded(server)
          .unregisterCallback(UnregisterCallbackRequest.newBuilder().setCallbackId(words[2]).build());
    } catch (StatusRuntimeException error) {
      System.err.println(new Failure(error)); // the lease ends it all the same
      code = CALL_FAILED;
    }
    serving.shutdown().awaitTermination(10, TimeUnit.SECONDS); // calls under way may answer
    System.out.flush();
    Runtime.getRuntime().halt(code); // a process that a signal ends would say so in its exit code
  }

  private static void end(CountDownLatch ending, CountDownLatch ended) {
    ending.countDown();
    try {
      ended.await(); // `main` halts the process
    } catch (InterruptedException nobodyDoesThat) {
      Thread.currentThread().interrupt();
    }
  }

  /** Registers, or renews the lease: the same request does both. Tells of a refusal and returns whether it will pass. */
  private static boolean renew(CallbackRegistryServiceBlockingStub server, RegisterCallbackRequest request) {
    try {
      Connection.bounded(server).registerCallback(request);
      return true;
    } catch (StatusRuntimeException error) {
      Failure failure = new Failure(error);
      System.err.println(failure);
      return failure.isAway || failure.isBroken || failure.isLate;
    }
  }
}
