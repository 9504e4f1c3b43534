// Files of a paused sandbox, and of a template's snapshot, that are not what was written: noticed, named, never used.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "base/file.hpp"
#include "stateful.hpp"

namespace orkestr::testing {

namespace {

// Flips one byte; puts it back, with the time of the file's change, when it goes.
class Flipped {
 public:
  Flipped(std::string path, off_t at) : path_(std::move(path)), at_(at) {
    REQUIRE(::stat(path_.c_str(), &before_) == 0);
    flip();
  }
  ~Flipped() {
    flip();
    const timespec times[2] = {before_.st_atim, before_.st_mtim};
    CHECK(::utimensat(AT_FDCWD, path_.c_str(), times, 0) == 0);
    CHECK(::chmod(path_.c_str(), before_.st_mode & 07777) == 0);
  }
  Flipped(const Flipped&) = delete;
  Flipped& operator=(const Flipped&) = delete;

 private:
  void flip() const {
    REQUIRE(::chmod(path_.c_str(), 0600) == 0);
    const auto file = base::open_at(AT_FDCWD, path_, O_RDWR);
    REQUIRE_MESSAGE(file.ok(), (file ? "" : file.error().message()));
    char byte = 0;
    REQUIRE(::pread(file->get(), &byte, 1, at_) == 1);
    byte = static_cast<char>(byte ^ 0x40);
    REQUIRE(::pwrite(file->get(), &byte, 1, at_) == 1);
  }
  const std::string path_;
  const off_t at_;
  struct stat before_ {};
};

off_t size_of(const std::string& path) {
  struct stat s {};
  REQUIRE_MESSAGE(::stat(path.c_str(), &s) == 0, path);
  return s.st_size;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  REQUIRE_MESSAGE(at != std::string::npos, from, " in ", text);
  return text.replace(at, from.size(), to);
}

// The text between these two.
std::string between(const std::string& text, const std::string& before, char after) {
  const auto at = text.find(before);
  REQUIRE(at != std::string::npos);
  const auto from = at + before.size();
  return text.substr(from, text.find(after, from) - from);
}

bool has(const std::vector<Event>& events, std::string_view kind) {
  return std::any_of(events.begin(), events.end(), [&](const Event& event) { return event.kind == kind; });
}

}  // namespace

TEST_SUITE_BEGIN("damage");

TEST_CASE("a flipped byte in any file of a paused sandbox is noticed, and the files are kept") {
  World own(World::Cache::copy);
  Stateful state(own_options());
  must(state.sandbox().pause());
  const std::string pause = own.sandboxes_dir() + "/" + state.id() + "/pause";
  const auto files = must(base::list_directory(pause));
  CHECK(files == std::vector<std::string>{"base.erofs", "devices", "disk.qcow2", "layer.qcow2", "manifest.json",
                                          "memory", "pages", "scratch.raw"});
  for (const auto& name : files) {
    const off_t size = size_of(pause + "/" + name);
    for (const off_t at : {off_t{0}, size / 2, size - 1}) {
      CAPTURE(name);
      CAPTURE(at);
      // (The last byte of a manifest is the end of its line; in its middle it may be one that nothing depends on.)
      if (name == "manifest.json" && at != 0) continue;
      const Flipped damage(pause + "/" + name, at);
      const auto error = must_fail(Sandbox::resume(state.id(), {}, client()), ErrorCode::snapshot_incompatible);
      if (name != "manifest.json" && name != "pages") {
        CHECK_MESSAGE(error.message().find(name) != std::string::npos, error.message());
      }
      CHECK(status_of(state.id()) == Status::paused);
      CHECK(must(base::list_directory(pause)) == files);
    }
  }
  for (const auto& name : files) {
    CAPTURE(name);
    REQUIRE(::rename((pause + "/" + name).c_str(), (own.home() + "/away").c_str()) == 0);
    if (name == "manifest.json") {
      // Without it there is no pause: looking would end the sandbox.
    } else {
      must_fail(Sandbox::resume(state.id(), {}, client()), ErrorCode::snapshot_incompatible);
    }
    REQUIRE(::rename((own.home() + "/away").c_str(), (pause + "/" + name).c_str()) == 0);
  }
  state.resume();
  state.check("when everything is as it was");
  state.terminate();
  check_no_leftovers(own, "damaged and mended");
}

TEST_CASE("another QEMU, accelerator or machine: named on both sides, the files kept; the same series will do") {
  Stateful state;
  must(state.sandbox().pause());
  const std::string path = world().sandboxes_dir() + "/" + state.id() + "/pause/manifest.json";
  const std::string good = must(base::read_file(path));
  const std::string version = between(good, "\"qemu_version\":\"", '"');
  const std::string accelerator = between(good, "\"accelerator\":\"", '"');
  const std::string revision = between(good, "\"machine_revision\":", ',');
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& then,
                           const std::string& now) {
    CAPTURE(to);
    must(base::write_file_atomic(path, replaced(good, from, to)));
    const auto error = must_fail(Sandbox::resume(state.id(), {}, client()), ErrorCode::snapshot_incompatible);
    CHECK_MESSAGE(error.message().find(then) != std::string::npos, error.message());
    CHECK_MESSAGE(error.message().find(now) != std::string::npos, error.message());
    CHECK_MESSAGE(error.message().find("Its files are kept") != std::string::npos, error.message());
    CHECK(status_of(state.id()) == Status::paused);
  };
  refused("\"qemu_version\":\"" + version, "\"qemu_version\":\"6.2.0", "QEMU 6.2.0", "resumed on " + version);
  const std::string other = accelerator == "tcg" ? "kvm" : "tcg";
  refused("\"accelerator\":\"" + accelerator, "\"accelerator\":\"" + other, "accelerator " + other,
          "resumed on " + accelerator);
  refused("\"machine_revision\":" + revision, "\"machine_revision\":99", "machine revision 99",
          "resumed on " + revision);
  // Of another patch level: as good.
  const std::string series = version.substr(0, version.rfind('.'));
  must(base::write_file_atomic(path, replaced(good, version, series + ".999")));
  state.resume();
  state.check("paused by another patch level of QEMU");
  must(state.sandbox().pause());
  state.resume();
  state.check("once more");
  state.terminate();
  check_no_leftovers(world(), "incompatible and not");
}

TEST_CASE("a flipped byte in any file of a template's snapshot: the next create makes a new one") {
  World own(World::Cache::own_snapshots);
  auto first = must(Sandbox::create(own_options(), client()));
  CHECK(started_from(first) == "snapshot");
  CHECK(has(must(first.events()), "snapshot_made"));
  must(first.terminate());
  std::string key;
  for (const auto& name : must(base::list_directory(own.cache_dir() + "/snapshots"))) {
    if (name.size() == 64) key = name;
  }
  REQUIRE_FALSE(key.empty());
  const std::string directory = own.cache_dir() + "/snapshots/" + key;
  for (const char* name : {"memory", "devices", "layer.qcow2", "snapshot.json"}) {
    CAPTURE(name);
    const std::string path = directory + "/" + name;
    struct stat before {};
    REQUIRE(::stat(path.c_str(), &before) == 0);
    REQUIRE(::chmod(path.c_str(), 0600) == 0);
    // Held open until the end, so that no new file can get its number.
    const auto damaged = base::open_at(AT_FDCWD, path, O_RDWR);
    REQUIRE(damaged);
    REQUIRE(::pwrite(damaged->get(), "\x5a", 1, before.st_size - 8) == 1);
    // Its manifest is looked at once a boot: as if this was another.
    if (std::string(name) == "snapshot.json")
      must(base::remove_tree(own.home() + "/state/stamps/snapshot-" + key + ".verified"));
    auto next = must(Sandbox::create(own_options(), client()));
    CHECK(started_from(next) == "snapshot");
    const auto events = must(next.events());
    CHECK(has(events, "snapshot_damaged"));
    CHECK(has(events, "snapshot_made"));
    CHECK(must(next.exec("python3 -c 'print(6 * 7)'")).stdout_data == "42\n");
    must(next.terminate());
    struct stat after {};
    REQUIRE(::stat(path.c_str(), &after) == 0);
    CHECK(after.st_ino != before.st_ino);
    auto another = must(Sandbox::create(own_options(), client()));
    CHECK_FALSE(has(must(another.events()), "snapshot_damaged"));
    CHECK_FALSE(has(must(another.events()), "snapshot_made"));
    must(another.terminate());
  }
  check_no_leftovers(own, "damaged snapshots");
}

TEST_CASE("a damaged image is refused by the first create, in the store's words, and nothing is left of a sandbox") {
  World own(World::Cache::copy);
  const std::string image = must(Template::inspect(kTemplate, client())).directory + "/base.erofs";
  {
    const Flipped damage(image, size_of(image) / 2);
    const auto refused = [&](const Error& error) {
      CHECK_MESSAGE(error.message().find(image + " is not what was built: its SHA-256 is ") == 0, error.message());
      CHECK(error.message().find(fmt::format("`orkestr template build {} --force`", kTemplate)) != std::string::npos);
      CHECK(error.details().stage == "verify template");
      CHECK(must(base::list_directory(own.sandboxes_dir())).empty());
    };
    refused(must_fail(Sandbox::create(create_options(), client()), ErrorCode::template_build_failed));
    refused(must_fail(Template::prepare(kTemplate, {}, client()), ErrorCode::template_build_failed));
    const ScopedVariable without("ORKESTR_SNAPSHOTS", "off");
    refused(must_fail(Template::prepare(kTemplate, {}, client()), ErrorCode::template_build_failed));
  }
  std::vector<Operation<Sandbox>> creating;
  for (int i = 0; i < 2; ++i) creating.push_back(Sandbox::create_async(create_options(), client()));
  for (auto& each : creating) must(must(each.get()).terminate());
  check_no_leftovers(own, "a damaged image, mended");
}

TEST_CASE("the first create of a large image gives its caller back at once, and is cancelled as soon") {
  World own(World::Cache::copy);
  const std::string image = must(Template::inspect(kTemplate, client())).directory + "/base.erofs";
  REQUIRE(::chmod(image.c_str(), 0600) == 0);
  REQUIRE(::truncate(image.c_str(), off_t{64} << 30U) == 0);  // minutes of reading
  const auto own_cpu_ms = [] {
    timespec now{};
    REQUIRE(::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
  };
  const auto status_in = [](const std::string& status) {
    const auto all = must(Sandbox::list({}, client()));
    return std::count_if(all.begin(), all.end(), [&](const auto& each) { return to_string(each.status) == status; });
  };
  const auto cpu_before = own_cpu_ms();
  auto creating = Sandbox::create_async(create_options(), client());
  auto another = Sandbox::create_async(create_options(), client());
  CHECK(own_cpu_ms() - cpu_before < 500);
  for (int i = 0; i < 1000 && status_in("starting") < 2; ++i) ::usleep(10'000);
  CHECK(status_in("starting") == 2);
  ::usleep(300'000);  // well into the file
  REQUIRE_FALSE(creating.wait(std::chrono::milliseconds(0)));
  for (auto* each : {&creating, &another}) {
    const auto start = std::chrono::steady_clock::now();
    each->cancel();
    must_fail(each->get(), ErrorCode::cancelled);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(2));
  }
  check_no_leftovers(own, "cancelled while it verified");
  CHECK(status_in("terminated") == 2);
}

TEST_SUITE_END();

}  // namespace orkestr::testing
