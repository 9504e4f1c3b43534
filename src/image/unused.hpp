// What in a cache directory nothing needs any more.
#pragma once

#include <string>
#include <vector>

#include "orkestr/error.hpp"

namespace orkestr::image {

// Paths of staging directories, of builds that are not their template's current one, of kernels that no build refers
// to, and of snapshots that were not finished, or are of a template that is not here and not used for a day. Only the
// holder of the build lock may remove them: a build under way looks the same. Builds younger than an hour stay, because
// a sandbox that starts may be about to open one; of running sandboxes the files are open, and names do not matter to
// them. Downloads stay: they spare the network the next build. Empty when there is no such directory.
Result<std::vector<std::string>> find_unused(const std::string& cache_dir);

}  // namespace orkestr::image
