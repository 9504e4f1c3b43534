// The name of a template's snapshot, and the directory of them.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <functional>
#include <set>

#include "base/system.hpp"
#include "vm/snapshot_key.hpp"
#include "vm/snapshot_store.hpp"
#include "vm_test_support.hpp"

using namespace orkestr;
using namespace orkestr::vm;
using namespace orkestr::vm::test;

namespace {

SnapshotParts parts() {
  SnapshotParts p;
  p.machine.qemu = "/usr/bin/qemu-system-x86_64";
  p.machine.tsc_khz = 2'000'000;
  p.qemu = {"/usr/bin/qemu-system-x86_64", "7.2.22", "identity"};
  p.processor = "processor";
  p.template_digest = "digest";
  p.initramfs = "initramfs-1";
  p.preparation = "true";
  p.disk_bytes = std::uint64_t{8} << 30U;
  return p;
}

const std::string kKey(64, 'a');
const std::string kOther(64, 'b');

// A cache with a store, whose snapshots are small files.
struct Cache {
  SnapshotStore store(std::uint64_t max_bytes = 1U << 30U) const {
    return {{dir.path + "/system", dir.path + "/own"}, dir.path + "/own", dir.path + "/stamps", max_bytes};
  }
  std::string home() const { return dir.path + "/own/snapshots"; }
  std::string stamp(const std::string& key) const { return dir.path + "/stamps/snapshot-" + key + ".verified"; }
  static SnapshotDraft draft(const SnapshotStore& its_store, const std::string& key, const std::string& content,
                             std::size_t bytes = 100) {
    auto begun = its_store.begin(key);
    REQUIRE_MESSAGE(begun, (begun ? "" : begun.error().message()));
    for (const auto& path : {begun->files.memory, begun->files.devices, begun->files.layer}) {
      REQUIRE(base::write_file_atomic(path, content + std::string(bytes, 'x'), 0600));
    }
    return std::move(*begun);
  }
  SnapshotFiles make(const std::string& key, const std::string& content = "content", std::size_t bytes = 100,
                     std::uint64_t max_bytes = 1U << 30U) const {
    const auto its_store = store(max_bytes);
    auto lock = its_store.try_lock(key);
    REQUIRE(lock);
    REQUIRE(lock->has_value());
    auto made = its_store.publish(draft(its_store, key, content, bytes), key, {"python", "digest", 1, 1024});
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message()));
    return *made;
  }
  // Nothing, or the files; `note` tells of damage.
  std::optional<SnapshotFiles> find(const std::string& key, std::string* note = nullptr) const {
    std::string said;
    auto found = store().find(key, said);
    REQUIRE(found);
    if (note != nullptr) *note = said;
    if (note == nullptr) CHECK_MESSAGE(said.empty(), said);
    return *found;
  }
  std::vector<std::string> names() const { return *base::list_directory(home()); }
  TemporaryDirectory dir;
};

void damage(const std::string& path, const std::function<void(int fd, off_t size)>& how) {
  REQUIRE(::chmod(path.c_str(), 0644) == 0);
  auto file = base::open_at(AT_FDCWD, path, O_RDWR);
  REQUIRE(file);
  struct stat s {};
  REQUIRE(::fstat(file->get(), &s) == 0);
  how(file->get(), s.st_size);
  REQUIRE(::fchmod(file->get(), 0444) == 0);
}

}  // namespace

TEST_CASE("a snapshot's key: every part of it counts, the sandbox does not") {
  const std::string usual = snapshot_key(parts());
  CHECK(usual.size() == 64);
  CHECK(usual.find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(snapshot_key(parts()) == usual);
  auto same = parts();
  same.machine.sandbox_id = "sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV";
  CHECK(snapshot_key(same) == usual);

  const std::vector<std::pair<const char*, std::function<void(SnapshotParts&)>>> changes = {
      {"QEMU's version", [](auto& p) { p.qemu.version = "7.2.23"; }},
      {"QEMU's file", [](auto& p) { p.qemu.identity = "rebuilt"; }},
      {"QEMU's path", [](auto& p) { p.machine.qemu = "/opt/qemu"; }},
      {"processor", [](auto& p) { p.processor += " more"; }},
      {"template", [](auto& p) { p.template_digest = "other"; }},
      {"initramfs", [](auto& p) { p.initramfs = "initramfs-2"; }},
      {"preparation", [](auto& p) { p.preparation = "false"; }},
      {"disk", [](auto& p) { p.disk_bytes += 1; }},
      {"accelerator", [](auto& p) { p.machine.accelerator = Accelerator::Kind::kvm; }},
      {"TSC", [](auto& p) { p.machine.tsc_khz += 1; }},
      {"vCPUs", [](auto& p) { p.machine.vcpus = 2; }},
      {"memory", [](auto& p) { p.machine.memory_mb += 128; }},
      {"kernel's arguments", [](auto& p) { p.machine.extra_kernel_args = "quiet"; }},
      {"how memory is mapped", [](auto& p) { p.machine.read_only_memory = true; }},
      {"layers", [](auto& p) { p.machine.layered = true; }},
  };
  std::set<std::string> keys = {usual};
  for (const auto& [what, change] : changes) {
    auto changed = parts();
    change(changed);
    CHECK_MESSAGE(keys.insert(snapshot_key(changed)).second, what);
  }
  // Memory comes in steps.
  auto a = parts(), b = parts();
  a.machine.memory_mb = 1000;
  b.machine.memory_mb = 1024;
  CHECK(snapshot_key(a) == snapshot_key(b));
  CHECK_FALSE(processor_features().empty());
  CHECK(processor_features() == processor_features());
}

TEST_CASE("snapshots: made under a lock, found by key, read-only") {
  Cache cache;
  CHECK_FALSE(cache.find(kKey));
  const auto made = cache.make(kKey);
  CHECK(made.directory == cache.home() + "/" + kKey);
  CHECK_FALSE(cache.find(kOther));
  const auto found = cache.find(kKey);
  REQUIRE(found);
  CHECK(found->memory == made.memory);
  for (const char* name : {"memory", "devices", "layer.qcow2", "snapshot.json"}) {
    CAPTURE(name);
    struct stat s {};
    REQUIRE(::stat((made.directory + "/" + name).c_str(), &s) == 0);
    CHECK((s.st_mode & 07777) == 0444);
  }
  struct stat s {};
  REQUIRE(::stat(made.directory.c_str(), &s) == 0);
  CHECK((s.st_mode & 07777) == 0755);
  CHECK(cache.names() == std::vector<std::string>{kKey, "lock"});
  // One that is in the system's cache is used as it is.
  REQUIRE(base::make_directories(cache.dir.path + "/system/snapshots", 0755));
  REQUIRE(::rename(made.directory.c_str(), (cache.dir.path + "/system/snapshots/" + kKey).c_str()) == 0);
  const auto system = cache.find(kKey);
  REQUIRE(system);
  CHECK(system->directory == cache.dir.path + "/system/snapshots/" + kKey);
}

TEST_CASE("snapshots: whatever is damaged is noticed, removed, and made anew") {
  const std::vector<std::pair<std::string, std::function<void(int, off_t)>>> ways = {
      {"a flipped byte",
       [](int fd, off_t size) {
         char c = 0;
         REQUIRE(::pread(fd, &c, 1, size - 8) == 1);
         c = static_cast<char>(c ^ 1);
         REQUIRE(::pwrite(fd, &c, 1, size - 8) == 1);
       }},
      {"cut", [](int fd, off_t size) { REQUIRE(::ftruncate(fd, size - 1) == 0); }},
      {"longer", [](int fd, off_t size) { REQUIRE(::ftruncate(fd, size + 1) == 0); }},
      {"empty", [](int fd, off_t) { REQUIRE(::ftruncate(fd, 0) == 0); }},
  };
  for (const auto& [what, way] : ways) {
    for (const std::string name : {"memory", "devices", "layer.qcow2", "snapshot.json"}) {
      for (const bool verified_before : {false, true}) {
        // (Of what was verified in this boot, only the files that a guest is made of are looked at again.)
        if (verified_before && name == "snapshot.json") continue;
        CAPTURE(what);
        CAPTURE(name);
        CAPTURE(verified_before);
        Cache cache;
        const auto made = cache.make(kKey);
        if (verified_before) REQUIRE(cache.find(kKey));
        damage(made.directory + "/" + name, way);
        std::string note;
        // (What a manifest loses is the end of its line.)
        const bool is_whole = what == "cut" && name == "snapshot.json";
        CHECK(cache.find(kKey, &note).has_value() == is_whole);
        if (is_whole) continue;
        CHECK_MESSAGE(note.find("made anew") != std::string::npos, note);
        CHECK_FALSE(base::exists(made.directory));
        cache.make(kKey, "again");
        CHECK(cache.find(kKey));
      }
    }
  }
  Cache cache;
  const auto made = cache.make(kKey);
  REQUIRE(::unlink(made.devices.c_str()) == 0);
  std::string note;
  CHECK_FALSE(cache.find(kKey, &note));
  CHECK_FALSE(note.empty());
}

TEST_CASE("snapshots: a damaged one of another cache is left to its owner") {
  Cache cache;
  const auto made = cache.make(kKey);
  const std::string system = cache.dir.path + "/system/snapshots/" + kKey;
  REQUIRE(base::make_directories(cache.dir.path + "/system/snapshots", 0755));
  REQUIRE(::rename(made.directory.c_str(), system.c_str()) == 0);
  damage(system + "/memory", [](int fd, off_t size) { REQUIRE(::ftruncate(fd, size - 1) == 0); });
  std::string note;
  CHECK_FALSE(cache.find(kKey, &note));
  CHECK_FALSE(note.empty());
  CHECK(base::exists(system));
  cache.make(kKey);
  const auto found = cache.find(kKey, &note);
  REQUIRE(found);
  CHECK(found->directory == made.directory);
}

TEST_CASE("snapshots: verified once for as long as the files and the host's boot are the same") {
  Cache cache;
  const auto made = cache.make(kKey);
  CHECK_FALSE(base::exists(cache.stamp(kKey)));
  REQUIRE(cache.find(kKey));
  const auto stamp = base::read_file(cache.stamp(kKey));
  REQUIRE(stamp);
  CHECK(stamp->find(base::boot_id()) != std::string::npos);
  // Believed without another look: what a stamp says of damaged content goes unnoticed…
  REQUIRE(base::write_file_atomic(made.directory + "/snapshot.json", "{}", 0444));
  CHECK(cache.find(kKey));
  // … a link to its files, as every pause makes one, is no reason to look again …
  REQUIRE(::link(made.memory.c_str(), (cache.dir.path + "/link").c_str()) == 0);
  CHECK(cache.find(kKey));
  REQUIRE(::unlink((cache.dir.path + "/link").c_str()) == 0);
  CHECK(cache.find(kKey));
  // … until the next boot.
  std::string older = *stamp;
  older.replace(0, base::boot_id().size(), std::string(base::boot_id().size(), '0'));
  REQUIRE(base::write_file_atomic(cache.stamp(kKey), older, 0600));
  std::string note;
  CHECK_FALSE(cache.find(kKey, &note));
}

TEST_CASE("snapshots: the least recently used go when there are too many") {
  Cache cache;
  constexpr std::size_t kBytes = 1U << 20U;  // each of three files
  const std::vector<std::string> keys = {std::string(64, '1'), std::string(64, '2'), std::string(64, '3')};
  for (const auto& key : keys) cache.make(key, "content", kBytes);
  for (const auto& key : keys) REQUIRE(cache.find(key));
  // Used last: 2, 3, 1.
  timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  for (const int i : {1, 2, 0}) {
    times[0].tv_sec = ++times[1].tv_sec;
    REQUIRE(::utimensat(AT_FDCWD, (cache.home() + "/" + keys[i]).c_str(), times, 0) == 0);
  }
  cache.make(kKey, "content", kBytes, 3 * (3 * kBytes + (64U << 10U)));
  CHECK_FALSE(base::exists(cache.home() + "/" + keys[1]));
  CHECK_FALSE(base::exists(cache.stamp(keys[1])));
  CHECK(cache.find(keys[0]));
  CHECK(cache.find(keys[2]));
  CHECK(cache.find(kKey));
  // Finding one is using it: now the first is the oldest, though it was not before.
  times[0].tv_sec = times[1].tv_sec = 1'000'000'000;
  for (const auto& key : {keys[0], keys[2], kKey}) {
    REQUIRE(::utimensat(AT_FDCWD, (cache.home() + "/" + key).c_str(), times, 0) == 0);
  }
  REQUIRE(cache.find(keys[0]));
  // The one that was just made stays, however large it is.
  cache.make(kOther, "content", kBytes, 2 * (3 * kBytes + (64U << 10U)));
  CHECK(cache.names() == std::vector<std::string>{keys[0], kOther, "lock"});
  cache.make(kKey, "content", kBytes, 1);
  CHECK(cache.names() == std::vector<std::string>{kKey, "lock"});
}

TEST_CASE("snapshots: one maker a key, also across processes, and what a killed one leaves is removed") {
  Cache cache;
  auto ready = base::make_pipe();
  REQUIRE(ready);
  const pid_t maker = ::fork();
  REQUIRE(maker >= 0);
  if (maker == 0) {
    const auto store = cache.store();
    auto lock = store.try_lock(kKey);
    auto draft = store.begin(kKey);
    if (lock && *lock && draft) {
      (void)base::write_file_atomic(draft->files.memory, "half", 0600);
      (void)!::write(ready->second.get(), "x", 1);
    }
    while (true) ::pause();
  }
  ready->second.reset();
  char c = 0;
  REQUIRE(::read(ready->first.get(), &c, 1) == 1);

  const auto store = cache.store();
  const auto stagings = [&] {
    const auto names = cache.names();
    return std::count_if(names.begin(), names.end(), [](const auto& name) { return name.starts_with(".staging-"); });
  };
  auto other = store.try_lock(kKey);
  REQUIRE(other);
  CHECK_FALSE(other->has_value());
  {
    auto another_key = store.try_lock(kOther);
    REQUIRE(another_key);
    CHECK(another_key->has_value());
    auto draft = store.begin(kOther);  // which leaves alone what the living one makes
    REQUIRE(draft);
    CHECK(stagings() == 2);
  }
  CHECK(stagings() == 1);  // a draft that comes to nothing goes
  CHECK_FALSE(cache.find(kKey));

  REQUIRE(::kill(maker, SIGKILL) == 0);
  REQUIRE(::waitpid(maker, nullptr, 0) == maker);
  CHECK_FALSE(cache.find(kKey));  // what is half made is never used
  cache.make(kOther);
  CHECK(stagings() == 0);
  cache.make(kKey);
  CHECK(cache.find(kKey));
}
