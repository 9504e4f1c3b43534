// The surroundings of the vm tier.
#pragma once

#include <doctest/doctest.h>

#include "orkestr/orkestr.hpp"
#include "support/processes.hpp"
#include "support/world.hpp"

namespace orkestr::testing {

World& world();
Client client();
CreateOptions create_options();

template <class T>
T must(Result<T> result) {
  REQUIRE_MESSAGE(result.ok(), (result.ok() ? "" : result.error().message()));
  return std::move(*result);
}
inline void must(Result<void> result) { REQUIRE_MESSAGE(result.ok(), (result.ok() ? "" : result.error().message())); }

}  // namespace orkestr::testing
