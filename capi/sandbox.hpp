// Handles of sandboxes, background commands and streams, and the skeleton of the functions on them.
#pragma once

#include <memory>
#include <orkestr/orkestr.hpp>
#include <string>

#include "operation.hpp"
#include "stream.hpp"

namespace orkestr::capi {

struct SandboxBody {
  Sandbox sandbox;
  std::shared_ptr<ClientCore> core;
};

struct CommandBody {
  BackgroundCommand command;
  std::shared_ptr<ClientCore> core;
};

orkestr_sandbox* make_handle(Sandbox sandbox, std::shared_ptr<ClientCore> core);
orkestr_command* make_handle(BackgroundCommand command, std::shared_ptr<ClientCore> core);

}  // namespace orkestr::capi

struct orkestr_sandbox : orkestr::capi::Handle<orkestr_sandbox, orkestr::capi::SandboxBody, 0x6f736278> {
  orkestr_sandbox(orkestr::capi::SandboxBody body, std::string its_id)
      : Handle(std::move(body)), id(std::move(its_id)) {}
  const std::string id;  // not in the body, so that a forked child can ask for the sandbox by it
};
struct orkestr_command : orkestr::capi::Handle<orkestr_command, orkestr::capi::CommandBody, 0x6f636d64> {
  using Handle::Handle;
};

namespace orkestr::capi {

// As begin_of() for a client: `work` gets the body.
template <class Work>
orkestr_operation* begin_of(orkestr_sandbox* sandbox, Work work) noexcept {
  return begin([&]() -> Result<OperationBody> {
    ORKESTR_TRY(const auto body, orkestr_sandbox::open("sandbox", sandbox));
    ORKESTR_CHECK(body->core->check());
    Result<std::shared_ptr<Pending>> begun = work(*body);
    if (!begun) return begun.error();
    return OperationBody{std::move(*begun), body->core};
  });
}

template <class Work>
orkestr_operation* begin_of(orkestr_command* command, Work work) noexcept {
  return begin([&]() -> Result<OperationBody> {
    ORKESTR_TRY(const auto body, orkestr_command::open("command", command));
    ORKESTR_CHECK(body->core->check());
    Result<std::shared_ptr<Pending>> begun = work(*body);
    if (!begun) return begun.error();
    return OperationBody{std::move(*begun), body->core};
  });
}

}  // namespace orkestr::capi
