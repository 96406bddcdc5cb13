// Starts a run and prints its events as they come, each once, over cuts and restarts of the server.
//
//   follow HOST:PORT RUN_ID TEXT [PACKAGE_ID]
//
// RUNWRIGHT_KEY is the key, RUNWRIGHT_TLS_CA a file of PEM certificates to trust. Called again with the same words, it
// starts nothing and follows the same run. Ends with 0 when the run completed, 1 when it did not, 5 when a call failed.
#include <iostream>
#include <optional>
#include <string>

#include "runwright.h"
#include "runwright/v1/runtime_service.grpc.pb.h"

namespace v1 = runwright::v1;
using client::Failure;

constexpr int kCompleted = 0, kNotCompleted = 1, kUsage = 2, kCallFailed = 5;
constexpr int kMostTries = 5;  // in a row, where coming back may be in vain

// Starts the run. The run id makes it safe to ask again while nobody answers.
std::optional<Failure> start(v1::RuntimeService::Stub& server, const v1::StartRunRequest& request) {
  client::Pause pause;
  while (true) {
    grpc::ClientContext call;
    client::sign_and_bound(call);
    v1::StartRunResponse response;
    const grpc::Status status = server.StartRun(&call, request, &response);
    if (status.ok()) return std::nullopt;
    const Failure failure(status);
    if (!(failure.is_away || failure.is_broken) || pause.failures() == kMostTries) return failure;
    pause.wait();
  }
}

// Prints one line for an event: number, kind, and what it concerns.
void print(const v1::Event& event) {
  std::cout << event.seq() << ' ' << client::bare(v1::EventKind_Name(event.kind()), "EVENT_KIND_", event.kind());
  if (!event.effect_id().empty()) std::cout << ' ' << event.effect_id() << " attempt " << event.attempt();
  std::cout << std::endl;
}

// Why the run did not complete, from its terminal event; a failed run is not a failed call.
void explain(const v1::AgentError& error) {
  const std::string reason = client::bare(v1::ErrorReason_Name(error.reason()), "ERROR_REASON_", error.reason());
  std::cerr << reason << ": " << error.message() << ' ' << error.remedy() << std::endl;
}

// Reads one stream to its end. Every frame moves the cursor, those without an event too.
grpc::Status read(v1::RuntimeService::Stub& server, v1::SubscribeRequest& request, client::Pause& pause, int& outcome) {
  grpc::ClientContext call;
  client::sign(call);
  const auto stream = server.Subscribe(&call, request);
  v1::SubscribeResponse response;
  while (stream->Read(&response)) {
    pause.reset();
    for (const auto& frame : response.frames()) {
      request.set_after_cursor(frame.cursor());
      if (!frame.has_event()) continue;
      print(frame.event());
      if (frame.event().has_run_completed()) outcome = kCompleted;
      if (frame.event().has_run_failed()) explain(frame.event().run_failed().error());
      if (frame.event().has_run_cancelled()) explain(frame.event().run_cancelled().error());
    }
  }
  return stream->Finish();
}

// Follows the run to its end: OK after the terminal event. Comes back from the last cursor for what passes.
int follow(v1::RuntimeService::Stub& server, const std::string& run_id) {
  v1::SubscribeRequest request;
  request.mutable_scope()->set_run_id(run_id);
  client::Pause pause;
  int outcome = kNotCompleted;
  while (true) {
    const grpc::Status status = read(server, request, pause, outcome);
    if (status.ok()) return outcome;
    const Failure failure(status);
    if (!failure.is_away && !(failure.is_broken && pause.failures() < kMostTries)) {
      failure.print();
      return kCallFailed;
    }
    if (pause.failures() == 0) std::cerr << "cut off (" << failure.reason << "); coming back" << std::endl;
    pause.wait();
  }
}

int main(int count, char** words) {
  if (count < 4 || count > 5) {
    std::cerr << "usage: follow HOST:PORT RUN_ID TEXT [PACKAGE_ID]" << std::endl;
    return kUsage;
  }
  const auto server = v1::RuntimeService::NewStub(client::dial(words[1]));
  v1::StartRunRequest request;
  request.mutable_run()->set_run_id(words[2]);
  request.mutable_run()->add_input()->set_text(words[3]);
  if (count == 5) request.mutable_run()->mutable_package()->set_package_id(words[4]);
  if (const auto failure = start(*server, request)) {
    failure->print();
    return kCallFailed;
  }
  return follow(*server, words[2]);
}
