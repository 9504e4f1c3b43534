// What the programs with real sandboxes (tiers contract and vm) share: a world, a client, one sandbox that most
// scenarios use, how to make another; and what to do where a backend lacks what a scenario needs.
#pragma once

#include <doctest/doctest.h>

#include "orkestr/orkestr.hpp"
#include "support/world.hpp"

namespace orkestr::testing {

inline constexpr const char* kTemplate = "python-3.12-bare";

World& world();
Client client();
// Another one of the same backend: what another process would have.
Client new_client();
CreateOptions create_options();
// Shared, so that a suite costs one boot; a scenario cleans up what it made in it.
Sandbox shared_sandbox();

// Runs doctest over the backend of `options`; what main() returns.
int run_suite(int argc, char** argv, const ClientOptions& options);

// Fails the test with the error's text instead of throwing.
template <class T>
T must(Result<T> result) {
  REQUIRE_MESSAGE(result.ok(), (result.ok() ? "" : result.error().message()));
  return std::move(*result);
}
inline void must(Result<void> result) { REQUIRE_MESSAGE(result.ok(), (result.ok() ? "" : result.error().message())); }

template <class T>
Error must_fail(const Result<T>& result, ErrorCode code) {
  REQUIRE_FALSE(result.ok());
  CHECK_MESSAGE(result.error().code() == code, to_string(result.error().code()), ": ", result.error().message());
  return result.error();
}

// What only some backends have.
enum class Has {
  input,
  terminal,
  user,
  events,
  disk_size,
  output_window,
  lost_execs,
  own_kernel,  // so far what the local backend has, from here on what a service has
  networks,
  presigned,
  snapshots,
  hosts,
  volumes,
  webhooks,
  interpreter,
};
bool backend_has(Has what);
void count_left_out(Has what);

// True where the backend lacks it: then `attempt` must answer `code`, naming the backend, and the scenario is
// left out, which the end of the run tells.
template <class Attempt>
bool left_out(Has what, Attempt attempt, ErrorCode code = ErrorCode::not_supported) {
  if (backend_has(what)) return false;
  const Error error = must_fail(attempt(), code);
  CHECK_MESSAGE(error.message().find(client().backend()) != std::string::npos, error.message());
  count_left_out(what);
  return true;
}
// For what no call can ask for.
inline bool left_out(Has what) {
  if (backend_has(what)) return false;
  count_left_out(what);
  return true;
}

}  // namespace orkestr::testing
