// Where the library keeps things on this machine.
//
//   who               state                      cache
//   root              /var/lib/orkestr/state     /var/lib/orkestr/cache
//   anyone else       $XDG_STATE_HOME/orkestr    $XDG_CACHE_HOME/orkestr
//   ORKESTR_HOME=DIR  DIR/state                  DIR/cache
//
// Root's cache has mode 0755: users may use the templates in it. ORKESTR_HOME, an absolute path, goes before both.
// What root does lands in root's places, whatever HOME says: sudo never writes into the caller's home.
#pragma once

#include <string>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::base {

struct Places {
  std::string home;       // ORKESTR_HOME; empty: not set
  std::string state_dir;  // sandboxes; 0700
  std::string cache_dir;  // templates, kernels, initramfs: everything in it can be made again
  // Where templates are looked for, in order. The system's cache comes first, except that an explicit ORKESTR_HOME
  // precedes it.
  std::vector<std::string> cache_search;
};

// The caller's places. Makes the directories that are missing and checks owner and mode of those that are there:
// not_permitted names the directory, what is wrong with it and the command that repairs it; invalid_argument for a
// relative ORKESTR_HOME or XDG path. Reads the environment, so call it while no other thread changes that.
Result<Places> find_places();
// The same without looking at them: only the environment decides, and nothing is made.
Result<Places> name_places();
// not_permitted where the directory ORKESTR_HOME is somebody's but ours or root's, or others can write it: they could
// move away what is in it. One that is not there is fine. find_places() asks this, too.
Result<void> check_home(const std::string& home);
// The modes that find_places() gives and asks for.
unsigned state_dir_mode();
unsigned cache_dir_mode();

}  // namespace orkestr::base
