package dev.runwright.example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import dev.runwright.v1.AgentError;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;

/** Why a call failed: in the server's words, or, where it gave none, in gRPC's. */
final class Failure {
  /** Without the prefix, such as RUN_NOT_FOUND. */
  final String reason;

  final String message;
  final String remedy;

  /** Nobody answers, the server stops, or we read too slowly: come back. */
  final boolean isAway;

  /** Cut off without a word, as proxies and dying servers do: come back, not for ever. */
  final boolean isBroken;

  /** True when it was not answered in time. */
  final boolean isLate;

  Failure(StatusRuntimeException error) {
    Status.Code code = error.getStatus().getCode();
    String reason = "gRPC status " + code.value();
    String message = String.valueOf(error.getStatus().getDescription());
    String remedy = "";
    boolean isTold = false;
    com.google.rpc.Status told = StatusProto.fromThrowable(error);
    if (told != null) {
      for (Any detail : told.getDetailsList()) {
        try {
          if (detail.is(AgentError.class)) {
            AgentError agent = detail.unpack(AgentError.class);
            isTold = true;
            message = agent.getMessage();
            remedy = agent.getRemedy();
          } else if (detail.is(ErrorInfo.class)) {
            ErrorInfo info = detail.unpack(ErrorInfo.class);
            if (info.getDomain().equals("runwright")) reason = info.getReason(); // a proxy may add words of its own
          }
        } catch (InvalidProtocolBufferException broken) {
          // Details are a courtesy; broken ones must not hide the status.
        }
      }
    }
    this.reason = reason;
    this.message = message;
    this.remedy = remedy;
    isAway = code == Status.Code.UNAVAILABLE || reason.equals("SUBSCRIBER_STALLED");
    isBroken =
        !isTold && (code == Status.Code.INTERNAL || code == Status.Code.UNKNOWN || code == Status.Code.CANCELLED);
    isLate = code == Status.Code.DEADLINE_EXCEEDED;
  }

  @Override
  public String toString() {
    return (reason + ": " + message + " " + remedy).strip();
  }
}
