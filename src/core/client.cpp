#include "orkestr/client.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <mutex>

#include "base/try.hpp"
#include "core/choose_backend.hpp"
#include "core/handles.hpp"

namespace orkestr {
namespace {

// The only global of the library: what calls use that are given no client.
struct DefaultClient {
  std::mutex mutex;
  std::optional<Client> client;
  bool was_set = false;  // by the program, rather than made here
};

DefaultClient& default_client() {
  // Never destroyed: sandboxes in other static objects may still be used while the program exits.
  static auto* const slot = std::make_unique<DefaultClient>().release();
  return *slot;
}

}  // namespace

ClientImpl::~ClientImpl() {
  if (!forked()) {
    close();
    return;
  }
  // The parent's I/O thread may have been in the middle of any of it at the fork: only descriptors are closed.
  backend_->close_descriptors_after_fork();
  static_cast<void>(std::make_unique<std::shared_ptr<Backend>>(std::move(backend_)).release());
  static_cast<void>(std::make_unique<std::shared_ptr<core::Waits>>(std::move(waits_)).release());
  static_cast<void>(std::make_unique<std::shared_ptr<core::IoThread>>(std::move(thread_)).release());
  static_cast<void>(workers_.release());
}

void ClientImpl::close() {
  if (forked()) return;
  workers_->close();  // first: what they finish with may still need the I/O thread
  thread_->close([backend = backend_, waits = waits_] {
    waits->end();
    backend->shut_down();
  });
}

Result<void> ClientImpl::check_process() const {
  if (!forked()) return {};
  return Error(ErrorCode::not_ready,
               fmt::format("handle belongs to process {}, this is its forked child {}; open a client "
                           "here with Client::open() and get() the sandbox by its id",
                           thread_->owner(), ::getpid()));
}

Result<std::shared_ptr<ClientImpl>> core::client_of(const std::optional<Client>& given) {
  if (given) {
    ORKESTR_CHECK(given->impl()->check_process());
    return given->impl();
  }
  ORKESTR_TRY(auto chosen, get_default_client());
  ORKESTR_CHECK(chosen.impl()->check_process());
  return chosen.impl();
}

Result<Client> Client::open(ClientOptions options) {
  ORKESTR_TRY(auto thread, core::IoThread::create());
  ORKESTR_TRY(auto backend, core::make_backend(options, thread));
  return Client(std::make_shared<ClientImpl>(std::move(thread), std::move(backend)));
}

std::string Client::backend() const { return std::string(impl_->backend().name()); }
void Client::close() { impl_->close(); }

Result<Client> get_default_client() {
  auto& slot = default_client();
  std::lock_guard lock(slot.mutex);
  // One that was made here is made anew in a forked child; one that was set says itself whose it is.
  const bool stale = slot.client && !slot.was_set && slot.client->impl()->forked();
  if (!slot.client || stale) {
    ORKESTR_TRY(slot.client, Client::open());
    slot.was_set = false;
  }
  return *slot.client;
}

void set_default_client(std::optional<Client> client) {
  auto& slot = default_client();
  std::optional<Client> previous;  // closed outside the lock, if this was its last handle
  std::lock_guard lock(slot.mutex);
  previous = std::exchange(slot.client, std::move(client));
  slot.was_set = slot.client.has_value();
}

}  // namespace orkestr
