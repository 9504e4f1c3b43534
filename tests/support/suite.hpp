// What the programs with real sandboxes (tiers contract and vm) share: main(), a world, a client, one sandbox that most
// scenarios use, and how to make another.
#pragma once

#include <doctest/doctest.h>

#include "orkestr/orkestr.hpp"
#include "support/world.hpp"

namespace orkestr::testing {

inline constexpr const char* kTemplate = "python-3.12-bare";

World& world();
Client client();
CreateOptions create_options();
// Shared, so that a suite costs one boot; a scenario cleans up what it made in it.
Sandbox shared_sandbox();

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

}  // namespace orkestr::testing
