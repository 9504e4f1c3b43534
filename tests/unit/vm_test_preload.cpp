// orkestr-ro.so: one path is opened read-only, whatever was asked for; every other one as asked.
#include <fcntl.h>
#include <fmt/format.h>

#include "base/child.hpp"
#include "vm/qemu_args.hpp"
#include "vm_test_support.hpp"

using namespace orkestr;
using namespace orkestr::vm::test;

namespace {

// A shell opens /proc/self/fd/N for reading and writing, and writes.
base::RunResult write_to(const std::string& file, int fd, bool preload, const std::string& redirection) {
  const auto ours = base::open_at(AT_FDCWD, file, O_RDWR);
  REQUIRE(ours);
  base::ChildOptions options;
  options.argv = {"/bin/bash", "-c", fmt::format("echo changed {}/proc/self/fd/{}", redirection, fd)};
  if (preload) options.env = {std::string("LD_PRELOAD=") + ORKESTR_PRELOAD};
  options.fds = {{ours->get(), fd}};
  auto ran = base::run_child(options, in_seconds(20));
  REQUIRE(ran);
  return *ran;
}

}  // namespace

TEST_CASE("the preload opens guest memory read-only, and nothing else") {
  TemporaryDirectory dir;
  const std::string file = dir.path + "/memory";
  const auto content = [&] { return *base::read_file(file); };
  const auto reset = [&] { REQUIRE(base::write_file_atomic(file, "original", 0644)); };
  const int memory = vm::kMemoryFd;
  const int other = memory + 1;

  reset();
  CHECK(write_to(file, memory, false, "1<>").status.success());
  CHECK(content() == "changed\n");
  reset();
  const auto refused = write_to(file, memory, true, "1<>");
  CHECK_FALSE(refused.status.success());
  CHECK_MESSAGE(refused.output.find("Bad file descriptor") != std::string::npos, refused.output);
  CHECK(content() == "original");
  reset();
  CHECK(write_to(file, other, true, "1<>").status.success());
  CHECK(content() == "changed\n");
}
