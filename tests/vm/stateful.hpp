// A sandbox whose processes keep state that can be told from any other: a server with a counter, a Python dictionary
// and a block of random memory; a shell loop with a variable; a file whose checksum is known. The state moves on with
// every look, and every look checks all of it.
#pragma once

#include <string>

#include "support/suite.hpp"

namespace orkestr::testing {

class Stateful {
 public:
  explicit Stateful(const CreateOptions& options = create_options());

  const Sandbox& sandbox() const { return sandbox_; }
  std::string id() const { return sandbox_.id(); }

  // Fails the test where something of the state is not as it was left, or where the guest's clock is not the host's
  // within a second. Then changes memory and disk.
  void check(const std::string& when);
  // pause(), then resume() through a handle of its own, then check().
  void cycle(const std::string& when);
  void resume();
  void terminate();

 private:
  Sandbox sandbox_;
  int counter_ = 0;
  long loops_ = 0;
  std::string identity_;  // host name, machine-id, boot id
};

// create_options() of a machine whose snapshot nobody has yet, in a world that has its own: the system's cache is
// looked at, too, and has none of this size of disk.
CreateOptions own_options();
// "running", "paused" …: as any process sees it now.
Status status_of(const std::string& sandbox_id);
// Waits (generously) for a status: fails the test when it does not come.
void await_status(const std::string& sandbox_id, Status wanted);
// What its last "running" or "resumed" event says: "snapshot", "boot", "pause".
std::string started_from(const Sandbox& sandbox);
// Nothing but history is left of any sandbox in this world, once the processes that were killed are gone.
void check_no_leftovers(const World& in, const std::string& what);

}  // namespace orkestr::testing
