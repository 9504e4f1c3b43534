#include <poll.h>

#include <algorithm>
#include <vector>

#include "support/suite.hpp"

namespace orkestr::testing {

TEST_CASE("files: write and read, bytes of every value, modes") {
  auto files = shared_sandbox().files();
  std::string all;
  for (int i = 0; i < 100'000; ++i) all.push_back(static_cast<char>(i % 256));
  must(files.write("/workspace/deep/er/blob", all));
  CHECK(must(files.read("/workspace/deep/er/blob")) == all);
  must(files.write("/workspace/script", "#!/bin/sh\necho ran\n", 0755));
  CHECK(must(shared_sandbox().exec("./script")).stdout_data == "ran\n");
  CHECK(must(files.stat("/workspace/script")).mode == 0755);
  must(files.write("/workspace/empty", ""));
  CHECK(must(files.read("/workspace/empty")).empty());
  CHECK(must(files.stat("/workspace/empty")).mode == 0644);
}

TEST_CASE("files: replacing keeps nothing of the old content") {
  auto files = shared_sandbox().files();
  must(files.write("/tmp/replaced", std::string(10'000, 'a')));
  must(files.write("/tmp/replaced", "short"));
  CHECK(must(files.read("/tmp/replaced")) == "short");
}

TEST_CASE("files: list, stat, exists, move, remove, mkdir") {
  auto files = shared_sandbox().files();
  must(files.mkdir("/workspace/list/sub"));
  must(files.write("/workspace/list/b", "22"));
  must(files.write("/workspace/list/a", "1"));
  auto entries = must(files.list("/workspace/list"));
  REQUIRE(entries.size() == 3);
  CHECK(entries[0].name == "a");
  CHECK(entries[1].name == "b");
  CHECK(entries[1].size == 2);
  CHECK(entries[2].name == "sub");
  CHECK(entries[2].is_dir);
  auto age = std::chrono::system_clock::now() - entries[0].modified_at;
  CHECK(std::chrono::abs(age) < std::chrono::minutes(1));

  must(files.move("/workspace/list/a", "/workspace/list/sub/c"));
  CHECK_FALSE(must(files.exists("/workspace/list/a")));
  CHECK(must(files.read("/workspace/list/sub/c")) == "1");
  must(files.remove("/workspace/list/b"));
  CHECK_FALSE(must(files.stat("/workspace/list/b")).exists);
  must(files.mkdir("/workspace/list/sub"));  // parents: an existing directory is fine
  must_fail(files.mkdir("/workspace/list/sub", false), ErrorCode::file_exists);
}

TEST_CASE("files: errors have their own codes and name the path") {
  auto files = shared_sandbox().files();
  must(files.mkdir("/workspace/dir"));
  must(files.write("/workspace/plain", "x"));
  CHECK(must_fail(files.read("/workspace/missing"), ErrorCode::file_not_found).message().find("/workspace/missing") !=
        std::string::npos);
  must_fail(files.read("/workspace/dir"), ErrorCode::is_a_directory);
  must_fail(files.write("/workspace/dir", "x"), ErrorCode::is_a_directory);
  must_fail(files.remove("/workspace/dir"), ErrorCode::is_a_directory);
  must_fail(files.remove("/workspace/missing"), ErrorCode::file_not_found);
  must_fail(files.list("/workspace/plain"), ErrorCode::not_a_directory);
  must_fail(files.list("/workspace/missing"), ErrorCode::file_not_found);
  CHECK_FALSE(must(files.stat("/workspace/plain/below")).exists);
}

TEST_CASE("files: only the writable roots are written, everything can be read") {
  auto files = shared_sandbox().files();
  for (const char* path : {"/etc/passwd", "/usr/x", "/workspacex/y", "/"}) {
    CHECK(must_fail(files.write(path, "x"), ErrorCode::not_permitted).message().find("/workspace") !=
          std::string::npos);
    must_fail(files.remove(path), ErrorCode::not_permitted);
    must_fail(files.mkdir(path), ErrorCode::not_permitted);
  }
  must(files.write("/tmp/movable", "x"));
  must_fail(files.move("/tmp/movable", "/etc/y"), ErrorCode::not_permitted);
  must_fail(files.move("/etc/passwd", "/tmp/y"), ErrorCode::not_permitted);
  CHECK(must(files.read("/etc/passwd")).find("root:") == 0);
  CHECK_FALSE(must(files.read("/proc/version")).empty());
}

TEST_CASE("files: paths are refused before anything is sent") {
  auto files = shared_sandbox().files();
  for (const std::string& path : {std::string("relative"), std::string(""), std::string("/workspace/../etc/passwd"),
                                  std::string("/tmp/a\0b", 8), "/tmp/" + std::string(5000, 'x')}) {
    must_fail(files.read(path), ErrorCode::invalid_argument);
    must_fail(files.write(path, "x"), ErrorCode::invalid_argument);
    must_fail(files.stat(path), ErrorCode::invalid_argument);
  }
}

TEST_CASE("files: streams of 20 MB, and a writer that is dropped leaves nothing") {
  auto files = shared_sandbox().files();
  std::string piece(1U << 20U, '\0');
  for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = static_cast<char>(i * 31);
  {
    auto writer = must(files.write_stream("/workspace/big"));
    for (int i = 0; i < 20; ++i) must(writer.write(piece));
    must(writer.finish());
  }
  auto reader = must(files.read_stream("/workspace/big"));
  std::size_t total = 0;
  while (true) {
    std::string part = must(reader.read(300'000));
    if (part.empty()) break;
    CHECK(part.size() <= 300'000);
    for (std::size_t i = 0; i < part.size(); i += 4099) {
      if (part[i] != piece[(total + i) % piece.size()]) FAIL("byte ", total + i, " differs");
    }
    total += part.size();
  }
  CHECK(total == 20U << 20U);

  must(files.mkdir("/workspace/dropped"));
  {
    auto writer = must(files.write_stream("/workspace/dropped/half"));
    must(writer.write(piece));
  }
  for (int i = 0; i < 50 && !must(files.list("/workspace/dropped")).empty(); ++i)
    must(shared_sandbox().exec("sleep 0.1"));
  CHECK(must(files.list("/workspace/dropped")).empty());
}

TEST_CASE("files: streams for who has other things to do") {
  using std::chrono::milliseconds;
  auto files = shared_sandbox().files();
  const std::string all(20U << 20U, 'x');
  const auto wait_for = [](int fd) {
    pollfd one{fd, POLLIN, 0};
    REQUIRE(::poll(&one, 1, 30'000) == 1);
  };
  {
    auto writer = must(files.write_stream("/workspace/polled"));
    for (std::string_view rest = all; !rest.empty();) {
      const auto taken = must(writer.write_some(rest, milliseconds(0)));
      rest.remove_prefix(taken);
      if (taken == 0) wait_for(writer.fd());
    }
    while (!must(writer.finish(milliseconds(0)))) wait_for(writer.fd());
  }
  auto reader = must(files.read_stream("/workspace/polled"));
  std::vector<char> room(300'000);
  std::size_t total = 0;
  while (true) {
    const auto count = must(reader.read(room.data(), room.size(), milliseconds(20)));
    if (count && *count == 0) break;
    total += count.value_or(0);
  }
  CHECK(total == all.size());
}

TEST_CASE("files: a directory of 3,000 entries") {
  auto sandbox = shared_sandbox();
  must(sandbox.exec("mkdir -p /tmp/many && cd /tmp/many && seq 3000 | xargs touch"));
  CHECK(must(sandbox.files().list("/tmp/many")).size() == 3000);
  must(sandbox.exec("rm -rf /tmp/many"));
}

TEST_CASE("files: a full disk is an error that says so, leaves nothing, and the sandbox goes on") {
  auto sandbox = shared_sandbox();
  must(sandbox.exec("mkdir -p /workspace/full"));
  // All but 4 MiB of the disk, so that the upload's large part does not fit.
  must(
      sandbox.exec("fallocate -l $(( ($(stat -f -c %a /workspace) * $(stat -f -c %S /workspace)) - (4 << 20) )) "
                   "/workspace/ballast"));
  auto written = sandbox.files().write("/workspace/full/upload", std::string(24U << 20U, 'u'));
  REQUIRE_FALSE(written.ok());
  CHECK_MESSAGE(written.error().message().find("disk is full") != std::string::npos, written.error().message());
  CHECK(must(sandbox.files().list("/workspace/full")).empty());
  must(sandbox.exec("rm /workspace/ballast"));
  must(sandbox.files().write("/workspace/full/upload", std::string(24U << 20U, 'u')));
  CHECK(must(sandbox.exec("tr -d u < /workspace/full/upload | wc -c; stat -c %s /workspace/full/upload")).stdout_data ==
        "0\n25165824\n");
  must(sandbox.exec("rm -r /workspace/full"));
}

}  // namespace orkestr::testing
