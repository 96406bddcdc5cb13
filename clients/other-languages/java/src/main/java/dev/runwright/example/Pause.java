package dev.runwright.example;

import java.util.concurrent.ThreadLocalRandom;

/** Waits after failures: 0.1 s doubling to 5 s, each up to a half less, so that clients do not come back in step. */
final class Pause {
  private int failures;

  int failures() {
    return failures;
  }

  void reset() {
    failures = 0;
  }

  void take() throws InterruptedException {
    long longest = Math.min(5_000, 100L << Math.min(failures++, 10));
    Thread.sleep(ThreadLocalRandom.current().nextLong(longest / 2, longest + 1));
  }
}
