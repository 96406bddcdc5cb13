// What a client needs beyond the stubs: a channel, a call's frame, a failure that says what to do, a pause.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <thread>

#include "google_rpc.pb.h"
#include "runwright/v1/error.pb.h"

namespace client {

using namespace std::chrono_literals;

inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// A name of an enum without its prefix. A value newer than these stubs has no name, and is shown as a number.
inline std::string bare(const std::string& name, const std::string& prefix, int value) {
  return name.empty() ? std::to_string(value) : name.substr(prefix.size());
}

// A channel that finds a dead server by pings and dials a restarted one at once. TLS with RUNWRIGHT_TLS_CA, a PEM file.
inline std::shared_ptr<grpc::Channel> dial(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);  // the server allows one ping in 10 s
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // a stream only reads
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);  // the pauses below are enough: while gRPC's own last,
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);      // up to two minutes, calls fail without any dialling
  const std::string ca = environment("RUNWRIGHT_TLS_CA");
  if (ca.empty()) return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  std::ostringstream pem;
  pem << std::ifstream(ca).rdbuf();
  return grpc::CreateCustomChannel(address, grpc::SslCredentials({pem.str(), "", ""}), arguments);
}

// Puts the key of RUNWRIGHT_KEY on a call.
inline void sign(grpc::ClientContext& call) {
  const std::string key = environment("RUNWRIGHT_KEY");
  if (!key.empty()) call.AddMetadata("authorization", "Bearer " + key);
}

// The same, with ten seconds for the answer: for calls with one answer. Streams have no deadline.
inline void sign_and_bound(grpc::ClientContext& call) {
  sign(call);
  call.set_deadline(std::chrono::system_clock::now() + 10s);
}

// Why a call failed: in the server's words, or, where it gave none, in gRPC's.
struct Failure {
  std::string reason;   // without the prefix, such as RUN_NOT_FOUND
  std::string message;  // what is wrong, for a person
  std::string remedy;   // what to do, for a person
  bool is_away;         // nobody answers, the server stops, or we read too slowly: come back
  bool is_broken;       // cut off without a word, as proxies and dying servers do: come back, not for ever

  explicit Failure(const grpc::Status& status) : message(status.error_message()) {
    const auto code = status.error_code();
    reason = "gRPC status " + std::to_string(code);
    google::rpc::Status told;
    if (!told.ParseFromString(status.error_details())) told.Clear();
    google::rpc::ErrorInfo info;
    runwright::v1::AgentError error;
    bool is_told = false;
    for (const auto& detail : told.details()) {
      if (detail.UnpackTo(&error)) {
        is_told = true;
        message = error.message();
        remedy = error.remedy();
      } else if (detail.UnpackTo(&info) && info.domain() == "runwright") {  // a proxy may add words of its own
        reason = info.reason();
      }
    }
    is_away = code == grpc::UNAVAILABLE || reason == "SUBSCRIBER_STALLED";
    is_broken = !is_told && (code == grpc::INTERNAL || code == grpc::UNKNOWN || code == grpc::CANCELLED);
  }

  void print() const { std::cerr << reason << ": " << message << ' ' << remedy << std::endl; }
};

// Waits after failures: 0.1 s doubling to 5 s, each up to a half less, so that clients do not come back in step.
class Pause {
 public:
  int failures() const { return failures_; }
  void reset() { failures_ = 0; }
  void wait() {
    const auto longest = std::min<std::chrono::milliseconds>(5s, 100ms * (1 << std::min(failures_++, 10)));
    std::uniform_int_distribution<long> part(longest.count() / 2, longest.count());
    std::this_thread::sleep_for(std::chrono::milliseconds(part(random_)));
  }

 private:
  int failures_ = 0;
  std::mt19937 random_{std::random_device{}()};
};

}  // namespace client
