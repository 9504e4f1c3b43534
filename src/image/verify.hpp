// Whether a template's files are still what was built. A library of its own, for the supervisor: it knows neither the
// store nor how templates are made.
//
// Thread safety: free functions without state; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>

#include "orkestr/error.hpp"

namespace orkestr::image {

// Everything a sandbox of one template is started from: absolute paths, and digests as 64 hex digits.
struct TemplateFiles {
  std::string name;
  std::string build_id;
  std::string directory;        // …/templates/NAME/BUILD
  std::string base_image;       // base.erofs
  std::string scratch_image;    // scratch.raw
  std::string scratch_overlay;  // scratch.qcow2
  std::string kernel_version;   // "6.1.0-41-cloud-amd64"
  std::string kernel;           // vmlinux: an ELF with a PVH entry
  std::string initrd;           // empty when opened without an agent
  std::string base_sha256;
  std::string scratch_sha256;  // digest_sparse_file(), see below
  std::string overlay_sha256;
  std::string kernel_sha256;
  std::string digest;               // over the four above: two templates with the same digest start the same machine
  std::uint64_t scratch_bytes = 0;  // size of the disk that the guest sees
};

// Compares the content of the files with the digests that were recorded when they were built, once per boot of the
// host: a stamp in `stamp_dir` (made when missing; private to the caller) holds boot id, inode, size and mtime of each,
// and as long as these are the same the call only compares them. Without, it reads up to 0.6 GB: a second or several.
// template_build_failed names the file that changed and the command that rebuilds it; cancelled: `stop` asked for it.
Result<void> verify_template(const TemplateFiles& files, const std::string& stamp_dir,
                             const std::stop_token& stop = {});
// Whether there is that stamp: some system calls.
bool is_verified(const TemplateFiles& files, const std::string& stamp_dir);
// The longest that reading the files may take: a disk below 20 MB/s is taken for broken.
std::chrono::seconds verification_time(const TemplateFiles& files);

// SHA-256 of what a sparse file contains, independent of how its holes are stored and without reading them: over one
// line "OFFSET SHA256\n" for each aligned 64 KiB block that is not all zero, after the line "sparse SIZE\n".
Result<std::string> digest_sparse_file(const std::string& path, const std::stop_token& stop = {});

}  // namespace orkestr::image
