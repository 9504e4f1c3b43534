// What a supervisor is told about where things are.
#include <doctest/doctest.h>
#include <unistd.h>

#include "local/prepare.hpp"

using namespace orkestr;

TEST_CASE("two homes of root take their sandboxes' uids from one file of locks" * doctest::skip(::geteuid() != 0)) {
  if (::access("/run", W_OK) != 0) {
    MESSAGE("/run cannot be written here: each state directory has its own");
    return;
  }
  base::Places one, other;
  one.state_dir = "/one/state";
  other.state_dir = "/other/state";
  const auto file = local::start_request(one, {}).value().uid_lock_file;
  CHECK(file == local::start_request(other, {}).value().uid_lock_file);
  CHECK(file == "/run/orkestr/uids");
}
