// Serves the tool `word_count` to the runs of a server: registers itself there and keeps the registration alive.
//
//   tool HOST:PORT EXECUTOR CALLBACK_ID
//
// RUNWRIGHT_KEY and RUNWRIGHT_TLS_CA as in follow.cc; the key needs the role `executor`. SIGTERM or SIGINT ends it.
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <signal.h>

#include <deque>
#include <mutex>
#include <unordered_map>

#include "runwright.h"
#include "runwright/callback/v1/callback_registry_service.grpc.pb.h"
#include "runwright/callback/v1/tool_executor_service.grpc.pb.h"

namespace callback = runwright::callback::v1;

constexpr int kLeaseSeconds = 15;
constexpr size_t kMostKeys = 10'000;

class Tools final : public callback::ToolExecutorService::Service {
  grpc::Status ExecuteTool(grpc::ServerContext*, const callback::ExecuteToolRequest* request,
                           callback::ExecuteToolResponse* response) override {
    if (request->tool() != "word_count") return {grpc::UNIMPLEMENTED, "No such tool here: certainly not performed."};
    if (!is_newest(*request)) return {grpc::FAILED_PRECONDITION, "A later attempt of this call has been seen."};
    google::protobuf::Struct arguments;
    const auto& fields = arguments.fields();
    if (!google::protobuf::util::JsonStringToMessage(request->arguments_json(), &arguments).ok() ||
        !fields.count("text") || !fields.at("text").has_string_value()) {
      response->mutable_error()->set_message("word_count needs `text`, a string.");  // for the model
      return grpc::Status::OK;
    }
    std::istringstream text(fields.at("text").string_value());
    int words = 0;
    for (std::string word; text >> word;) ++words;
    response->mutable_result()->set_data("{\"words\":" + std::to_string(words) + "}");
    return grpc::Status::OK;
  }

  // False for an attempt that a later one has overtaken. Counting may be done twice; what changes the world has to be
  // remembered by its idempotency key, with its result, where it outlives this process.
  bool is_newest(const callback::ExecuteToolRequest& request) {
    const std::lock_guard lock(mutex_);
    const auto [seen, is_new] = attempts_.try_emplace(request.idempotency_key(), request.attempt());
    if (!is_new && request.attempt() < seen->second) return false;
    seen->second = request.attempt();
    if (is_new) keys_.push_back(request.idempotency_key());
    if (keys_.size() > kMostKeys) {
      attempts_.erase(keys_.front());
      keys_.pop_front();
    }
    return true;
  }

  std::mutex mutex_;
  std::unordered_map<std::string, uint32_t> attempts_;
  std::deque<std::string> keys_;  // oldest first
};

// Registers, or renews the lease: the same request does both. Tells of a refusal and returns whether it will pass.
bool renew(callback::CallbackRegistryService::Stub& server, const callback::RegisterCallbackRequest& request) {
  grpc::ClientContext call;
  client::sign_and_bound(call);
  callback::RegisterCallbackResponse response;
  const grpc::Status status = server.RegisterCallback(&call, request, &response);
  if (status.ok()) return true;
  const client::Failure failure(status);
  failure.print();
  return failure.is_away || failure.is_broken || status.error_code() == grpc::DEADLINE_EXCEEDED;
}

int main(int count, char** words) {
  if (count != 4) {
    std::cerr << "usage: tool HOST:PORT EXECUTOR CALLBACK_ID" << std::endl;
    return 2;
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);  // before gRPC makes its threads: main alone waits for them

  Tools tools;
  int port = 0;
  grpc::EnableDefaultHealthCheckService(true);  // the server examines executors every 5 s
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&tools);
  const std::unique_ptr<grpc::Server> serving = builder.BuildAndStart();
  if (!serving) return 1;

  const auto server = callback::CallbackRegistryService::NewStub(client::dial(words[1]));
  callback::RegisterCallbackRequest request;
  request.mutable_spec()->set_executor(words[2]);
  request.mutable_spec()->set_callback_id(words[3]);
  request.mutable_spec()->set_address("127.0.0.1:" + std::to_string(port));
  request.mutable_spec()->add_tools("word_count");
  request.mutable_lease()->set_seconds(kLeaseSeconds);
  std::cout << "serving on " << request.spec().address() << std::endl;

  const timespec third{kLeaseSeconds / 3, 0};
  do {
    if (!renew(*server, request)) return 5;
  } while (sigtimedwait(&ends, nullptr, &third) < 0);

  grpc::ClientContext call;
  client::sign_and_bound(call);
  callback::UnregisterCallbackRequest goodbye;
  goodbye.set_callback_id(words[3]);
  callback::UnregisterCallbackResponse done;
  const grpc::Status status = server->UnregisterCallback(&call, goodbye, &done);
  serving->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(10));
  if (!status.ok()) client::Failure(status).print();  // the lease ends it all the same
  return status.ok() ? 0 : 5;
}
