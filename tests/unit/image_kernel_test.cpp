#include <archive.h>
#include <archive_entry.h>
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <utime.h>

#include <map>
#include <memory>
#include <random>

#include "image/archive.hpp"
#include "image/elf.hpp"
#include "image/initramfs.hpp"
#include "image/kernel.hpp"
#include "image_support.hpp"

using namespace orkestr;
using namespace orkestr::image;
using namespace image_test;

namespace {

std::string compress(std::string_view bytes, int filter) {
  std::unique_ptr<archive, decltype(&archive_write_free)> writer(archive_write_new(), &archive_write_free);
  archive_write_add_filter(writer.get(), filter);
  archive_write_set_format_raw(writer.get());
  archive_write_set_bytes_in_last_block(writer.get(), 1);
  std::string out(bytes.size() * 2 + 65536, '\0');
  std::size_t used = 0;
  REQUIRE(archive_write_open_memory(writer.get(), out.data(), out.size(), &used) == ARCHIVE_OK);
  std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(), &archive_entry_free);
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  REQUIRE(archive_write_header(writer.get(), entry.get()) == ARCHIVE_OK);
  REQUIRE(archive_write_data(writer.get(), bytes.data(), bytes.size()) == static_cast<la_ssize_t>(bytes.size()));
  REQUIRE(archive_write_close(writer.get()) == ARCHIVE_OK);
  out.resize(used);
  return out;
}

// A kernel of a size that spans several reads, whose bytes do not compress to nothing.
std::string large_kernel() {
  std::string elf = kernel_elf();
  std::mt19937 random(7);
  while (elf.size() < 3'000'000) elf.push_back(static_cast<char>(random() & 15U));
  return elf;
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE("a kernel is found in a bzImage whatever it is compressed with") {
  const std::string kernel = large_kernel();
  for (const int filter :
       {ARCHIVE_FILTER_XZ, ARCHIVE_FILTER_ZSTD, ARCHIVE_FILTER_LZ4, ARCHIVE_FILTER_BZIP2, ARCHIVE_FILTER_NONE}) {
    CAPTURE(filter);
    auto found = extract_vmlinux(bzimage(with_size(compress(kernel, filter), kernel.size())));
    REQUIRE_MESSAGE(found, found.error().message());
    CHECK(*found == kernel);
  }
  // gzip ends in the size by itself.
  auto found = extract_vmlinux(bzimage(compress(kernel, ARCHIVE_FILTER_GZIP)));
  REQUIRE_MESSAGE(found, found.error().message());
  CHECK(*found == kernel);
}

TEST_CASE("a bzImage that lies is refused") {
  const std::string kernel = kernel_elf();
  const std::string good = bzimage(with_size(kernel, kernel.size()));
  REQUIRE(extract_vmlinux(good));

  SUBCASE("cut off anywhere") {
    for (std::size_t n = 0; n < good.size(); ++n) CHECK_FALSE(extract_vmlinux(std::string_view(good).substr(0, n)));
  }
  SUBCASE("a payload beyond the end, by offset and by length") {
    std::string bad = good;
    std::memcpy(bad.data() + 0x248, "\xff\xff\xff\xff", 4);
    CHECK_FALSE(extract_vmlinux(bad));
    bad = good;
    std::memcpy(bad.data() + 0x24c, "\xff\xff\xff\xff", 4);
    CHECK_FALSE(extract_vmlinux(bad));
  }
  SUBCASE("a wrong size") {
    CHECK_FALSE(extract_vmlinux(bzimage(with_size(kernel, kernel.size() + 1))));
    CHECK_FALSE(extract_vmlinux(bzimage(with_size(kernel, kernel.size() - 1))));
    CHECK_FALSE(extract_vmlinux(bzimage(with_size(kernel, 0xffffffffU))));
  }
  SUBCASE("a bomb: more than it says") {
    const std::string zeros = kernel + std::string(50'000'000, '\0');
    auto bomb = extract_vmlinux(bzimage(with_size(compress(zeros, ARCHIVE_FILTER_XZ), kernel.size())));
    REQUIRE_FALSE(bomb);
    CHECK(contains(bomb.error().message(), "more than"));
  }
  SUBCASE("no PVH entry") {
    const std::string other = kernel_elf(17);
    auto refused = extract_vmlinux(bzimage(with_size(other, other.size())));
    REQUIRE_FALSE(refused);
    CHECK(contains(refused.error().message(), "PVH"));
    CHECK_FALSE(check_pvh_kernel(kernel_elf(18, std::string_view("GNU\0", 4))));
  }
  SUBCASE("any byte changed: an answer, never a crash") {
    for (std::size_t i = 0; i < good.size(); ++i) {
      for (const char value : {'\0', '\x7f', '\xff'}) {
        std::string bad = good;
        bad[i] = value;
        (void)extract_vmlinux(bad);
      }
    }
  }
}

TEST_CASE("modules come after what they depend on") {
  const std::map<std::string, std::string> depends = {
      {"virtio_blk", "virtio,virtio_ring"}, {"virtio", "virtio_ring"}, {"virtio_ring", ""}, {"erofs", "libcrc32c"},
      {"libcrc32c", "crc32c-generic"},      {"loop_a", "loop_b"},      {"loop_b", "loop_a"}};
  const ModuleReader read = [&](std::string_view name) -> Result<std::optional<Module>> {
    if (name == "crc32c_generic") return std::optional<Module>();  // built in
    auto found = depends.find(std::string(name));
    if (found == depends.end()) return Error(ErrorCode::template_build_failed, "no such module");
    return std::optional<Module>(Module{std::string(name), module_elf(found->second)});
  };
  auto ordered = order_modules({"virtio-blk", "erofs", "virtio"}, read);
  REQUIRE_MESSAGE(ordered, ordered.error().message());
  std::string names;
  for (const auto& module : *ordered) names += module.name + " ";
  CHECK(names == "virtio_ring virtio virtio_blk libcrc32c erofs ");

  auto loop = order_modules({"loop_a"}, read);
  REQUIRE_FALSE(loop);
  CHECK(contains(loop.error().message(), "depends on itself"));
  CHECK_FALSE(order_modules({"missing"}, read));
}

TEST_CASE("a damaged module is refused, never followed out of its bounds") {
  const std::string good = module_elf("one,two");
  auto depends = module_depends(good);
  REQUIRE_MESSAGE(depends, depends.error().message());
  CHECK(*depends == std::vector<std::string>{"one", "two"});
  CHECK_FALSE(module_depends(kernel_elf()));
  for (std::size_t n = 0; n < good.size(); ++n) CHECK_FALSE(module_depends(std::string_view(good).substr(0, n)));
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = '\xff';
    (void)module_depends(bad);
  }
}

TEST_CASE("an initramfs holds the agent and the modules in order, and is the same each time") {
  const std::vector<NamedFile> modules = {{"00-a.ko", "AAAA"}, {"01-b.ko", std::string(5000, 'B')}};
  auto archive_bytes = make_initramfs("\177ELF agent", modules);
  REQUIRE(archive_bytes);
  CHECK(*archive_bytes == *make_initramfs("\177ELF agent", modules));
  CHECK(archive_bytes->substr(0, 6) == "070701");

  std::unique_ptr<archive, decltype(&archive_read_free)> reader(archive_read_new(), &archive_read_free);
  archive_read_support_format_cpio(reader.get());
  REQUIRE(archive_read_open_memory(reader.get(), archive_bytes->data(), archive_bytes->size()) == ARCHIVE_OK);
  archive_entry* entry = nullptr;
  std::map<std::string, std::string> seen;
  std::vector<std::string> order;
  while (archive_read_next_header(reader.get(), &entry) == ARCHIVE_OK) {
    const std::string path = archive_entry_pathname(entry);
    std::string content(static_cast<std::size_t>(archive_entry_size(entry)), '\0');
    CHECK(archive_read_data(reader.get(), content.data(), content.size()) == static_cast<la_ssize_t>(content.size()));
    CHECK(archive_entry_mtime(entry) == 0);
    if (path == "init") CHECK(archive_entry_perm(entry) == 0755);
    if (path == "dev/console") {
      CHECK(archive_entry_filetype(entry) == AE_IFCHR);
      CHECK(archive_entry_rdevmajor(entry) == 5);
      CHECK(archive_entry_rdevminor(entry) == 1);
    }
    seen[path] = content;
    order.push_back(path);
  }
  CHECK(seen["init"] == "\177ELF agent");
  CHECK(seen["modules/01-b.ko"] == modules[1].content);
  CHECK(seen.contains("newroot"));
  CHECK(std::find(order.begin(), order.end(), "modules/00-a.ko") <
        std::find(order.begin(), order.end(), "modules/01-b.ko"));
}

TEST_CASE("the initramfs is made once for an agent, and again for another") {
  TempDirectory cache;
  TempDirectory user_cache;
  const std::string kernel = cache / "kernels/6.1.0-1_6.1.1-1";
  REQUIRE(base::make_directories(kernel + "/modules"));
  REQUIRE(base::write_file_atomic(kernel + "/modules/00-a.ko", module_elf("")));
  const std::string digest(64, '0');
  REQUIRE(base::write_file_atomic(
      kernel + "/kernel.json",
      fmt::format(
          R"({{"version":"6.1.0-1_6.1.1-1","vmlinux_sha256":"{0}","modules_sha256":"{0}","modules":["00-a.ko"]}})",
          digest)));
  const std::string agent = user_cache / "agent";
  REQUIRE(base::write_file_atomic(agent, "\177ELF one"));

  auto first = ensure_initramfs(cache.path(), "6.1.0-1_6.1.1-1", agent, user_cache.path());
  REQUIRE_MESSAGE(first, first.error().message());
  CHECK(first->starts_with(user_cache / "initramfs/"));
  struct stat info {};
  REQUIRE(::stat(first->c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0444);
  CHECK(*ensure_initramfs(cache.path(), "6.1.0-1_6.1.1-1", agent, user_cache.path()) == *first);

  // Nothing is hashed while the agent's stamp fits: an archive that went missing is noticed all the same.
  REQUIRE(::unlink(first->c_str()) == 0);
  CHECK(*ensure_initramfs(cache.path(), "6.1.0-1_6.1.1-1", agent, user_cache.path()) == *first);
  CHECK(base::exists(*first));

  REQUIRE(base::write_file_atomic(agent, "\177ELF two"));
  auto second = ensure_initramfs(cache.path(), "6.1.0-1_6.1.1-1", agent, user_cache.path());
  REQUIRE(second);
  CHECK(*second != *first);
  CHECK(base::exists(*first));  // of the last hour: a starting sandbox may be about to open it
  const utimbuf old{1, 1};
  REQUIRE(::utime(first->c_str(), &old) == 0);
  REQUIRE(base::write_file_atomic(agent, "\177ELF three"));
  REQUIRE(ensure_initramfs(cache.path(), "6.1.0-1_6.1.1-1", agent, user_cache.path()));
  CHECK_FALSE(base::exists(*first));

  REQUIRE(base::write_file_atomic(agent, "#!/bin/sh"));
  CHECK_FALSE(ensure_initramfs(cache.path(), "6.1.0-1_6.1.1-1", agent, user_cache.path()));
  auto none = ensure_initramfs(cache.path(), "6.1.0-1_6.1.1-1", user_cache / "none", user_cache.path());
  REQUIRE_FALSE(none);
  CHECK(none.error().code() == ErrorCode::template_build_failed);
  CHECK_FALSE(ensure_initramfs(cache.path(), "../../etc", agent, user_cache.path()));
}

TEST_CASE("unpacking keeps to its destination") {
  TempDirectory work;
  auto make_tar = [&](const std::string& name, const char* path, const char* link) {
    std::unique_ptr<archive, decltype(&archive_write_free)> writer(archive_write_new(), &archive_write_free);
    archive_write_set_format_ustar(writer.get());
    REQUIRE(archive_write_open_filename(writer.get(), (work / name).c_str()) == ARCHIVE_OK);
    std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(), &archive_entry_free);
    if (link) {
      archive_entry_set_pathname(entry.get(), "in/link");
      archive_entry_set_filetype(entry.get(), AE_IFLNK);
      archive_entry_set_symlink(entry.get(), link);
      REQUIRE(archive_write_header(writer.get(), entry.get()) == ARCHIVE_OK);
      archive_entry_clear(entry.get());
    }
    archive_entry_set_pathname(entry.get(), path);
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0600);
    archive_entry_set_size(entry.get(), 5);
    REQUIRE(archive_write_header(writer.get(), entry.get()) == ARCHIVE_OK);
    REQUIRE(archive_write_data(writer.get(), "hello", 5) == 5);
    archive_write_close(writer.get());
    return work / name;
  };
  REQUIRE(base::make_directories(work / "out"));
  auto count = unpack(make_tar("good.tar", "in/sub/file", nullptr), "in", work / "out", 100);
  REQUIRE_MESSAGE(count, count.error().message());
  CHECK(*count == 1);
  CHECK(*base::read_file(work / "out/sub/file") == "hello");

  CHECK_FALSE(unpack(work / "good.tar", "in", work / "out", 4));           // over the cap
  CHECK_FALSE(unpack(work / "good.tar", "elsewhere", work / "out", 100));  // nothing there
  CHECK_FALSE(unpack(work / "good.tar", "i", work / "out", 100));          // a prefix is whole names
  CHECK_FALSE(unpack(make_tar("dots.tar", "in/../../escaped", nullptr), "in", work / "out", 100));
  CHECK_FALSE(unpack(make_tar("link.tar", "in/link/escaped", work.path().c_str()), "in", work / "out", 100));
  CHECK_FALSE(base::exists(work / "escaped"));
  REQUIRE(unpack(work / "good.tar", "in/sub/file", work / "out/one", 100));  // a single file
  CHECK(*base::read_file(work / "out/one") == "hello");
}
