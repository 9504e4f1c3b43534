// Where the helper programs are: orkestr-supervisor, orkestr-agent.
#pragma once

#include <string>
#include <string_view>

#include "orkestr/error.hpp"

namespace orkestr::local {

// The directory of the helpers: ORKESTR_LIBEXEC when set; else ../libexec/orkestr beside the file this code was loaded
// from (the shared library, or the program it was linked into); else the configured prefix. It must hold both helpers:
// vm_failed says where was looked.
Result<std::string> find_libexec();

}  // namespace orkestr::local
