// Half-finished directories: made beside their destination, renamed into place when complete, removed otherwise.
#pragma once

#include <string>
#include <utility>

#include "orkestr/error.hpp"

namespace orkestr::image {

// A directory ".staging-ULID" in `parent` (which is made when missing). Its destructor removes it with all that is in
// it; what a killed process leaves goes with clear_staging(). Names starting with a dot never pass for a finished
// template or kernel.
class Staging {
 public:
  static Result<Staging> create(const std::string& parent);
  ~Staging();
  Staging(Staging&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  Staging& operator=(Staging&&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit Staging(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Removes all staging directories in `parent`. Only for the holder of the build lock: nobody else may be using them.
Result<void> clear_staging(const std::string& parent);

// Renames the finished directory `from` to `to`, on the same file system, and makes that durable. A damaged directory
// already at `to` is moved aside first (into `from`'s parent, which the caller removes).
Result<void> publish_directory(const std::string& from, const std::string& to);

}  // namespace orkestr::image
