#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha256.hpp"
#include "image/store.hpp"
#include "image_support.hpp"

using namespace orkestr;
using namespace orkestr::image;
using namespace image_test;

namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

constexpr const char* kKernel = "6.1.0-1-cloud-amd64_6.1.1-1";

// A finished template as the builder leaves it, with small files.
TemplateFiles make_template(const std::string& cache, const std::string& name, const std::string& build_id) {
  TemplateFiles files;
  files.name = name;
  files.build_id = build_id;
  files.directory = template_directory(cache, name) + "/" + build_id;
  REQUIRE(base::make_directories(files.directory));
  const std::string kernel = cache + "/kernels/" + kKernel;
  REQUIRE(base::make_directories(kernel + "/modules"));
  REQUIRE(base::write_file_atomic(kernel + "/vmlinux", "kernel", 0444));
  files.base_sha256 = base::sha256_hex("base");
  files.overlay_sha256 = base::sha256_hex("overlay");
  files.kernel_version = kKernel;
  files.kernel_sha256 = base::sha256_hex("kernel");
  REQUIRE(base::write_file_atomic(
      kernel + "/kernel.json",
      fmt::format(R"({{"version":"{}","vmlinux_sha256":"{}","modules_sha256":"x","modules":["00-a.ko"]}})", kKernel,
                  files.kernel_sha256)));
  REQUIRE(base::write_file_atomic(files.directory + "/base.erofs", "base", 0444));
  REQUIRE(base::write_file_atomic(files.directory + "/scratch.raw", "scratch", 0444));
  REQUIRE(base::write_file_atomic(files.directory + "/scratch.qcow2", "overlay", 0444));
  files.scratch_sha256 = *digest_sparse_file(files.directory + "/scratch.raw");
  files.scratch_bytes = 7;
  REQUIRE(base::write_file_atomic(files.directory + "/template.json",
                                  encode_manifest(files, "r", "2026-01-01T00:00:00.000Z"), 0444));
  REQUIRE(base::write_file_atomic(template_directory(cache, name) + "/current", build_id + "\n", 0444));
  return files;
}

}  // namespace

TEST_CASE("a template opens from the first cache that has it") {
  TempDirectory system;
  TempDirectory user;
  make_template(user.path(), "thing", "b1");
  auto files = open_template({system.path(), user.path()}, "thing", {}, {});
  REQUIRE_MESSAGE(files, files.error().message());
  CHECK(files->directory == user / "templates/thing/b1");
  CHECK(files->base_image == user / "templates/thing/b1/base.erofs");
  CHECK(files->kernel == user / fmt::format("kernels/{}/vmlinux", kKernel));
  CHECK(files->scratch_bytes == 7);
  CHECK(files->digest == combined_digest(*files));
  CHECK(files->initrd.empty());

  make_template(system.path(), "thing", "b2");
  CHECK(open_template({system.path(), user.path()}, "thing", {}, {})->build_id == "b2");
  CHECK(open_template({user.path(), system.path()}, "thing", {}, {})->build_id == "b1");

  auto all = list_templates({system.path(), user.path()});
  REQUIRE(all);
  bool listed = false;
  for (const auto& info : *all) {
    if (info.name == "python-3.12-bare") CHECK_FALSE(info.built);
    if (info.name != "thing") continue;
    listed = true;
    CHECK(info.built);
    CHECK(info.build_id == "b2");
    CHECK(info.bytes == 4);
  }
  CHECK(listed);
}

TEST_CASE("what is not there says what to do") {
  TempDirectory cache;
  auto unknown = open_template({cache.path()}, "no-such", {}, {});
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code() == ErrorCode::template_not_found);
  CHECK(contains(unknown.error().message(), "python-3.12-bare"));
  auto unbuilt = open_template({cache.path()}, "python-3.12-bare", {}, {});
  REQUIRE_FALSE(unbuilt);
  CHECK(unbuilt.error().code() == ErrorCode::template_not_found);
  CHECK(contains(unbuilt.error().message(), "`orkestr template build python-3.12-bare`"));
  CHECK(contains(unbuilt.error().message(), "`./dev orkestr template build python-3.12-bare`"));
  const auto removed = remove_template(cache.path(), "python-3.12-bare");
  REQUIRE_FALSE(removed);
  CHECK(removed.error().code() == ErrorCode::template_not_found);
  CHECK(contains(removed.error().message(), "nothing to remove"));
  CHECK(contains(remove_template(cache.path(), "python-3.11").error().message(), "Did you mean"));
  for (const char* name : {"", "..", "../x", "a/b", "A", ".hidden", "-x"}) {
    CAPTURE(name);
    CHECK_FALSE(is_template_name(name));
    CHECK(open_template({cache.path()}, name, {}, {}).error().code() == ErrorCode::template_not_found);
  }
}

TEST_CASE("a damaged template is refused by name") {
  TempDirectory cache;
  const TemplateFiles files = make_template(cache.path(), "thing", "b1");
  auto refused = [&] {
    auto opened = open_template({cache.path()}, "thing", {}, {});
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code() == ErrorCode::template_build_failed);
    CHECK(contains(opened.error().message(), "orkestr template build thing --force"));
  };
  SUBCASE("current leads out of the store") {
    REQUIRE(base::write_file_atomic(cache / "templates/thing/current", "../../elsewhere\n"));
    refused();
  }
  SUBCASE("a file is missing") {
    REQUIRE(::unlink((files.directory + "/scratch.qcow2").c_str()) == 0);
    refused();
  }
  SUBCASE("the manifest is cut off") {
    auto text = base::read_file(files.directory + "/template.json");
    REQUIRE(base::write_file_atomic(files.directory + "/template.json", text->substr(0, text->size() / 2)));
    refused();
  }
  SUBCASE("a digest was exchanged") {
    TemplateFiles other = files;
    other.base_sha256 = base::sha256_hex("other");
    std::string text = encode_manifest(other, "r", "t");
    const auto at = text.find(combined_digest(other));
    REQUIRE(at != text.npos);
    text.replace(at, 64, combined_digest(files));
    REQUIRE(base::write_file_atomic(files.directory + "/template.json", text));
    refused();
  }
  SUBCASE("the kernel went away") {
    REQUIRE(base::remove_tree(cache / "kernels"));
    auto opened = open_template({cache.path()}, "thing", {}, {});
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code() == ErrorCode::template_build_failed);
  }
}

TEST_CASE("content is verified once, and again after any change") {
  TempDirectory cache;
  TempDirectory stamps;
  make_template(cache.path(), "thing", "b1");
  auto files = open_template({cache.path()}, "thing", {}, {});
  REQUIRE(files);
  CHECK_FALSE(is_verified(*files, stamps.path()));
  std::stop_source stop;
  stop.request_stop();
  CHECK(verify_template(*files, stamps.path(), stop.get_token()).error().code() == ErrorCode::cancelled);
  CHECK_FALSE(is_verified(*files, stamps.path()));
  REQUIRE(verify_template(*files, stamps.path()));
  CHECK(is_verified(*files, stamps.path()));
  CHECK(verification_time(*files) == std::chrono::seconds(1));  // at least
  auto names = base::list_directory(stamps.path());
  REQUIRE(names);
  REQUIRE(names->size() == 1);
  const std::string stamp = stamps / names->front();
  CHECK(contains(*base::read_file(stamp), files->base_image));

  SUBCASE("the stamp spares reading: only what it says is compared") {
    TemplateFiles wrong = *files;
    wrong.base_sha256 = base::sha256_hex("other");  // same combined digest and files, so the stamp fits
    CHECK(verify_template(wrong, stamps.path()));
    REQUIRE(::unlink(stamp.c_str()) == 0);
    CHECK_FALSE(verify_template(wrong, stamps.path()));
  }
  SUBCASE("a stamp of another boot does not count") {
    std::string text = *base::read_file(stamp);
    text[0] = text[0] == '0' ? '1' : '0';
    REQUIRE(base::write_file_atomic(stamp, text));
    REQUIRE(verify_template(*files, stamps.path()));
    CHECK(*base::read_file(stamp) != text);
  }
  SUBCASE("changed content of the same size") {
    REQUIRE(::chmod(files->base_image.c_str(), 0644) == 0);
    {
      base::UniqueFd fd(::open(files->base_image.c_str(), O_WRONLY | O_CLOEXEC));
      REQUIRE(::pwrite(fd.get(), "B", 1, 0) == 1);
    }
    auto changed = verify_template(*files, stamps.path());
    REQUIRE_FALSE(changed);
    CHECK(changed.error().code() == ErrorCode::template_build_failed);
    CHECK(contains(changed.error().message(), files->base_image));
    CHECK(contains(changed.error().message(), "orkestr template build thing --force"));
  }
}

TEST_CASE("an image that was cut in half is noticed before it is used") {
  TempDirectory cache;
  TempDirectory stamps;
  const TemplateFiles files = make_template(cache.path(), "thing", "b1");
  REQUIRE(verify_template(*open_template({cache.path()}, "thing", {}, {}), stamps.path()));
  for (const auto* path : {&files.base_image, &files.scratch_overlay}) {
    const std::string name = files.directory + (path == &files.base_image ? "/base.erofs" : "/scratch.qcow2");
    const std::string whole = *base::read_file(name);
    REQUIRE(::truncate(name.c_str(), static_cast<off_t>(whole.size() / 2)) == 0);
    auto cut = verify_template(*open_template({cache.path()}, "thing", {}, {}), stamps.path());
    REQUIRE_FALSE(cut);
    CHECK(cut.error().code() == ErrorCode::template_build_failed);
    CHECK(cut.error().details().stage == "verify template");
    CHECK(contains(cut.error().message(), name));
    CHECK(contains(cut.error().message(), "orkestr template build thing --force"));
    REQUIRE(base::write_file_atomic(name, whole, 0444));
  }
  CHECK(verify_template(*open_template({cache.path()}, "thing", {}, {}), stamps.path()));
}

TEST_CASE("the digest of a sparse file is that of its content") {
  TempDirectory work;
  auto write = [&](const char* name, off_t size, std::initializer_list<std::pair<off_t, std::string>> parts,
                   bool zeros) {
    base::UniqueFd fd(::open((work / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (zeros) {
      const std::string block(static_cast<std::size_t>(size), '\0');
      REQUIRE(::pwrite(fd.get(), block.data(), block.size(), 0) == size);
    }
    REQUIRE(::ftruncate(fd.get(), size) == 0);
    for (const auto& [at, text] : parts)
      REQUIRE(::pwrite(fd.get(), text.data(), text.size(), at) == static_cast<ssize_t>(text.size()));
    return *digest_sparse_file(work / name);
  };
  const off_t size = 3'000'001;
  const std::string sparse = write("a", size, {{0, "x"}, {1'000'000, "middle"}, {size - 1, "z"}}, false);
  CHECK(sparse == write("b", size, {{0, "x"}, {1'000'000, "middle"}, {size - 1, "z"}}, true));
  CHECK(sparse != write("c", size, {{0, "x"}, {1'000'001, "middle"}, {size - 1, "z"}}, false));
  CHECK(sparse != write("d", size + 1, {{0, "x"}, {1'000'000, "middle"}, {size - 1, "z"}}, false));
  CHECK(write("e", 0, {}, false) != write("f", 65536, {}, false));
  CHECK(write("g", 65536, {}, false) == write("h", 65536, {}, true));
}
