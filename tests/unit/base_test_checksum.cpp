#include <fcntl.h>
#include <unistd.h>

#include <set>

#include "base/checksum.hpp"
#include "base/file.hpp"
#include "base_test_support.hpp"

using namespace orkestr;
using namespace orkestr::base;

namespace {

constexpr off_t kBlock = 64 << 10;

UniqueFd file_of(off_t size) {
  auto file = make_unnamed_file("/tmp");
  REQUIRE(file);
  REQUIRE(::ftruncate(file->get(), size) == 0);
  return std::move(*file);
}

void put(const UniqueFd& file, const std::string& bytes, off_t at) {
  REQUIRE(::pwrite(file.get(), bytes.data(), bytes.size(), at) == static_cast<ssize_t>(bytes.size()));
}

std::string sum(const UniqueFd& file) {
  auto got = checksum_sparse_file(file.get());
  REQUIRE_MESSAGE(got, (got ? "" : got.error().message()));
  CHECK(got->size() == 32);
  return *got;
}

}  // namespace

TEST_CASE("a checksum is of the bytes, however they are added") {
  Checksum whole, parts;
  whole.add("abcdef", 6);
  parts.add("abc", 3);
  parts.add("", 0);
  parts.add("def", 3);
  CHECK(whole.hex() == parts.hex());
  parts.add("g", 1);
  CHECK(whole.hex() != parts.hex());
  CHECK(Checksum().hex() == "99aa06d3014798d86001c324468d497f");  // XXH3-128 of nothing, as xxhsum has it
}

TEST_CASE("a sparse file's checksum is of its content, not of how its holes are stored") {
  const auto holes = file_of(40 * kBlock + 17);
  const auto written = file_of(40 * kBlock + 17);
  for (off_t block = 0; block < 40; ++block) put(written, std::string(kBlock, '\0'), block * kBlock);
  CHECK(sum(holes) == sum(written));
  // In the middle of blocks, across two of them, in the last and shorter one; more than is read at once.
  for (const off_t at : {off_t{0}, off_t{5 * kBlock + 100}, off_t{9 * kBlock - 1}, off_t{40 * kBlock + 3}}) {
    for (const auto* file : {&holes, &written}) put(*file, "xy", at);
  }
  for (off_t block = 12; block < 36; ++block) {
    for (const auto* file : {&holes, &written}) put(*file, std::string(kBlock, 'd'), block * kBlock);
  }
  const std::string same = sum(holes);
  CHECK(same == sum(written));
  REQUIRE(::fallocate(written.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 36 * kBlock, 2 * kBlock) == 0);
  CHECK(sum(written) == same);
}

TEST_CASE("a sparse file's checksum notices every change of content") {
  const auto file = file_of(4 * kBlock);
  std::set<std::string> sums = {sum(file)};
  const auto is_new = [&] { return sums.insert(sum(file)).second; };
  put(file, "a", 0);
  CHECK(is_new());
  put(file, std::string(1, '\0'), 0);
  put(file, "a", 1);
  CHECK(is_new());
  put(file, std::string(1, '\0'), 1);
  put(file, "a", kBlock);  // the same block elsewhere
  CHECK(is_new());
  put(file, std::string(1, '\1'), 4 * kBlock - 1);
  CHECK(is_new());
  REQUIRE(::ftruncate(file.get(), 4 * kBlock + 1) == 0);
  CHECK(is_new());
  REQUIRE(::ftruncate(file.get(), 9 * kBlock) == 0);
  CHECK(is_new());
  REQUIRE(::ftruncate(file.get(), 0) == 0);
  CHECK(is_new());
  CHECK_FALSE(checksum_sparse_file(-1).ok());
}
