package dev.runwright.example;

import dev.runwright.v1.AgentError;
import dev.runwright.v1.Event;
import dev.runwright.v1.EventFrame;
import dev.runwright.v1.InputPart;
import dev.runwright.v1.PackageSelector;
import dev.runwright.v1.RunRequest;
import dev.runwright.v1.RuntimeServiceGrpc;
import dev.runwright.v1.RuntimeServiceGrpc.RuntimeServiceBlockingStub;
import dev.runwright.v1.StartRunRequest;
import dev.runwright.v1.StreamScope;
import dev.runwright.v1.SubscribeRequest;
import dev.runwright.v1.SubscribeResponse;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.util.Iterator;

/**
 * Starts a run and prints its events, each once, over cuts and restarts of the server.
 *
 * <p>Follow HOST:PORT RUN_ID TEXT [PACKAGE_ID]
 *
 * <p>RUNWRIGHT_KEY is the key, RUNWRIGHT_TLS_CA a file of certificates to trust. Called again with the same words, it
 * starts nothing and follows the same run. Ends with 0 when the run completed, 1 when it did not, 5 when a call failed.
 */
public final class Follow {
  private static final int COMPLETED = 0, NOT_COMPLETED = 1, USAGE = 2, CALL_FAILED = 5;
  private static final int MOST_TRIES = 5; // in a row, where coming back may be in vain

  private final RuntimeServiceBlockingStub server;
  private final Pause pause = new Pause();
  private String cursor = "";
  private int outcome = NOT_COMPLETED;

  private Follow(ManagedChannel channel) {
    server = RuntimeServiceGrpc.newBlockingStub(channel);
  }

  public static void main(String[] words) throws Exception {
    if (words.length < 3 || words.length > 4) {
      System.err.println("usage: Follow HOST:PORT RUN_ID TEXT [PACKAGE_ID]");
      System.exit(USAGE);
    }
    RunRequest.Builder run = RunRequest.newBuilder().setRunId(words[1]);
    run.addInput(InputPart.newBuilder().setText(words[2]));
    if (words.length == 4) run.setPackage(PackageSelector.newBuilder().setPackageId(words[3]));
    ManagedChannel channel = Connection.dial(words[0]);
    try {
      Follow follow = new Follow(channel);
      follow.start(StartRunRequest.newBuilder().setRun(run).build());
      follow.toTheEnd(words[1]);
      System.exit(follow.outcome);
    } catch (StatusRuntimeException error) {
      System.err.println(new Failure(error));
      System.exit(CALL_FAILED);
    }
  }

  /** Starts the run. The run id makes it safe to ask again while nobody answers. */
  private void start(StartRunRequest request) throws InterruptedException {
    while (true) {
      try {
        Connection.bounded(server).startRun(request);
        pause.reset();
        return;
      } catch (StatusRuntimeException error) {
        Failure failure = new Failure(error);
        if (!(failure.isAway || failure.isBroken) || pause.failures() == MOST_TRIES) throw error;
        pause.take();
      }
    }
  }

  /** Follows the run to its end: the stream ends after the terminal event. Comes back from the last cursor for what passes. */
  private void toTheEnd(String runId) throws InterruptedException {
    StreamScope scope = StreamScope.newBuilder().setRunId(runId).build();
    while (true) {
      try {
        read(SubscribeRequest.newBuilder().setScope(scope).setAfterCursor(cursor).build());
        return;
      } catch (StatusRuntimeException error) {
        Failure failure = new Failure(error);
        if (!failure.isAway && !(failure.isBroken && pause.failures() < MOST_TRIES)) throw error;
        if (pause.failures() == 0) System.err.println("cut off (" + failure.reason + "); coming back");
        pause.take();
      }
    }
  }

  /** Reads one stream to its end. Every frame moves the cursor, those without an event too. */
  private void read(SubscribeRequest request) {
    Iterator<SubscribeResponse> responses = Connection.signed(server).subscribe(request);
    while (responses.hasNext()) {
      pause.reset();
      for (EventFrame frame : responses.next().getFramesList()) {
        cursor = frame.getCursor();
        if (frame.hasEvent()) print(frame.getEvent());
      }
    }
  }

  /** Prints one line for an event: number, kind, and what it concerns. */
  private void print(Event event) {
    // A value newer than these stubs has no name, and is shown as UNRECOGNIZED.
    String kind = event.getKind().name().replaceFirst("^EVENT_KIND_", "");
    String effect = event.getEffectId();
    System.out.println(
        event.getSeq() + " " + kind + (effect.isEmpty() ? "" : " " + effect + " attempt " + event.getAttempt()));
    if (event.hasRunCompleted()) outcome = COMPLETED;
    if (event.hasRunFailed()) explain(event.getRunFailed().getError());
    if (event.hasRunCancelled()) explain(event.getRunCancelled().getError());
  }

  /** Why the run did not complete, from its terminal event; a failed run is not a failed call. */
  private static void explain(AgentError error) {
    String reason = error.getReason().name().replaceFirst("^ERROR_REASON_", "");
    System.err.println(reason + ": " + error.getMessage() + " " + error.getRemedy());
  }
}
