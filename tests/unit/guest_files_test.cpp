// Files through the agent: contents, modes, errors, cut transfers, large directories under little credit.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <string>

#include "base/file.hpp"
#include "guest_client.hpp"

using namespace orkestr;
using namespace orkestr::test;
using std::chrono::milliseconds;

namespace {

wire::FileRequest path_request(const std::string& path) {
  wire::FileRequest request;
  request.path = path;
  return request;
}

std::vector<wire::FileInfo> parse_list(std::string_view bytes) {
  std::vector<wire::FileInfo> entries;
  while (!bytes.empty()) {
    REQUIRE(bytes.size() >= 4);
    const std::size_t length = wire::load_u32(bytes.data());
    REQUIRE(bytes.size() >= 4 + length);
    auto info = wire::FileInfo::decode(bytes.substr(4, length));
    REQUIRE(info);
    entries.push_back(*std::move(info));
    bytes.remove_prefix(4 + length);
  }
  return entries;
}

struct Fixture {
  TemporaryDirectory dir;
  GuestClient client{dir.path()};

  ErrorCode error_of(wire::Type type, wire::FileRequest request) {
    Answer& answer = client.file(type, request);
    REQUIRE(answer.error);
    CHECK(answer.error->message().find(request.path) != std::string::npos);
    return answer.error->code();
  }
  ErrorCode error_of(wire::Type type, const std::string& path) { return error_of(type, path_request(path)); }
  wire::FileInfo stat(const std::string& path) {
    Answer& answer = client.file(wire::Type::file_stat, path_request(path));
    REQUIRE(answer.result);
    auto info = wire::FileInfo::decode(*answer.result);
    REQUIRE(info);
    return *info;
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "what is written is read back, whatever the bytes and sizes") {
  std::string bytes;
  for (int i = 0; i < 70'000'000; ++i) bytes += static_cast<char>((i * 2654435761U) >> 24U);
  for (const std::size_t size :
       // From the second MiB on a file is written in aligned pieces of 1 MiB, and lengthened by 64 MiB at a time: the
       // sizes around those edges.
       {std::size_t{0}, std::size_t{1}, std::size_t{65536}, std::size_t{1} << 20U, (std::size_t{1} << 20U) + 1,
        (std::size_t{2} << 20U) - 1, std::size_t{2} << 20U, (std::size_t{7} << 19U) + 4097, std::size_t{65} << 20U,
        bytes.size()}) {
    CAPTURE(size);
    const std::string content = bytes.substr(0, size);
    REQUIRE(client.write_file(dir / "file", content).result);
    Answer& answer = client.file(wire::Type::file_read, path_request(dir / "file"));
    REQUIRE(answer.result);
    CHECK(answer.output_ended);
    CHECK((answer.output == content));
    CHECK(stat(dir / "file").size == size);
  }
}

TEST_CASE_FIXTURE(Fixture, "mode, missing parents, replaced content, links") {
  REQUIRE(client.write_file(dir / "a/b/c", "one").result);
  CHECK(stat(dir / "a/b/c").mode == 0644);
  CHECK(stat(dir / "a/b").mode == 0755);
  REQUIRE(client.write_file(dir / "a/b/c", "two", 0750).result);
  CHECK(stat(dir / "a/b/c").mode == 0750);
  REQUIRE(::symlink("a/b/c", (dir / "link").c_str()) == 0);
  REQUIRE(client.write_file(dir / "link", "three").result);
  CHECK(client.file(wire::Type::file_read, path_request(dir / "a/b/c")).output == "three");
  struct stat status {};
  REQUIRE(::lstat((dir / "link").c_str(), &status) == 0);
  CHECK(S_ISLNK(status.st_mode));
}

TEST_CASE_FIXTURE(Fixture, "files of /proc have no size and are read all the same") {
  Answer& answer = client.file(wire::Type::file_read, path_request("/proc/self/status"));
  REQUIRE(answer.result);
  CHECK(answer.output.find("Name:\torkestr-agent") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "errors name the path and have the code of their cause") {
  REQUIRE(client.write_file(dir / "file", "x").result);
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  CHECK(error_of(wire::Type::file_read, dir / "missing") == ErrorCode::file_not_found);
  CHECK(error_of(wire::Type::file_read, dir.path()) == ErrorCode::is_a_directory);
  CHECK(error_of(wire::Type::file_read, dir / "fifo") == ErrorCode::invalid_argument);
  CHECK(error_of(wire::Type::file_read, "/dev/null") == ErrorCode::invalid_argument);
  CHECK(error_of(wire::Type::file_read, dir / "file/below") == ErrorCode::not_a_directory);
  CHECK(error_of(wire::Type::file_list, dir / "file") == ErrorCode::not_a_directory);
  CHECK(error_of(wire::Type::file_list, dir / "missing") == ErrorCode::file_not_found);
  CHECK(error_of(wire::Type::file_delete, dir.path()) == ErrorCode::is_a_directory);
  CHECK(error_of(wire::Type::file_delete, dir / "missing") == ErrorCode::file_not_found);
  CHECK(error_of(wire::Type::file_mkdir, dir / "file") == ErrorCode::file_exists);
  CHECK(error_of(wire::Type::file_mkdir, dir / "no/parent") == ErrorCode::file_not_found);

  const auto write_error = [&](const std::string& path) {
    Answer& answer = client.write_file(path, "x");
    REQUIRE(answer.error);
    return answer.error->code();
  };
  CHECK(write_error(dir.path()) == ErrorCode::is_a_directory);
  CHECK(write_error(dir / "new/") == ErrorCode::is_a_directory);
  CHECK(write_error(dir / "file/below") == ErrorCode::not_a_directory);
  CHECK(write_error(dir / "fifo") == ErrorCode::invalid_argument);
  CHECK(write_error("/dev/null") == ErrorCode::invalid_argument);
}

TEST_CASE_FIXTURE(Fixture, "stat, delete, mkdir, move") {
  const wire::FileInfo missing = stat(dir / "missing");
  CHECK_FALSE(missing.exists);
  REQUIRE(client.write_file(dir / "file", "12345").result);
  CHECK_FALSE(stat(dir / "file/below").exists);
  const wire::FileInfo info = stat(dir / "file");
  CHECK(info.name == "file");
  CHECK(info.exists);
  CHECK(info.size == 5);
  CHECK_FALSE(info.is_dir);
  CHECK(info.modified_ns > 1'600'000'000'000'000'000);
  CHECK(stat(dir.path()).is_dir);
  CHECK(stat("/").name == "/");

  wire::FileRequest mkdir = path_request(dir / "x/y/z");
  mkdir.parents = true;
  CHECK(client.file(wire::Type::file_mkdir, mkdir).result);
  CHECK(client.file(wire::Type::file_mkdir, mkdir).result);  // it is there: fine
  CHECK(stat(dir / "x/y/z").is_dir);

  wire::FileRequest move = path_request(dir / "file");
  move.destination = dir / "x/moved";
  CHECK(client.file(wire::Type::file_move, move).result);
  CHECK_FALSE(stat(dir / "file").exists);
  CHECK(stat(dir / "x/moved").size == 5);
  CHECK(error_of(wire::Type::file_move, move) == ErrorCode::file_not_found);
  CHECK(client.file(wire::Type::file_delete, path_request(dir / "x/moved")).result);
  CHECK_FALSE(stat(dir / "x/moved").exists);
}

TEST_CASE_FIXTURE(Fixture, "move to another file system copies regular files") {
  struct stat here {
  }, there{};
  if (::stat("/dev/shm", &there) != 0 || ::stat(dir.path().c_str(), &here) != 0 || here.st_dev == there.st_dev) return;
  REQUIRE(client.write_file(dir / "file", "across", 0640).result);
  wire::FileRequest move = path_request(dir / "file");
  move.destination = "/dev/shm/orkestr-guest-test-" + std::to_string(::getpid());
  CHECK(client.file(wire::Type::file_move, move).result);
  CHECK_FALSE(stat(dir / "file").exists);
  CHECK(stat(move.destination).mode == 0640);
  CHECK(client.file(wire::Type::file_read, path_request(move.destination)).output == "across");
  CHECK(client.file(wire::Type::file_delete, path_request(move.destination)).result);
}

TEST_CASE_FIXTURE(Fixture, "a cut upload changes nothing and leaves nothing") {
  REQUIRE(client.write_file(dir / "file", "old").result);
  // (Beyond the first MiB pieces may still be on their way to the disk when it is cut.)
  const auto begin = [&](std::size_t bytes = 500'000) {
    const auto id = client.open(wire::Type::file_write, path_request(dir / "file").encode());
    client.send_input(id, std::string(bytes, 'n'), false);
    client.read_for(milliseconds(50));
    return id;
  };
  const auto entries = [&] { return base::list_directory(dir.path())->size(); };

  auto id = begin();
  CHECK(entries() == 2);
  client.cancel(id);
  Answer& answer = client.wait(id);
  REQUIRE(answer.error);
  CHECK(answer.error->code() == ErrorCode::cancelled);
  client.read_for(milliseconds(20));
  CHECK(entries() == 1);

  id = begin(3'000'000);
  client.cancel(id);
  CHECK(client.wait(id).error);
  client.read_for(milliseconds(20));
  CHECK(entries() == 1);

  begin();
  client.reconnect();  // the supervisor lost its place
  CHECK(client.file(wire::Type::file_read, path_request(dir / "file")).output == "old");
  CHECK(entries() == 1);

  begin();
  client.close();
  CHECK(client.agent().wait(base::Deadline::after(std::chrono::seconds(5))));
  CHECK(entries() == 1);
}

// The last data and the cancel arrive in one turn of the agent. Two answers would end the sandbox.
TEST_CASE_FIXTURE(Fixture, "an upload that is cancelled as it ends is answered once") {
  const auto id = client.open(wire::Type::file_write, path_request(dir / "file").encode());
  client.read_for(milliseconds(50));
  ::kill(client.agent_pid(), SIGSTOP);
  client.send(wire::data_frame(id, wire::Stream::input, "whole", true));
  client.cancel(id);
  ::kill(client.agent_pid(), SIGCONT);
  Answer& answer = client.wait(id);
  client.read_for(milliseconds(50));
  CHECK(answer.result.has_value() != answer.error.has_value());
}

TEST_CASE_FIXTURE(Fixture, "a cancelled download ends with an error") {
  REQUIRE(client.write_file(dir / "file", std::string(5'000'000, 'x')).result);
  client.grant(false);
  const auto id = client.open(wire::Type::file_read, path_request(dir / "file").encode());
  client.read_until([&] { return client.answer(id).output.size() >= wire::kInitialCredit; });
  client.read_for(milliseconds(50));
  CHECK(client.answer(id).output.size() == wire::kInitialCredit);
  client.cancel(id);
  Answer& answer = client.wait(id);
  REQUIRE(answer.error);
  CHECK(answer.error->code() == ErrorCode::cancelled);
}

TEST_CASE_FIXTURE(Fixture, "20 000 entries are listed under little credit") {
  REQUIRE(::mkdir((dir / "many").c_str(), 0755) == 0);
  for (int i = 1; i <= 20000; ++i) {
    const std::string name = std::to_string(1000000 + i);
    const base::UniqueFd file(
        ::open((dir / ("many/entry-with-a-rather-long-name-" + name)).c_str(), O_CREAT | O_WRONLY, 0644));
    REQUIRE(file);
  }
  REQUIRE(::mkdir((dir / "many/sub").c_str(), 0755) == 0);
  REQUIRE(::symlink("/no/where", (dir / "many/dangling").c_str()) == 0);
  client.grant(false);
  const auto id = client.open(wire::Type::file_list, path_request(dir / "many").encode());
  Answer& answer = client.answer(id);
  client.read_until([&] { return answer.output.size() >= wire::kInitialCredit; });
  client.read_for(milliseconds(50));
  CHECK(answer.output.size() == wire::kInitialCredit);
  CHECK_FALSE(answer.done());
  while (!answer.done()) {
    client.send(wire::credit_frame(id, 10'000));  // not even a whole number of entries
    const std::size_t had = answer.output.size();
    client.read_until([&] { return answer.done() || answer.output.size() >= had + 10'000; });
  }
  REQUIRE(answer.result);
  std::set<std::string> names;
  bool sub_is_dir = false;
  for (const wire::FileInfo& info : parse_list(answer.output)) {
    names.insert(info.name);
    if (info.name == "sub") sub_is_dir = info.is_dir;
  }
  CHECK(names.size() == 20002);
  CHECK(names.count("entry-with-a-rather-long-name-1020000") == 1);
  CHECK(names.count("dangling") == 1);
  CHECK(sub_is_dir);
}

TEST_CASE_FIXTURE(Fixture, "an empty directory is an empty list") {
  Answer& answer = client.file(wire::Type::file_list, path_request(dir.path()));
  CHECK(answer.result);
  CHECK(answer.output.empty());
  CHECK(answer.output_ended);
}

TEST_CASE_FIXTURE(Fixture, "transfers share the connection with commands") {
  const std::string big(20'000'000, 'b');
  REQUIRE(client.write_file(dir / "big", big).result);
  const auto read = client.open(wire::Type::file_read, path_request(dir / "big").encode());
  CHECK(client.shell("echo between").output == "between\n");
  CHECK(client.wait(read).result);
  CHECK(client.answer(read).output.size() == big.size());
}
