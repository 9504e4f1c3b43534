#include "client.hpp"

#include "base/try.hpp"
#include "operation.hpp"
#include "options.hpp"
#include "records.hpp"

namespace orkestr::capi {

ClientCore::~ClientCore() { close(); }

Result<void> ClientCore::check_locked() const {
  if (closed_) return Error(ErrorCode::not_ready, "the client was closed; open another one");
  return {};
}

Result<void> ClientCore::check() const {
  std::lock_guard lock(mutex_);
  return check_locked();
}

Result<void> ClientCore::start(std::function<void()> work, const std::shared_ptr<detail::OperationState>& operation) {
  // In one piece: what is there when close() looks is cancelled by it, and what comes later is refused.
  std::lock_guard lock(mutex_);
  ORKESTR_CHECK(check_locked());
  ORKESTR_TRY(auto thread, Thread::start(std::move(work)));
  const auto now = std::chrono::steady_clock::now();
  for (auto worker = workers_.begin(); worker != workers_.end();) {
    if (worker->thread.ended()) worker->thread.finish(now);
    worker = worker->thread.ended() ? workers_.erase(worker) : worker + 1;
  }
  workers_.push_back({std::move(thread), operation});
  return {};
}

void ClientCore::close() {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::vector<Worker> workers;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    workers = std::move(workers_);
    workers_.clear();
  }
  for (const Worker& worker : workers) {
    if (auto operation = worker.operation.lock()) operation->cancel();
  }
  client.close();  // with a patience of its own, as long as ours
  dispatcher.close(deadline);
  for (Worker& worker : workers) worker.thread.finish(deadline);
}

}  // namespace orkestr::capi

using namespace orkestr;
using namespace orkestr::capi;

orkestr_status orkestr_client_open(const orkestr_client_options* options, orkestr_client** client,
                                   orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_CHECK(clear_output("client", client));
    ORKESTR_TRY(auto chosen, client_options(options));
    ORKESTR_TRY(auto opened, Client::open(std::move(chosen)));
    *client = std::make_unique<orkestr_client>(ClientBody{std::make_shared<ClientCore>(std::move(opened))}).release();
    return {};
  });
}

const char* orkestr_client_backend(const orkestr_client* client) {
  return look<const char*>("", [&] {
    const auto body = orkestr_client::find(client);
    if (!body) return "";
    return body->core->client.backend() == "remote" ? "remote" : "local";
  });
}

orkestr_status orkestr_client_close(orkestr_client* client, orkestr_error** error) {
  return call(error, [&]() -> Result<void> {
    ORKESTR_TRY(const auto body, orkestr_client::open("client", client));
    const auto core = body->core;
    core->close();
    return {};
  });
}

void orkestr_client_free(orkestr_client* client) { orkestr_client::free(client); }

orkestr_operation* orkestr_client_limits(orkestr_client* client) {
  return begin_of(client, [](ClientCore& core) { return giving(Sandbox::limits_async(core.client)); });
}
